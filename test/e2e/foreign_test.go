//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/test/foreign"
)

// adopted is the Plugin that adopts a runtime, and the class of its pods.
const adopted = `
apiVersion: plugins.gantry.dev/v1alpha1
kind: Plugin
metadata: {name: debian}
spec:
  type: Runtime
  source: {endpoint: SOCKET}
  config: {cniConfDir: CONF, cniBinDir: BIN}
  handlers: [old-runc]
  priority: -1
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: debian}
handler: debian
`

// startForeign runs Debian's containerd beside a cluster, knowing the demo and the toolbox.
func startForeign(t *testing.T, c *cluster) *foreign.Runtime {
	t.Helper()
	images := filepath.Join(binDir(), "images")
	root := os.Getenv("GANTRY_E2E_DEBIAN")
	if root == "" {
		root = filepath.Join(binDir(), "debian")
	}
	box := importBusybox(t, c)
	return foreign.Start(t, root, c.netns, "gantry.local/pause:1", filepath.Join(images, "pause.tar"), filepath.Join(images, "demo-1.tar"), box)
}

func adopt(t *testing.T, c *cluster, r *foreign.Runtime) {
	t.Helper()
	c.apply(t, "default", strings.NewReplacer("SOCKET", r.Socket, "CONF", r.ConfDir, "BIN", r.BinDir).Replace(adopted))
	awaitPlugin(t, c, "true", "")
}

// awaitPlugin waits until the node says of the adopted runtime whether it is ready, and why not.
func awaitPlugin(t *testing.T, c *cluster, ready, problem string) {
	t.Helper()
	eventually(t, func() error {
		out, err := c.try("kubectl", "get", "nodeplugins", "-o", `jsonpath={range .items[0].status.plugins[?(@.name=="debian")]}{.ready}|{.lastError}{end}`)
		if err != nil {
			return err
		}
		if state, why, _ := strings.Cut(out, "|"); state != ready || !strings.Contains(why, problem) {
			return fmt.Errorf("the plugin's state is %q, want %s and %q: %w", out, ready, problem, errUnexpected)
		}
		return nil
	})
}

// ownCluster starts a cluster with nobody else in it, and looks for leftovers at the end.
func ownCluster(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv(dataEnv), "f")
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCluster(dir, plugintest.Namespace(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.up(); err != nil {
		t.Fatal(err)
	}
	return c
}

// downClean takes a cluster down, after which nothing of it may be left, in the foreign runtime neither.
func downClean(t *testing.T, c *cluster, r *foreign.Runtime) {
	t.Helper()
	if t.Failed() {
		c.keepLog()
	}
	if err := c.down(); err != nil {
		t.Error(err)
	}
	for _, left := range c.leftovers() {
		t.Errorf("left after gantry down: %s", left)
	}
	if n := r.Sandboxes(t); n != 0 {
		t.Errorf("%d sandboxes are left in the foreign runtime", n)
	}
	for _, dir := range []string{r.ConfDir, r.BinDir} {
		if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

// sideBySide is a pod of a runtime that answers over HTTP, behind a Service of both.
const sideBySide = `
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: both}}
spec:
  terminationGracePeriodSeconds: 1
  CLASS
  containers:
  - {name: demo, image: "gantry.local/demo:1", readinessProbe: {httpGet: {path: /, port: 8080}}}
  - {name: shell, image: "gantry.local/busybox:1", command: [sh, -c, 'trap "exit 0" TERM; echo hello of $(hostname); while :; do sleep 0.1; done']}
`

func TestRuntimesSideBySide(t *testing.T) {
	c := ownCluster(t)
	r := startForeign(t, c)
	t.Cleanup(func() { downClean(t, c, r) })
	adopt(t, c, r)
	for name, class := range map[string]string{"shipped": "", "foreign": "runtimeClassName: debian"} {
		c.apply(t, "default", strings.NewReplacer("NAME", name, "CLASS", class).Replace(sideBySide))
	}
	for _, name := range []string{"shipped", "foreign"} {
		c.wait(t, "default", "pod/"+name, "condition=Ready")
	}
	if n := r.Sandboxes(t); n != 1 {
		t.Errorf("the foreign runtime has %d sandboxes, want that of one pod", n)
	}
	ip := func(name string) string {
		return c.kubectl(t, "get", "pod", name, "-o", "jsonpath={.status.podIP}")
	}
	t.Run("network", func(t *testing.T) {
		for from, to := range map[string]string{"shipped": "foreign", "foreign": "shipped"} {
			out := c.kubectl(t, "exec", from, "-c", "shell", "--", "sh", "-c", "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc "+ip(to)+" 8080")
			wantParts(t, out, to)
		}
	})
	t.Run("a service has endpoints on both", func(t *testing.T) {
		c.kubectl(t, "create", "service", "clusterip", "both", "--tcp=80:8080")
		address := "http://" + c.kubectl(t, "get", "service", "both", "-o", "jsonpath={.spec.clusterIP}") + "/"
		seen := map[string]bool{}
		eventually(t, func() error {
			body := fetch(t, c, address)
			for _, name := range []string{"shipped", "foreign"} {
				if strings.Contains(body, name) {
					seen[name] = true
				}
			}
			if len(seen) < 2 {
				return fmt.Errorf("answered by %v: %w", seen, errUnexpected)
			}
			return nil
		})
	})
	t.Run("logs, exec and statistics", func(t *testing.T) {
		summary := c.stats(t)
		for _, name := range []string{"shipped", "foreign"} {
			if !summary[name] {
				t.Errorf("there are no statistics of %s", name)
			}
			wantParts(t, c.kubectl(t, "logs", name, "-c", "shell"), "hello of "+name)
			wantParts(t, c.kubectl(t, "exec", name, "-c", "shell", "--", "hostname"), name)
			id := c.kubectl(t, "get", "pod", name, "-o", "jsonpath={.status.containerStatuses[0].containerID}")
			wantParts(t, id, "containerd://")
		}
	})
	t.Run("debug and resize", func(t *testing.T) {
		c.debug(t, "default", "runtimeClassName: debian")
		c.resize(t, "default", "runtimeClassName: debian")
		c.kubectl(t, "delete", "pod", "broken", "growing", "--timeout=45s")
	})
	t.Run("a container that ends is started again", func(t *testing.T) {
		c.execLast(t, "exec", "foreign", "-c", "shell", "--", "sh", "-c", "kill 1")
		c.wait(t, "default", "pod/foreign", `jsonpath={.status.containerStatuses[1].restartCount}=1`)
		c.wait(t, "default", "pod/foreign", "condition=Ready")
	})
	t.Run("the socket goes and comes back", func(t *testing.T) {
		r.Down(t)
		awaitPlugin(t, c, "false", r.Socket)
		wantParts(t, fetch(t, c, "http://"+ip("foreign")+":8080/"), "foreign")
		r.Up(t)
		awaitPlugin(t, c, "true", "")
		c.apply(t, "default", strings.NewReplacer("NAME", "later", "CLASS", "runtimeClassName: debian").Replace(sideBySide))
		c.wait(t, "default", "pod/later", "condition=Ready")
	})
	t.Run("delete", func(t *testing.T) {
		c.kubectl(t, "delete", "pod", "foreign", "later", "--timeout=45s")
		eventually(t, func() error {
			if n := r.Sandboxes(t); n != 0 {
				return fmt.Errorf("%d sandboxes are left in the foreign runtime: %w", n, errUnexpected)
			}
			return nil
		})
		c.kubectl(t, "delete", "plugin", "debian", "--timeout=45s")
		eventually(t, func() error {
			if left, err := os.ReadDir(r.ConfDir); err == nil && len(left) > 0 {
				return fmt.Errorf("left in %s: %v: %w", r.ConfDir, left, errUnexpected)
			}
			return nil
		})
	})
	// One that is there when the cluster goes down is cleared, too.
	adopt(t, c, r)
	c.apply(t, "default", strings.NewReplacer("NAME", "last", "CLASS", "runtimeClassName: debian").Replace(sideBySide))
	c.wait(t, "default", "pod/last", "condition=Ready")
}

// client makes connections from where the cluster is, one for each request.
func (c *cluster) client() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: c.dial}}
}

func (c *cluster) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = plugintest.In(c.netns, func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// stats asks the node for its statistics and returns of which pods there are some.
func (c *cluster) stats(t *testing.T) map[string]bool {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.Dial = c.dial
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	node := c.kubectl(t, "get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`)
	body, err := getBy(client, "https://"+node+":10250/stats/summary")
	if err != nil {
		t.Fatal(err)
	}
	var summary statsv1alpha1.Summary
	if err := json.Unmarshal([]byte(body), &summary); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, p := range summary.Pods {
		out[p.PodRef.Name] = p.Memory != nil && p.Memory.WorkingSetBytes != nil && *p.Memory.WorkingSetBytes > 0
	}
	return out
}

// fetch gets a page from where the cluster is.
func fetch(t *testing.T, c *cluster, url string) string {
	t.Helper()
	body, err := getBy(c.client(), url)
	if err != nil {
		t.Error(err)
	}
	return body
}

func TestSwapToForeignRuntime(t *testing.T) {
	c := ownCluster(t)
	r := startForeign(t, c)
	t.Cleanup(func() { downClean(t, c, r) })
	adopt(t, c, r)
	c.apply(t, "default", three)
	c.kubectl(t, "rollout", "status", "deployment/shop", "--timeout=45s")
	address := nodePort(t, c, "default", "shop")
	fetch(t, c, address)

	client := c.client()
	l := startLoadWith(func() (string, error) { return getBy(client, address) })
	c.apply(t, "default", `{apiVersion: plugins.gantry.dev/v1alpha1, kind: PluginSwap, metadata: {name: over}, spec: {type: Runtime, from: containerd, to: debian}}`)
	c.wait(t, "default", "pluginswap/over", "jsonpath={.status.phase}=Succeeded")
	l.stop(t)
	if n := r.Sandboxes(t); n != 3 {
		t.Errorf("the foreign runtime has %d sandboxes, want those of 3 pods", n)
	}
	c.kubectl(t, "rollout", "status", "deployment/shop", "--timeout=45s")
}

// The whole node dies in the middle of a swap, again and again, and the runtime that is left is away for a while.
func TestSwapSurvivesDeath(t *testing.T) {
	c := ownCluster(t)
	r := startForeign(t, c)
	t.Cleanup(func() { downClean(t, c, r) })
	adopt(t, c, r)
	c.apply(t, "default", three)
	c.kubectl(t, "rollout", "status", "deployment/shop", "--timeout=45s")
	address := nodePort(t, c, "default", "shop")
	fetch(t, c, address)
	client := c.client()
	l := startLoadWith(func() (string, error) { return getBy(client, address) })
	c.apply(t, "default", `{apiVersion: plugins.gantry.dev/v1alpha1, kind: PluginSwap, metadata: {name: over}, spec: {type: Runtime, from: containerd, to: debian}}`)
	t.Cleanup(func() {
		for _, what := range []string{"pluginswaps", "nodeplugins", "pods"} {
			if out, err := c.try("kubectl", "get", what, "-o", "yaml"); t.Failed() && err == nil {
				t.Log(out)
			}
		}
	})
	for n := 1; n <= 2; n++ {
		eventually(t, func() error {
			if have := r.Sandboxes(t); have < n {
				return fmt.Errorf("%d pods have moved, want %d: %w", have, n, errUnexpected)
			}
			return nil
		})
		kill(t, c.pid(t))
		if err := c.up(); err != nil {
			t.Fatal(err)
		}
	}
	c.wait(t, "default", "pluginswap/over", "jsonpath={.status.phase}=Succeeded")
	l.stop(t)
	c.kubectl(t, "rollout", "status", "deployment/shop", "--timeout=45s")
}

// The node starts while an adopted runtime is away: only its pods wait, and none of them is lost.
func TestAbsentRuntime(t *testing.T) {
	c := ownCluster(t)
	r := startForeign(t, c)
	t.Cleanup(func() { downClean(t, c, r) })
	adopt(t, c, r)
	c.apply(t, "default", strings.NewReplacer("NAME", "foreign", "CLASS", "runtimeClassName: debian").Replace(sideBySide))
	c.wait(t, "default", "pod/foreign", "condition=Ready")
	ip := c.kubectl(t, "get", "pod", "foreign", "-o", "jsonpath={.status.podIP}")
	id := c.kubectl(t, "get", "pod", "foreign", "-o", "jsonpath={.status.containerStatuses[*].containerID}")

	r.Down(t)
	kill(t, c.pid(t))
	if err := c.up(); err != nil {
		t.Fatal(err)
	}
	c.apply(t, "default", strings.NewReplacer("NAME", "ours", "CLASS", "").Replace(sideBySide))
	c.wait(t, "default", "pod/ours", "condition=Ready")
	awaitField(t, c, "debian", "pods", "default/foreign")
	eventually(t, func() error {
		out, err := c.try("kubectl", "describe", "pod", "foreign")
		if err == nil && !strings.Contains(out, "RuntimeNotReady") {
			err = fmt.Errorf("the pod is not told that its runtime is away:\n%s: %w", out, errUnexpected)
		}
		return err
	})
	wantParts(t, fetch(t, c, "http://"+ip+":8080/"), "foreign")
	r.Up(t)
	awaitPlugin(t, c, "true", "")
	eventually(t, func() error {
		_, err := c.try("kubectl", "exec", "foreign", "-c", "shell", "--", "true")
		return err
	})
	if now := c.kubectl(t, "get", "pod", "foreign", "-o", "jsonpath={.status.containerStatuses[*].containerID}"); now != id {
		t.Errorf("the containers were %s and are %s", id, now)
	}

	t.Run("down while it is away", func(t *testing.T) {
		r.Down(t)
		if err := c.down(); err != nil {
			t.Fatal(err)
		}
		for _, left := range c.leftovers() { // What its pod has stays: processes, mounts, cgroups, volumes and logs.
			ofPod := strings.HasPrefix(left, "process ") || strings.HasPrefix(left, "mount ") || strings.Contains(left, "cgroup") ||
				left == c.dir+"/kubelet" || left == c.dir+"/logs"
			if !ofPod {
				t.Errorf("left after gantry down: %s", left)
			}
		}
		r.Up(t)
		if err := c.up(); err != nil {
			t.Fatal(err)
		}
		// Its sandbox has lost its network, and is made anew.
		c.wait(t, "default", "pod/ours", "condition=Ready")
		eventually(t, func() error {
			now, err := c.try("kubectl", "get", "pod", "foreign", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.podIP} {.status.containerStatuses[*].containerID}`)
			if err == nil && (!strings.HasPrefix(now, "True ") || strings.Contains(now, id)) {
				err = fmt.Errorf("the pod is %s: %w", now, errUnexpected)
			}
			return err
		})
		ip := c.kubectl(t, "get", "pod", "foreign", "-o", "jsonpath={.status.podIP}")
		wantParts(t, fetch(t, c, "http://"+ip+":8080/"), "foreign")
	})
}
