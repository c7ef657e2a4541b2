//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// debugged is a pod to look into, of a runtime class or none.
const debugged = `
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  CLASS
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: gantry.local/busybox:1, command: [sh, -c, 'echo of the app > /shared/file; exec sleep 54321'], volumeMounts: [{name: shared, mountPath: /shared}]}
  volumes: [{name: shared, emptyDir: {}}]
`

func class(line, name string) *strings.Replacer {
	return strings.NewReplacer("NAME", name, "CLASS", line)
}

// TestDebug looks into a running pod as people do.
func TestDebug(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	c.debug(t, ns, "")
	c.kubectl(t, "-n", ns, "delete", "pod", "broken", "--timeout=45s")
}

// debug runs ephemeral containers in a pod of a runtime class. The pod is left.
func (c *cluster) debug(t *testing.T, ns, runtimeClass string) {
	t.Helper()
	c.apply(t, ns, class(runtimeClass, "broken").Replace(debugged))
	c.wait(t, ns, "pod/broken", "condition=Ready")
	app := c.kubectl(t, "-n", ns, "get", "pod", "broken", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
	in := func(container, script string) string {
		return strings.TrimSpace(c.kubectl(t, "-n", ns, "exec", "broken", "-c", container, "--", "sh", "-c", script))
	}

	c.kubectl(t, "-n", ns, "debug", "broken", "--image="+busybox, "--target=app", "-c", "debugger", "--env=SEEN=yes", "--",
		"sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; echo; cat /proc/1/root/shared/file; exec sleep 12345")
	c.wait(t, ns, "pod/broken", "jsonpath={.status.ephemeralContainerStatuses[0].state.running}")
	eventually(t, func() error {
		return equal(c.kubectl(t, "-n", ns, "logs", "broken", "-c", "debugger"), "sleep 54321 \nof the app")
	})
	if got := in("debugger", "echo $SEEN; grep -c nameserver /etc/resolv.conf >/dev/null; tr '\\0' ' ' < /proc/1/cmdline"); got != "yes\nsleep 54321" {
		t.Errorf("the debugger sees %q", got)
	}
	if got := in("app", "ls /proc | grep -c '^[0-9]'"); got == "1" {
		t.Errorf("the target does not see the debugger: %s processes", got)
	}

	out, err := c.tryWith(strings.NewReader("typed\n"), "kubectl", "-n", ns, "debug", "broken", "-i", "--image="+busybox, "-c", "second", "--",
		"sh", "-c", "read line; echo got $line; ls /proc | grep -c '^[0-9]'; exit 3")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.wait(t, ns, "pod/broken", "jsonpath={.status.ephemeralContainerStatuses[?(@.name=='second')].state.terminated.exitCode}=3")
	wantParts(t, c.kubectl(t, "-n", ns, "logs", "broken", "-c", "second"), "got typed")
	c.addDebugger(t, ns, `{"name": "third", "image": "`+busybox+`", "command": ["cat", "/shared/file"], "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}`)
	c.wait(t, ns, "pod/broken", "jsonpath={.status.ephemeralContainerStatuses[?(@.name=='third')].state.terminated.exitCode}=0")
	wantParts(t, c.kubectl(t, "-n", ns, "logs", "broken", "-c", "third"), "of the app")
	wantParts(t, c.kubectl(t, "-n", ns, "describe", "pod", "broken"), "Ephemeral Containers:", "debugger:", "second:", "Exit Code:    3")

	c.refused(t, []string{`existing ephemeral containers "debugger" may not be removed`}, "-n", ns, "patch", "pod", "broken", "--subresource=ephemeralcontainers",
		"--type=json", "-p", `[{"op": "remove", "path": "/spec/ephemeralContainers/1"}]`) // the patch has put the third one first
	// What has ended is not started again, and the app never noticed.
	got := c.kubectl(t, "-n", ns, "get", "pod", "broken", "-o",
		"jsonpath={.status.ephemeralContainerStatuses[*].restartCount} {.status.ephemeralContainerStatuses[?(@.name=='second')].state.terminated.exitCode} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].containerID}")
	if got != "0 0 0 3 0 "+app {
		t.Errorf("in the end there is %q", got)
	}
}

// addDebugger adds an ephemeral container by a patch.
func (c *cluster) addDebugger(t *testing.T, ns, container string) {
	t.Helper()
	c.kubectl(t, "-n", ns, "patch", "pod", "broken", "--subresource=ephemeralcontainers", "-p", `{"spec": {"ephemeralContainers": [`+container+`]}}`)
}

const growing = `
apiVersion: v1
kind: Pod
metadata: {name: growing}
spec:
  CLASS
  terminationGracePeriodSeconds: 0
  containers:
  - name: steady
    image: gantry.local/busybox:1
    command: [sleep, "100000"]
    resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {cpu: 100m, memory: 32Mi}}
  - name: restarted
    image: gantry.local/busybox:1
    command: [sleep, "100000"]
    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]
    resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {cpu: 100m, memory: 32Mi}}
`

// TestResize gives a running pod more, less, and more than there is.
func TestResize(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	c.resize(t, ns, "")
	c.refused(t, []string{"pod updates may not change fields other than"}, "-n", ns, "patch", "pod", "growing", "-p", sizePatch("steady", "60m", "32Mi"))
	c.refused(t, []string{"node didn't have enough allocatable resources: cpu"}, "-n", ns, "patch", "pod", "growing", "--subresource=resize", "-p",
		`{"spec": {"containers": [{"name": "steady", "resources": {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}}]}}`)
	c.refused(t, []string{"resource limits cannot be removed"}, "-n", ns, "patch", "pod", "growing", "--subresource=resize", "-p",
		`{"spec": {"containers": [{"name": "steady", "resources": {"limits": null}}]}}`)
	wantParts(t, c.kubectl(t, "-n", ns, "get", "events"), "ResizeStarted", "ResizeCompleted", "Container restarted resize requires restart")

	// As much as the node has does not fit beside another pod.
	c.apply(t, ns, pod("other", `{terminationGracePeriodSeconds: 0, containers: [{name: a, image: "`+busybox+`", command: [sleep, "100000"], resources: {requests: {cpu: 10m}}}]}`))
	c.wait(t, ns, "pod/other", "condition=Ready")
	all := c.kubectl(t, "get", "nodes", "-o", "jsonpath={.items[0].status.allocatable.cpu}")
	c.kubectl(t, "-n", ns, "patch", "pod", "growing", "--subresource=resize", "-p",
		fmt.Sprintf(`{"spec": {"containers": [{"name": "steady", "resources": {"requests": {"cpu": "%s"}, "limits": {"cpu": "%s"}}}, {"name": "restarted", "resources": {"requests": {"cpu": "0"}}}]}}`, all, all))
	c.wait(t, ns, "pod/growing", "condition=PodResizePending")
	wantParts(t, c.kubectl(t, "-n", ns, "describe", "pod", "growing"), "Node didn't have enough resource: cpu")
	c.kubectl(t, "-n", ns, "patch", "pod", "growing", "--subresource=resize", "-p", sizePatch("steady", "100m", "32Mi"))
	c.wait(t, ns, "pod/growing", "jsonpath={.status.containerStatuses[?(@.name=='steady')].resources.limits.cpu}=100m")
}

func sizePatch(container, cpu, memory string) string {
	return fmt.Sprintf(`{"spec": {"containers": [{"name": "%s", "resources": {"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"cpu": "%s", "memory": "%s"}}}]}}`, container, cpu, memory)
}

// resize resizes a pod of a runtime class. The pod is left.
func (c *cluster) resize(t *testing.T, ns, runtimeClass string) {
	t.Helper()
	c.apply(t, ns, class(runtimeClass, "growing").Replace(growing))
	c.wait(t, ns, "pod/growing", "condition=Ready")
	// restarts and sizes of a container, as the API and as the kernel says.
	state := func(container string) string {
		out := c.kubectl(t, "-n", ns, "get", "pod", "growing", "-o", fmt.Sprintf(
			"jsonpath={range .status.containerStatuses[?(@.name=='%s')]}{.restartCount} {.resources.limits.cpu} {.resources.limits.memory}{end}", container))
		seen, err := c.try("kubectl", "-n", ns, "exec", "growing", "-c", container, "--", "sh", "-c",
			"cd /sys/fs/cgroup; if [ -e cpu.max ]; then cut -d' ' -f1 cpu.max; cat memory.max; else cat cpu/cpu.cfs_quota_us memory/memory.limit_in_bytes; fi")
		if err != nil {
			return out + ": " + err.Error()
		}
		return out + ": " + strings.Join(strings.Fields(seen), " ")
	}
	for _, step := range []struct{ cpu, memory, steady, restarted string }{
		{"150m", "32Mi", "0 150m 32Mi: 15000 33554432", "0 150m 32Mi: 15000 33554432"},
		{"150m", "48Mi", "0 150m 48Mi: 15000 50331648", "1 150m 48Mi: 15000 50331648"},
		{"80m", "24Mi", "0 80m 24Mi: 8000 25165824", "2 80m 24Mi: 8000 25165824"},
	} {
		for _, name := range []string{"steady", "restarted"} {
			c.kubectl(t, "-n", ns, "patch", "pod", "growing", "--subresource=resize", "-p", sizePatch(name, step.cpu, step.memory))
		}
		for name, want := range map[string]string{"steady": step.steady, "restarted": step.restarted} {
			eventually(t, func() error { return equal(state(name), want) })
		}
		c.wait(t, ns, "pod/growing", "condition=Ready")
	}
	uid := c.kubectl(t, "-n", ns, "get", "pod", "growing", "-o", "jsonpath={.metadata.uid}")
	if quota, err := os.ReadFile("/sys/fs/cgroup/cpu/" + c.id() + "/kubepods/burstable/pod" + uid + "/cpu.cfs_quota_us"); err == nil {
		if got := strings.TrimSpace(string(quota)); got != "16000" {
			t.Errorf("the pod's own limit is %s", got)
		}
	}
	conditions := c.kubectl(t, "-n", ns, "get", "pod", "growing", "-o", "jsonpath={.status.conditions[*].type} {.metadata.generation}-{.status.observedGeneration}")
	if strings.Contains(conditions, "PodResize") || !strings.HasSuffix(conditions, " 7-7") {
		t.Errorf("in the end there is %s", conditions)
	}
}

// TestDebugAndResizeSurvive: an agent that starts again neither forgets what it has granted nor starts a debugger twice.
func TestDebugAndResizeSurvive(t *testing.T) {
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	c.apply(t, ns, class("", "growing").Replace(growing))
	c.wait(t, ns, "pod/growing", "condition=Ready")
	c.kubectl(t, "-n", ns, "patch", "pod", "growing", "--subresource=resize", "-p", sizePatch("steady", "150m", "48Mi"))
	c.wait(t, ns, "pod/growing", "jsonpath={.status.containerStatuses[?(@.name=='steady')].resources.limits.memory}=48Mi")
	for name, command := range map[string]string{"runs": "exec sleep 100000", "ended": "exit 5"} {
		c.kubectl(t, "-n", ns, "debug", "growing", "--image="+busybox, "-c", name, "--", "sh", "-c", command)
	}
	c.wait(t, ns, "pod/growing", "jsonpath={.status.ephemeralContainerStatuses[?(@.name=='ended')].state.terminated.exitCode}=5")
	c.wait(t, ns, "pod/growing", "jsonpath={.status.ephemeralContainerStatuses[?(@.name=='runs')].state.running}")
	look := func() string {
		return c.kubectl(t, "-n", ns, "get", "pod", "growing", "-o", "jsonpath={.status.containerStatuses} {.status.ephemeralContainerStatuses} {.status.conditions[*].type}")
	}
	before := look()
	kill(t, c.pid(t))
	if err := c.up(); err != nil {
		t.Fatal(err)
	}
	c.kubectl(t, "-n", ns, "run", "after", "--image="+demo)
	c.wait(t, ns, "pod/after", "condition=Ready")
	if after := look(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	c.kubectl(t, "-n", ns, "patch", "pod", "growing", "--subresource=resize", "-p", sizePatch("steady", "80m", "48Mi"))
	c.wait(t, ns, "pod/growing", "jsonpath={.status.containerStatuses[?(@.name=='steady')].resources.limits.cpu}=80m")
	if quota := c.kubectl(t, "-n", ns, "exec", "growing", "-c", "steady", "--", "sh", "-c", "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null || true"); !strings.HasPrefix(quota, "8000") {
		t.Errorf("the limit is %s", quota)
	}
}
