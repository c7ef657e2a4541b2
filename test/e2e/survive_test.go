//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/interfaces/plugin/process"
)

// kill ends a process the hard way and waits until it is gone.
func kill(t *testing.T, pid int) {
	t.Helper()
	id, err := process.Find(pid)
	if err == nil {
		err = id.Signal(syscall.SIGKILL)
	}
	if err == nil {
		err = id.Wait(t.Context())
	}
	if err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

func (c *cluster) pid(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(c.dir, "gantry.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// plugins finds the plugins' processes by what the host wrote down of them.
func (c *cluster) plugins(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !strings.Contains(string(env), c.dir) {
			continue
		}
		if name := filepath.Base(strings.Split(string(raw), "\x00")[0]); strings.HasPrefix(name, "plugin-") {
			out[name], _ = strconv.Atoi(e.Name())
		}
	}
	return out
}

func TestContainersSurvive(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	c.apply(t, ns, three)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	pods := names(t, c, ns, "app=shop")
	before := map[string]process.ID{}
	for _, p := range pods {
		before[p] = containerPID(t, c, ns, p)
	}
	check := func(t *testing.T, what string) {
		t.Helper()
		// A new pod runs, the old ones are the same, and what the API says of them is true.
		c.kubectl(t, "-n", ns, "run", "after", "--image="+demo)
		c.wait(t, ns, "pod/after", "condition=Ready")
		c.kubectl(t, "-n", ns, "delete", "pod", "after")
		c.wait(t, ns, "deployment/shop", "jsonpath={.status.readyReplicas}=3")
		for _, p := range pods {
			if !before[p].Alive() {
				t.Errorf("after %s: process %d of %s is gone", what, before[p].PID, p)
			}
			if out := c.kubectl(t, "-n", ns, "get", "pod", p, "-o", "jsonpath={.status.containerStatuses[0].restartCount}"); out != "0" {
				t.Errorf("after %s: pod %s has %s restarts", what, p, out)
			}
		}
	}
	plugins := c.plugins(t)
	if len(plugins) != 3 {
		t.Fatalf("plugins %v", plugins)
	}
	for name, pid := range plugins {
		kill(t, pid)
		check(t, "SIGKILL of "+name)
	}
	kill(t, c.pid(t))
	if err := c.up(); err != nil {
		t.Fatal(err)
	}
	check(t, "SIGKILL of gantry")

	t.Run("what ends meanwhile is seen", func(t *testing.T) {
		kill(t, c.pid(t))
		if err := before[pods[0]].Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := c.up(); err != nil {
			t.Fatal(err)
		}
		c.wait(t, ns, "pod/"+pods[0], "jsonpath={.status.containerStatuses[0].restartCount}=1")
		c.wait(t, ns, "deployment/shop", "jsonpath={.status.readyReplicas}=3")
	})
	t.Run("down and up", func(t *testing.T) {
		if err := c.down(); err != nil {
			t.Fatal(err)
		}
		for _, left := range c.leftovers() {
			t.Errorf("left after gantry down: %s", left)
		}
		if err := c.down(); err != nil {
			t.Errorf("a second gantry down: %v", err)
		}
		if err := c.up(); err != nil {
			t.Fatal(err)
		}
		c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
		awaitBackends(t, nodePort(t, c, ns, "shop"), names(t, c, ns, "app=shop"))
	})
}

// TestLongPath runs a cluster of its own whose data folder's path is longer than a socket's may be.
func TestLongPath(t *testing.T) {
	dir := filepath.Join(os.Getenv(dataEnv), strings.Repeat("long-", 20)+"path")
	c, err := newCluster(dir, plugintest.Namespace(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.down(); err != nil {
			t.Error(err)
		}
		for _, left := range c.leftovers() {
			t.Errorf("left after gantry down: %s", left)
		}
	})
	if err := c.up(); err != nil {
		t.Fatal(err)
	}
	var nodes struct{ Items []any }
	if err := json.Unmarshal([]byte(c.kubectl(t, "get", "nodes", "-o", "json")), &nodes); err != nil || len(nodes.Items) != 1 {
		t.Errorf("nodes %v, %v", nodes.Items, err)
	}
	c.kubectl(t, "run", "web", "--image="+demo)
	c.wait(t, "default", "pod/web", "condition=Ready")
	wantParts(t, c.kubectl(t, "logs", "web"), "serving")
}
