//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// deadline bounds each single thing that a test waits for.
const deadline = 45 * time.Second

// cluster is one that `gantry up` starts, with all its state below dir.
type cluster struct {
	dir string
	// netns is the path of the network namespace it runs in; empty is the tests' own.
	netns string
	// bin is where its executables are; empty is binDir.
	bin string
}

func newCluster(dir, netns string) (*cluster, error) {
	return &cluster{dir: dir, netns: netns}, os.MkdirAll(dir, 0o711)
}

// binDir is where the executables are.
func binDir() string {
	if dir := os.Getenv(binEnv); dir != "" {
		return dir
	}
	dir, err := filepath.Abs("../../bin")
	if err != nil {
		panic(err)
	}
	return dir
}

func (c *cluster) kubeconfig() string { return filepath.Join(c.dir, "admin.kubeconfig") }

// id is the mark of the cluster in names that are the machine's.
func (c *cluster) id() string {
	sum := sha256.Sum256([]byte(c.dir))
	return "gantry-" + hex.EncodeToString(sum[:4])
}

// command makes a command that runs where the cluster does, as the cluster's user would type it.
func (c *cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if name == "gantry" || name == "kubectl" || name == "helm" {
		name = filepath.Join(cmp.Or(c.bin, binDir()), name)
	}
	if c.netns != "" {
		args = append([]string{"--net=" + c.netns, name}, args...)
		name = "nsenter"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "GANTRY_DATA="+c.dir, "KUBECONFIG="+c.kubeconfig(),
		"KUBECACHEDIR="+filepath.Join(os.Getenv(dataEnv), "cache"), "PATH="+binDir()+":"+os.Getenv("PATH"),
		"HELM_CACHE_HOME="+filepath.Join(os.Getenv(dataEnv), "helm"), "HELM_CONFIG_HOME="+filepath.Join(os.Getenv(dataEnv), "helm"),
		"HELM_DATA_HOME="+filepath.Join(os.Getenv(dataEnv), "helm"))
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// try runs a command and returns what it printed.
func (c *cluster) try(name string, args ...string) (string, error) {
	return c.tryWith(nil, name, args...)
}

func (c *cluster) tryWith(in io.Reader, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	defer cancel()
	cmd := c.command(ctx, name, args...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out.String(), problems.String())
	}
	return out.String() + withoutHints(problems.String()), nil
}

// withoutHints drops what kubectl says about its own choice.
func withoutHints(text string) string {
	var out strings.Builder
	for l := range strings.Lines(text) {
		if !strings.HasPrefix(l, "Defaulted container ") {
			out.WriteString(l)
		}
	}
	return out.String()
}

func (c *cluster) up() error {
	out, err := c.try("gantry", "up")
	if err != nil {
		return err
	}
	if want := "export KUBECONFIG=" + c.kubeconfig() + "\n"; !strings.HasPrefix(out, want) {
		return fmt.Errorf("gantry up printed %q, want it to begin with %q", out, want)
	}
	return nil
}

func (c *cluster) down() error {
	_, err := c.try("gantry", "down")
	return err
}

// keepLog copies the end of the log to where the tests' output goes.
func (c *cluster) keepLog() {
	raw, err := os.ReadFile(filepath.Join(c.dir, "gantry.log"))
	if err != nil {
		return
	}
	fmt.Fprintf(os.Stderr, "the end of the log:\n%s\n", raw[max(0, len(raw)-20000):])
}

// kubectl runs kubectl, which must succeed, and returns what it printed.
func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try("kubectl", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused runs kubectl, which must fail with a message that has all the parts.
func (c *cluster) refused(t *testing.T, parts []string, args ...string) {
	t.Helper()
	if _, err := c.try("kubectl", args...); err == nil {
		t.Errorf("kubectl %s succeeded", strings.Join(args, " "))
	} else {
		wantParts(t, err.Error(), parts...)
	}
}

// apply applies a manifest.
func (c *cluster) apply(t *testing.T, namespace, manifest string) {
	t.Helper()
	if out, err := c.tryWith(strings.NewReader(manifest), "kubectl", "-n", namespace, "apply", "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// wait waits until kubectl says that something has come true of an object.
func (c *cluster) wait(t *testing.T, namespace, object, what string) {
	t.Helper()
	if out, err := c.try("kubectl", "-n", namespace, "wait", object, "--for="+what, "--timeout="+deadline.String()); err != nil {
		state, _ := c.try("kubectl", "-n", namespace, "describe", object)
		t.Fatalf("%v\n%s\n%s", err, out, state)
	}
}

// namespace makes one for a test; it goes when the test ends.
func (c *cluster) namespace(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	c.kubectl(t, "create", "namespace", name)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := c.try("kubectl", "-n", name, "get", "pods,events", "-o", "wide")
			t.Log(out)
		}
		if _, err := c.try("kubectl", "-n", name, "delete", "pods,deployments,services", "--all", "--wait=false", "--grace-period=1"); err != nil {
			t.Error(err)
		}
		if _, err := c.try("kubectl", "delete", "namespace", name, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	return name
}

// exec runs a shell command in a pod.
func (c *cluster) exec(t *testing.T, namespace, pod, script string) string {
	t.Helper()
	return c.kubectl(t, "-n", namespace, "exec", pod, "--", "sh", "-c", script)
}

// execLast runs what ends its own container, which kills it (128+SIGKILL) unless it ends before.
func (c *cluster) execLast(t *testing.T, args ...string) {
	t.Helper()
	out, err := c.try("kubectl", args...)
	if err != nil && !strings.Contains(out+err.Error(), "exit code 137") {
		t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
}

func wantParts(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("this does not contain %q:\n%s", part, text)
		}
	}
}

// eventually tries until there is no error. It is for what nobody can be asked to tell of, such as files.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var err error
	for end := time.Now().Add(deadline); time.Now().Before(end); <-tick.C {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("not in time: %v", err)
}

func equal(got, want string) error {
	if got = strings.TrimSpace(got); got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

var errUnexpected = errors.New("unexpected")
