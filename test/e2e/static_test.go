//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
)

const staticManifest = `{apiVersion: v1, kind: Pod, metadata: {name: NAME, labels: {app: still}}, spec: {terminationGracePeriodSeconds: 1,
	containers: [{name: main, image: "gantry.local/demo:1", ports: [{containerPort: 8080, name: http}], readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}}]}}`

// Pods of a folder run, cannot be taken away through the API, outlive gantry, and move when their runtime is swapped.
func TestStaticPods(t *testing.T) {
	c := must(newCluster(must(os.MkdirTemp(os.Getenv(dataEnv), "s")), plugintest.Namespace(t)))
	folder := filepath.Join(t.TempDir(), "manifests")
	place := func(name string) {
		t.Helper()
		file := filepath.Join(folder, name+".yaml")
		if err := os.WriteFile(file, []byte(strings.Replace(staticManifest, "NAME", name, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	up := func() {
		t.Helper()
		if out, err := c.try("gantry", "up", "--static-pod-path", folder); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	up()
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
	place("one")
	place("two")
	node := c.kubectl(t, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
	one := "one-" + node
	ready := func() {
		t.Helper()
		eventually(t, func() error {
			out, err := c.try("kubectl", "get", "pods", "-l", "app=still", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`)
			if err != nil {
				return err
			}
			return equal(out, "True True")
		})
	}
	ready()
	wantParts(t, c.kubectl(t, "get", "pod", one, "-o", "yaml"), "kubernetes.io/config.mirror:", "kubernetes.io/config.source: file", "kind: Node")
	before := containerPID(t, c, "default", one)
	c.kubectl(t, "delete", "pod", one, "--timeout=45s")
	ready()
	kill(t, c.pid(t))
	up()
	ready()
	if !before.Alive() {
		t.Errorf("process %d of the static pod is gone", before.PID)
	}

	c.apply(t, "default", secondContainerd)
	awaitField(t, c, "second", "ready", "true")
	// Images are imported into the default runtime.
	c.kubectl(t, "patch", "plugin", "second", "--type=merge", "-p", `{"spec":{"priority":10}}`)
	awaitField(t, c, "second", "default", "true")
	if out, err := c.try("gantry", "image", "import", filepath.Join(binDir(), "images", "demo-1.tar")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := c.try("gantry", "plugin", "swap", "runtime", "containerd", "second", "--all"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ready()
	awaitField(t, c, "second", "pods", "default/"+one)
	awaitField(t, c, "second", "pods", "default/two-"+node)
	if before.Alive() {
		t.Errorf("process %d of the static pod runs still", before.PID)
	}
	for _, name := range []string{"one", "two"} {
		if err := os.Remove(filepath.Join(folder, name+".yaml")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		out, err := c.try("kubectl", "get", "pods", "-l", "app=still", "-o", "name")
		if err == nil && out != "" {
			err = fmt.Errorf("there are still %s: %w", out, errUnexpected)
		}
		return err
	})
	nothingLeft(t, c)
}
