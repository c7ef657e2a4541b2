//go:build e2e

package e2e

import "testing"

const explained = `
apiVersion: v1
kind: Pod
metadata: {name: starts}
spec: {containers: [{name: main, image: gantry.local/demo:1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: waits}
spec: {containers: [{name: main, image: gantry.local/demo:1, resources: {requests: {cpu: "5000"}}}]}
`

func TestExplain(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	shared.apply(t, ns, explained)
	shared.wait(t, ns, "pod/starts", "condition=Ready")
	explain := func(pod string) string {
		t.Helper()
		out, err := shared.try("gantry", "explain", "pod", pod, "-n", ns)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return out
	}
	wantParts(t, explain("starts"), "it is bound to", "queued", "decided", "bound", "seen", "sandbox", "network", "image of main", "start of main", "probed and ready")
	eventually(t, func() error { return equal(condition(t, ns, "waits"), "Unschedulable") })
	wantParts(t, explain("waits"), "it waits for a change that makes it fit", "NODE", "Insufficient cpu (asks for 5000000m,")
}

func condition(t *testing.T, ns, pod string) string {
	t.Helper()
	return shared.kubectl(t, "-n", ns, "get", "pod", pod, "-o", `jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}`)
}
