//go:build e2e

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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

// The gantry that runs is replaced by another executable, with one plugin that is another and two that are the same.
func TestUpgrade(t *testing.T) {
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
	listDigests(t, filepath.Join(c.bin, "plugins"))
	if out, err := c.try("gantry", "up", "--replace"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if old.Alive() || c.pid(t) == old.PID {
		t.Errorf("process %d runs still", old.PID)
	}
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
