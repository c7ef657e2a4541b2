//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// podTemplate is the template of a workload's demo pods, indented as below a spec.
const podTemplate = `
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 1
      SELECTOR
      containers:
      - {name: demo, image: "gantry.local/demo:1"}
`

func workload(kind, name, spec, nodeSelector string) string {
	t := strings.NewReplacer("NAME", name, "SELECTOR", nodeSelector).Replace(podTemplate)
	return "apiVersion: apps/v1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec:\n  " + spec + t
}

func TestStatefulSet(t *testing.T) {
	c := shared
	ns := c.namespace(t)
	kubectl := func(args ...string) string {
		t.Helper()
		return c.kubectl(t, append([]string{"-n", ns}, args...)...)
	}
	c.apply(t, ns, workload("StatefulSet", "db", "replicas: 2\n  serviceName: db", ""))
	wantParts(t, kubectl("rollout", "status", "sts/db", "--timeout=45s"), "roll out complete: 2 new pods have been updated")
	wantParts(t, kubectl("get", "sts"), "NAME", "READY", "AGE", "2/2")
	for _, name := range []string{"db-0", "db-1"} {
		body, err := get(kubectl("get", "pod", name, "-o", "jsonpath=http://{.status.podIP}:8080/"))
		if err != nil || !strings.Contains(body, name) {
			t.Errorf("%s answers %q, %v", name, body, err)
		}
	}
	wantParts(t, kubectl("get", "events"), "create Pod db-1 in StatefulSet db successful")
	uid := func(pod string) string { return kubectl("get", "pod", pod, "-o", "jsonpath={.metadata.uid}") }
	images := func(want string) {
		t.Helper()
		if got := kubectl("get", "pods", "-l", "app=db", "-o", "jsonpath={.items[*].spec.containers[0].image}"); got != want+" "+want {
			t.Errorf("images are %s, want all %s", got, want)
		}
	}
	first := uid("db-0")
	kubectl("set", "image", "sts/db", "demo=gantry.local/demo:2")
	wantParts(t, kubectl("rollout", "status", "sts/db", "--timeout=45s"), "roll out complete: 2 new pods have been updated")
	images("gantry.local/demo:2")
	if uid("db-0") == first {
		t.Error("db-0 was not replaced")
	}
	wantParts(t, kubectl("rollout", "history", "sts/db"), "REVISION", "1 ", "2 ")
	wantParts(t, kubectl("rollout", "undo", "sts/db"), "statefulset.apps/db rolled back")
	kubectl("rollout", "status", "sts/db", "--timeout=45s")
	images("gantry.local/demo:1")
	kubectl("scale", "sts/db", "--replicas=1")
	kubectl("wait", "pod/db-1", "--for=delete", "--timeout=20s")
}

func TestDaemonSet(t *testing.T) {
	c := shared
	ns := c.namespace(t)
	kubectl := func(args ...string) string {
		t.Helper()
		return c.kubectl(t, append([]string{"-n", ns}, args...)...)
	}
	node := strings.TrimSpace(c.kubectl(t, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"))
	c.apply(t, ns, workload("DaemonSet", "log", "updateStrategy: {type: RollingUpdate}", "nodeSelector: {e2e-disk: ssd}"))
	kubectl("rollout", "status", "ds/log", "--timeout=45s") // on no node yet
	c.kubectl(t, "label", "node", node, "e2e-disk=ssd")
	t.Cleanup(func() { _, _ = c.try("kubectl", "label", "node", node, "e2e-disk-") })
	c.wait(t, ns, "ds/log", "jsonpath={.status.numberAvailable}=1")
	wantParts(t, kubectl("get", "ds"), "DESIRED", "NODE SELECTOR", "e2e-disk=ssd")
	kubectl("set", "image", "ds/log", "demo=gantry.local/demo:2")
	wantParts(t, kubectl("rollout", "status", "ds/log", "--timeout=45s"), `daemon set "log" successfully rolled out`)
	image := func() string {
		return kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}")
	}
	if got := image(); got != "gantry.local/demo:2" {
		t.Errorf("the image is %s", got)
	}
	wantParts(t, kubectl("rollout", "undo", "ds/log"), "daemonset.apps/log rolled back")
	kubectl("rollout", "status", "ds/log", "--timeout=45s")
	if got := image(); got != "gantry.local/demo:1" {
		t.Errorf("the image after the rollback is %s", got)
	}
	c.kubectl(t, "label", "node", node, "e2e-disk-")
	kubectl("wait", "pods", "--all", "--for=delete", "--timeout=20s")
}

func TestDrain(t *testing.T) {
	c := shared
	ns := c.namespace(t)
	node := strings.TrimSpace(c.kubectl(t, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"))
	c.apply(t, ns, workload("Deployment", "guarded", "replicas: 2", ""))
	c.apply(t, ns, `{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: guarded}, spec: {minAvailable: 2, selector: {matchLabels: {app: guarded}}}}`)
	c.wait(t, ns, "deployment/guarded", "condition=Available")
	c.wait(t, ns, "pdb/guarded", "jsonpath={.status.currentHealthy}=2")
	t.Cleanup(func() { _, _ = c.try("kubectl", "uncordon", node) })
	drain := []string{"drain", node, "--pod-selector=app=guarded", "--timeout=3s"}
	c.refused(t, []string{"Cannot evict pod as it would violate the pod's disruption budget."}, drain...)
	c.kubectl(t, "-n", ns, "patch", "pdb", "guarded", "--type=merge", "-p", `{"spec":{"minAvailable":0}}`)
	c.wait(t, ns, "pdb/guarded", "jsonpath={.status.disruptionsAllowed}=2")
	wantParts(t, c.kubectl(t, "get", "pdb", "-n", ns), "MIN AVAILABLE", "ALLOWED DISRUPTIONS", "N/A")
	wantParts(t, c.kubectl(t, "drain", node, "--pod-selector=app=guarded", "--timeout=45s"), "evicted", "node/"+node+" drained")
	wantParts(t, c.kubectl(t, "uncordon", node), "node/"+node+" uncordoned")
	c.wait(t, ns, "deployment/guarded", "condition=Available")
}
