//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gantryio/gantry/interfaces/plugin/process"
)

// parent is the process that has started another.
func parent(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	after := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:])) // proc_pid_stat(5)
	ppid, err := strconv.Atoi(after[1])
	if err != nil {
		t.Fatal(err)
	}
	return ppid
}

// children are the executables of a process' children.
func children(t *testing.T, pid int) []string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, child := range strings.Fields(string(raw)) {
		line, err := os.ReadFile("/proc/" + child + "/cmdline")
		if err != nil {
			continue // It has ended.
		}
		out = append(out, strings.Split(string(line), "\x00")[0])
	}
	return out
}

// containerd is the process that the runtime plugin has started.
func (c *cluster) containerd(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(c.dir, "run", "c", "process.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Process process.ID }
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return r.Process.PID
}

// A pod's shim is its sandbox: what containers share outlives each of them and containerd, and a shim's end is the end of
// the sandbox, which is made anew.
func TestSandboxes(t *testing.T) {
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	c.apply(t, ns, `
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  hostname: chosen
  terminationGracePeriodSeconds: 0
  containers:
  - {name: a, image: "`+busybox+`", command: [sh, -c, 'cat /dev/shm/*; echo of-a > /dev/shm/a; exec sleep 100000']}
  - {name: b, image: "`+busybox+`", command: [sleep, "100000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: single}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: "`+busybox+`", command: [sleep, "100000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: family}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: "`+busybox+`", command: [sleep, "100000"]}]
`)
	c.wait(t, ns, "pod/pair", "condition=Ready")
	c.wait(t, ns, "pod/family", "condition=Ready")
	a := containerPID(t, c, ns, "pair")
	shim := parent(t, a.PID)
	for _, name := range children(t, shim) {
		if filepath.Base(name) == "pause" {
			t.Errorf("a process of the pod only pauses: %v", children(t, shim))
		}
	}
	inB := func(script string) string {
		return strings.TrimSpace(c.kubectl(t, "-n", ns, "exec", "pair", "-c", "b", "--", "sh", "-c", script))
	}
	if got := inB("hostname; cat /etc/hostname /dev/shm/a"); got != "chosen\nchosen\nof-a" {
		t.Errorf("container b sees %q", got)
	}
	if got := c.exec(t, ns, "family", "tr '\\0' ' ' < /proc/1/cmdline"); !strings.HasPrefix(got, "/pause") {
		t.Errorf("the first process of a shared namespace is %q", got)
	}

	c.wait(t, ns, "pod/single", "condition=Ready")
	only := containerPID(t, c, ns, "single")
	its := parent(t, only.PID)
	kill(t, only.PID)
	c.wait(t, ns, "pod/single", "jsonpath={.status.containerStatuses[0].restartCount}=1")
	c.wait(t, ns, "pod/single", "condition=Ready")
	if p := parent(t, containerPID(t, c, ns, "single").PID); p != its {
		t.Errorf("the end of a pod's only container was the end of its sandbox: its shim is %d, and was %d", p, its)
	}

	kill(t, c.containerd(t))
	kill(t, a.PID)
	c.wait(t, ns, "pod/pair", "jsonpath={.status.containerStatuses[0].restartCount}=1")
	c.wait(t, ns, "pod/pair", "condition=Ready")
	if got := c.kubectl(t, "-n", ns, "logs", "pair", "-c", "a"); got != "of-a\n" {
		t.Errorf("after the ends of containerd and of container a, a sees %q", got)
	}
	again := containerPID(t, c, ns, "pair")
	if p := parent(t, again.PID); p != shim {
		t.Errorf("container a has shim %d, and had %d", p, shim)
	}
	for _, kind := range []string{"net", "ipc", "uts"} {
		of := func(name string) string {
			return strings.TrimSpace(c.kubectl(t, "-n", ns, "exec", "pair", "-c", name, "--", "readlink", "/proc/self/ns/"+kind))
		}
		if a, b := of("a"), of("b"); a != b {
			t.Errorf("the containers' namespaces are %s and %s", a, b)
		}
	}

	uid := c.kubectl(t, "-n", ns, "get", "pod", "pair", "-o", "jsonpath={.metadata.uid}")
	kill(t, shim)
	c.wait(t, ns, "pod/pair", "jsonpath={.status.containerStatuses[1].restartCount}=1")
	c.wait(t, ns, "pod/pair", "condition=Ready")
	if got := c.kubectl(t, "-n", ns, "get", "pod", "pair", "-o", "jsonpath={.metadata.uid}"); got != uid {
		t.Errorf("it is another pod, %s", got)
	}
	if got := inB("hostname"); got != "chosen" {
		t.Errorf("in its new sandbox the pod is %q", got)
	}

	c.kubectl(t, "-n", ns, "delete", "pod", "--all", "--wait")
	eventually(t, func() error { // The pod is gone when its containers have ended; the sandbox goes after it.
		if left, _ := filepath.Glob(filepath.Join(c.dir, "run", "c", "sandboxes", "*")); len(left) > 0 {
			return fmt.Errorf("left %v", left)
		}
		return nil
	})
}
