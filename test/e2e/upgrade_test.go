//go:build e2e

package e2e

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/interfaces/plugin/process"
)

// release is a folder of executables that may be changed: what is not is shared with the one that was built.
func release(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"gantry", "gantry-cni", "gantry-shim", "kubectl", "images", "plugins", "stack"} {
		if exec.Command("cp", "-rl", filepath.Join(binDir(), name), dir).Run() == nil {
			continue
		}
		// Links do not reach over file systems.
		if out, err := exec.Command("cp", "-r", filepath.Join(binDir(), name), dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return dir
}

// another puts another file in the place of an executable, which does the same.
func another(t *testing.T, file string) {
	t.Helper()
	content := append(must(os.ReadFile(file)), "another version"...)
	if err := os.WriteFile(file+".new", content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// listDigests writes anew what the host compares plugins with.
func listDigests(t *testing.T, dir string) {
	t.Helper()
	var list strings.Builder
	for _, file := range must(filepath.Glob(filepath.Join(dir, "plugin-*"))) {
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(must(os.ReadFile(file))), filepath.Base(file))
	}
	sums := filepath.Join(dir, "SHA256SUMS")
	if err := os.Remove(sums); err != nil { // It may be a link to the one that was built.
		t.Fatal(err)
	}
	if err := os.WriteFile(sums, []byte(list.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// upgradable is a cluster of its own with a release of its own.
func upgradable(t *testing.T) *cluster {
	t.Helper()
	c := must(newCluster(must(os.MkdirTemp(os.Getenv(dataEnv), "u")), plugintest.Namespace(t)))
	c.bin = release(t)
	if err := c.up(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.keepLog()
		}
		if err := c.down(); err != nil {
			t.Error(err)
		}
		for _, left := range c.leftovers() {
			t.Errorf("left after gantry down: %s", left)
		}
	})
	return c
}

// session is a connection to a pod through kubectl port-forward, which lives as long as all that are on its way.
type session struct {
	conn net.Conn
	in   *bufio.Reader
	end  func()
}

func openSession(t *testing.T, c *cluster, ns, pod string) *session {
	t.Helper()
	forward := c.command(t.Context(), "kubectl", "-n", ns, "port-forward", "pod/"+pod, ":8080")
	pipe := must(forward.StdoutPipe())
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	var port int
	lines := bufio.NewScanner(pipe)
	if !lines.Scan() {
		t.Fatal(lines.Err())
	}
	if _, err := fmt.Sscanf(lines.Text(), "Forwarding from 127.0.0.1:%d -> 8080", &port); err != nil {
		t.Fatalf("port-forward printed %q: %v", lines.Text(), err)
	}
	conn := must(c.dial(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port)))
	end := sync.OnceFunc(func() {
		_ = conn.Close()
		_ = forward.Process.Kill()
		_ = forward.Wait()
	})
	t.Cleanup(end)
	return &session{conn, bufio.NewReader(conn), end}
}

// ask sends a request on the connection.
func (s *session) ask() error {
	if err := s.conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.conn, "GET / HTTP/1.1\r\nHost: pod\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// follower is a `kubectl logs -f` of a pod that counts.
type follower struct {
	command *exec.Cmd
	lines   *bufio.Scanner
	seen    int
}

func followCounter(t *testing.T, c *cluster, ns string) *follower {
	t.Helper()
	c.kubectl(t, "-n", ns, "run", "counter", "--image="+busybox, "--", "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")
	c.wait(t, ns, "pod/counter", "condition=Ready")
	cmd := c.command(t.Context(), "kubectl", "-n", ns, "logs", "-f", "counter")
	pipe := must(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &follower{command: cmd, lines: bufio.NewScanner(pipe)}
}

// read reads so many lines, each with the number after that of the one before.
func (f *follower) read(n int) error {
	for range n {
		if !f.lines.Scan() {
			return fmt.Errorf("the log ends after %d: %w", f.seen, errors.Join(f.lines.Err(), io.ErrUnexpectedEOF))
		}
		if next, err := strconv.Atoi(f.lines.Text()); err != nil || next != f.seen+1 {
			return fmt.Errorf("%q follows %d: %w", f.lines.Text(), f.seen, errUnexpected)
		}
		f.seen++
	}
	return nil
}

// end is called when the pod is being deleted.
func (f *follower) end() error {
	for f.lines.Scan() {
		f.seen++
	}
	return errors.Join(f.lines.Err(), f.command.Wait())
}

// askAPI asks the API server for an answer, whatever it is, on a connection of its own.
func askAPI(c *cluster) func() (string, error) {
	client := &http.Client{Timeout: deadline, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: c.dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	return func() (string, error) {
		resp, err := client.Get("https://127.0.0.1:6443/version")
		if err != nil {
			return "", err
		}
		return "", resp.Body.Close()
	}
}

// The gantry that runs is replaced by another executable, with one plugin that is another and two that are the same. Sessions go
// on, and nobody who connects to the API is refused.
func TestUpgrade(t *testing.T) {
	c := upgradable(t)
	importBusybox(t, c)
	ns := c.namespace(t)
	c.apply(t, ns, three)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	pods := map[string]process.ID{}
	for _, p := range names(t, c, ns, "app=shop") {
		pods[p] = containerPID(t, c, ns, p)
	}
	plugins, old := c.plugins(t), must(process.Find(c.pid(t)))

	if out, err := c.try("gantry", "up", "--replace", "--pod-range", "nonsense"); err == nil {
		t.Errorf("a wrong flag is taken: %s", out)
	}
	if !old.Alive() {
		t.Fatal("the old process has ended for a new one that cannot work")
	}
	another(t, filepath.Join(c.bin, "gantry"))
	another(t, filepath.Join(c.bin, "plugins", "plugin-network-cni"))
	if _, err := c.try("gantry", "up", "--replace"); err == nil || !old.Alive() {
		t.Errorf("a plugin that is not as listed: %v, the old process lives: %v", err, old.Alive())
	}
	listDigests(t, filepath.Join(c.bin, "plugins"))
	open := openSession(t, c, ns, names(t, c, ns, "app=shop")[0])
	if err := open.ask(); err != nil {
		t.Fatal(err)
	}
	log := followCounter(t, c, ns)
	if err := log.read(10); err != nil {
		t.Fatal(err)
	}
	l := startLoadWith(askAPI(c))
	if out, err := c.try("gantry", "up", "--replace"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l.stop(t)
	now := must(strconv.Atoi(strings.TrimSpace(c.kubectl(t, "-n", ns, "logs", "counter", "--tail=1"))))
	if err := log.read(now + 100 - log.seen); err != nil {
		t.Errorf("following a log: %v", err)
	}
	if c.pid(t) == old.PID {
		t.Errorf("process %d serves still", old.PID)
	}
	if err := open.ask(); err != nil || !old.Alive() {
		t.Errorf("the session that was open: %v, the old process lives: %v", err, old.Alive())
	}
	open.end()
	c.kubectl(t, "-n", ns, "delete", "pod", "counter", "--timeout=45s")
	if err := log.end(); err != nil {
		t.Errorf("the end of a log that is followed: %v", err)
	}
	eventually(t, func() error {
		if old.Alive() {
			return fmt.Errorf("process %d runs still without sessions: %w", old.PID, errUnexpected)
		}
		return nil
	})
	eventually(t, func() error {
		now := c.plugins(t)
		if len(now) != len(plugins) || now["plugin-network-cni"] == plugins["plugin-network-cni"] {
			return fmt.Errorf("the plugins are %v, before %v: %w", now, plugins, errUnexpected)
		}
		return nil
	})
	for name, pid := range c.plugins(t) {
		if name != "plugin-network-cni" && pid != plugins[name] {
			t.Errorf("%s has process %d, before %d", name, pid, plugins[name])
		}
	}
	for p, id := range pods {
		if !id.Alive() {
			t.Errorf("process %d of %s is gone", id.PID, p)
		}
	}
	c.kubectl(t, "-n", ns, "run", "after", "--image="+demo)
	c.wait(t, ns, "pod/after", "condition=Ready")
	if out := c.kubectl(t, "-n", ns, "get", "pods", "-l", "app=shop", "-o", "jsonpath={.items[*].status.containerStatuses[0].restartCount}"); out != "0 0 0" {
		t.Errorf("the pods have restarted: %s", out)
	}
	c.kubectl(t, "-n", ns, "delete", "pods,deployments", "--all", "--timeout=45s")
	nothingLeft(t, c)
}

// A new process that ends after it has taken over leaves everything to the old one again.
func TestUpgradeThatFails(t *testing.T) {
	c := upgradable(t)
	ns := c.namespace(t)
	c.kubectl(t, "-n", ns, "run", "before", "--image="+demo)
	c.wait(t, ns, "pod/before", "condition=Ready")
	plugins, old := c.plugins(t), must(process.Find(c.pid(t)))
	another(t, filepath.Join(c.bin, "gantry"))
	l := startLoadWith(askAPI(c))
	_, err := c.try("gantry", "up", "--replace", "--scheduler-config", "/nosuch")
	if err == nil || !strings.Contains(err.Error(), "/nosuch") {
		t.Errorf("the upgrade ended with %v", err)
	}
	eventually(t, func() error {
		if pid := c.pid(t); pid != old.PID || !old.Alive() {
			return fmt.Errorf("process %d runs, want %d: %w", pid, old.PID, errUnexpected)
		}
		_, err := c.try("gantry", "up") // returns when the node is ready
		return err
	})
	l.stop(t)
	if d := cmp.Diff(plugins, c.plugins(t)); d != "" {
		t.Error(d)
	}
	c.kubectl(t, "-n", ns, "run", "after", "--image="+demo)
	c.wait(t, ns, "pod/after", "condition=Ready")
	c.kubectl(t, "-n", ns, "delete", "pods", "--all", "--timeout=45s")
	nothingLeft(t, c)
}
