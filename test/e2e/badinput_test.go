//go:build e2e

package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func pod(name, spec string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec: " + spec + "\n"
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	three, _, _ := strings.Cut(three, "---")
	ns := shared.namespace(t)
	cases := []struct {
		name, manifest string
		want           []string
	}{
		{
			"a wrong field", strings.Replace(three, "replicas: 3", "replicaz: 3", 1),
			[]string{`strict decoding error: unknown field "spec.replicaz"`},
		},
		{
			"an unknown kind", strings.Replace(three, "kind: Deployment", "kind: Deploymint", 1),
			[]string{`no matches for kind "Deploymint" in version "apps/v1"`},
		},
		{
			"negative replicas", strings.Replace(three, "replicas: 3", "replicas: -1", 1),
			[]string{`The Deployment "shop" is invalid`, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
		},
		{
			"a selector that misses the template", strings.Replace(three, "metadata: {labels: {app: shop}}", "metadata: {labels: {app: other}}", 1),
			[]string{"spec.template.metadata.labels: Invalid value", "`selector` does not match template `labels`"},
		},
		{
			"a wrong type", strings.Replace(three, "replicas: 3", "replicas: three", 1), []string{"spec.replicas"},
		},
		{
			"no image", pod("x", "{containers: [{name: a}]}"), []string{"spec.containers[0].image: Required value"},
		},
		{
			"a bad name", pod("Upper_Case", "{containers: [{name: a, image: b}]}"),
			[]string{"metadata.name: Invalid value", "RFC 1123"},
		},
		{
			"two containers of one name", pod("x", "{containers: [{name: a, image: b}, {name: a, image: b}]}"),
			[]string{`spec.containers[1].name: Duplicate value: "a"`},
		},
		{
			"a mount without a volume", pod("x", "{containers: [{name: a, image: b, volumeMounts: [{name: v, mountPath: /v}]}]}"),
			[]string{`spec.containers[0].volumeMounts[0].name: Not found: "v"`},
		},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			_, err := shared.tryWith(strings.NewReader(tt.manifest), "kubectl", "-n", ns, "create", "-f", "-")
			if err == nil {
				t.Fatal("was accepted")
			}
			wantParts(t, err.Error(), tt.want...)
		})
	}
	shared.refused(t, []string{"doesn't have a resource type", "nosuch"}, "get", "nosuch")
	shared.refused(t, []string{`Error from server (NotFound): pods "nosuch" not found`}, "-n", ns, "get", "pod", "nosuch")
	shared.refused(t, []string{"AlreadyExists", "default"}, "create", "namespace", "default")
	shared.refused(t, []string{`namespaces "nosuch" not found`}, "-n", "nosuch", "run", "x", "--image="+demo)
}

func TestMissingImage(t *testing.T) {
	t.Parallel()
	ns, addr := shared.namespace(t), newRegistry(t)
	shared.kubectl(t, "-n", ns, "run", "lost", "--image="+addr+"/no/such:1")
	shared.wait(t, ns, "pod/lost", `jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff`)
	for _, want := range []string{"Failed to pull image", "not found", "Error: ErrImagePull", "Error: ImagePullBackOff", "Back-off pulling image"} {
		wantEvent(t, ns, "lost", want)
	}
	wantCells(t, line(t, shared.kubectl(t, "-n", ns, "get", "pods"), "lost"), map[string]string{"READY": "0/1", "STATUS": "ImagePullBackOff|ErrImagePull"})
}

// wantEvent waits until describe shows an event, which is written after the status that it is about.
func wantEvent(t *testing.T, ns, pod, want string) {
	t.Helper()
	eventually(t, func() error {
		if out := shared.kubectl(t, "-n", ns, "describe", "pod", pod); !strings.Contains(out, want) {
			return fmt.Errorf("no event %q in:\n%s", want, out)
		}
		return nil
	})
}

func TestUnschedulable(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	shared.apply(t, ns, pod("huge", `{containers: [{name: a, image: "gantry.local/demo:1", resources: {requests: {cpu: 1000}}}]}`))
	shared.apply(t, ns, pod("picky", `{nodeSelector: {disk: none}, containers: [{name: a, image: "gantry.local/demo:1"}]}`))
	for name, want := range map[string]string{
		"huge": "0/1 nodes are available: 1 Insufficient cpu.", "picky": "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
	} {
		shared.wait(t, ns, "pod/"+name, "jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}=Unschedulable")
		eventually(t, func() error {
			if out := shared.kubectl(t, "-n", ns, "describe", "pod", name); !strings.Contains(out, "FailedScheduling") || !strings.Contains(out, want) {
				return fmt.Errorf("described as %s: %w", out, errUnexpected)
			}
			return nil
		})
		wantCells(t, line(t, shared.kubectl(t, "-n", ns, "get", "pods", "-o", "wide"), name), map[string]string{"STATUS": "Pending", "NODE": "<none>", "IP": "<none>"})
	}
	// It is scheduled as soon as it fits.
	node := strings.TrimSpace(strings.TrimPrefix(shared.kubectl(t, "get", "nodes", "-o", "name"), "node/"))
	shared.kubectl(t, "label", "node", node, "disk=none")
	shared.wait(t, ns, "pod/picky", "condition=Ready")
	shared.kubectl(t, "label", "node", node, "disk-")
}

func TestCrashLoop(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	ns := shared.namespace(t)
	shared.kubectl(t, "-n", ns, "run", "crash", "--image="+busybox, "--", "sh", "-c", "echo last words > /dev/termination-log; exit 4")
	shared.wait(t, ns, "pod/crash", `jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff`)
	out := shared.kubectl(t, "-n", ns, "describe", "pod", "crash")
	wantParts(t, out, "CrashLoopBackOff", "Exit Code:    4", "last words")
	shared.wait(t, ns, "pod/crash", "jsonpath={.status.containerStatuses[0].restartCount}=1")
	wantEvent(t, ns, "crash", "Back-off restarting failed container crash in pod crash_"+ns)
	wantCells(t, line(t, shared.kubectl(t, "-n", ns, "get", "pods"), "crash"), map[string]string{"READY": "0/1", "STATUS": "CrashLoopBackOff|Error", "RESTARTS": `[1-3] \(\d+s ago\)`})
	message := shared.kubectl(t, "-n", ns, "get", "pod", "crash", "-o", "jsonpath={.status.containerStatuses[0].state.waiting.message}")
	if message != "" {
		wantParts(t, message, "back-off", "restarting failed container=crash pod=crash_"+ns)
	}
}

func TestWrongToken(t *testing.T) {
	t.Parallel()
	server := strings.TrimSpace(shared.kubectl(t, "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for path, want := range map[string]int{"/api/v1/pods": 401, "/healthz": 200, "/version": 200, "/livez": 200, "/readyz": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if want == 401 {
			req.Header.Set("Authorization", "Bearer wrong")
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s with a wrong token or none: %s, want %d", path, res.Status, want)
		}
	}
	_, err := shared.try("kubectl", "--kubeconfig=/dev/null", "--server="+server, "--insecure-skip-tls-verify", "--token=wrong", "get", "pods")
	if err == nil {
		t.Fatal("a wrong token was accepted")
	}
	wantParts(t, err.Error(), "You must be logged in to the server")
}
