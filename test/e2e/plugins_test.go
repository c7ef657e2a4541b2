//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// pluginField reads a field of a plugin as the only node sees it.
func pluginField(c *cluster, name, field string) (string, error) {
	return c.try("kubectl", "get", "nodeplugins", "-o", `jsonpath={.items[0].status.plugins[?(@.name=="`+name+`")].`+field+`}`)
}

func pidOf(t *testing.T, c *cluster, name string) string {
	t.Helper()
	pid, err := pluginField(c, name, "pid")
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func awaitField(t *testing.T, c *cluster, name, field, want string) {
	t.Helper()
	eventually(t, func() error {
		out, err := pluginField(c, name, field)
		if err != nil {
			return err
		}
		if !strings.Contains(out, want) {
			return fmt.Errorf("%s of plugin %s is %q, want %q: %w", field, name, out, want, errUnexpected)
		}
		return nil
	})
}

// A plugin is given other limits, a configuration that it refuses, and the former one again, while clients connect.
func TestUpgradePlugins(t *testing.T) {
	c := shared
	ns := c.namespace(t)
	c.apply(t, ns, three)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	l := startLoad(nodePort(t, c, ns, "shop"))
	for _, name := range []string{"nftables", "cni", "containerd"} {
		pid := pidOf(t, c, name)
		if text, err := pluginField(c, name, "unlimited"); err != nil || text != "" {
			t.Errorf("plugin %s has no limits: %s %v", name, text, err)
		}
		c.kubectl(t, "patch", "plugin", name, "--type=merge", "-p", `{"spec":{"limits":{"memory":"300Mi"}}}`)
		eventually(t, func() error {
			if now := pidOf(t, c, name); now == pid || now == "" {
				return fmt.Errorf("process %s of plugin %s serves, before %s: %w", now, name, pid, errUnexpected)
			}
			return nil
		})
		awaitField(t, c, name, "ready", "true")
		c.kubectl(t, "wait", "plugin/"+name, "--for=condition=Progressing=False", "--timeout=45s")
		c.kubectl(t, "wait", "plugin/"+name, "--for=condition=Verified", "--timeout=45s")
		pid = pidOf(t, c, name)

		c.kubectl(t, "patch", "plugin", name, "--type=merge", "-p", `{"spec":{"config":{"colour":"red"},"rollout":{"healthTimeoutSeconds":1}}}`)
		c.kubectl(t, "wait", "plugin/"+name, `--for=jsonpath={.status.conditions[?(@.type=="Degraded")].reason}=RolledBack`, "--timeout=45s")
		wantParts(t, c.kubectl(t, "get", "plugin", name, "-o", `jsonpath={.status.conditions[?(@.type=="Degraded")].message}`), "it cannot serve", `unknown field "colour"`)
		wantParts(t, c.kubectl(t, "describe", "plugin", name), "PluginRolledBack")
		if now := pidOf(t, c, name); now != pid {
			t.Errorf("process %s of plugin %s serves after the rollback, before %s", now, name, pid)
		}
		c.kubectl(t, "patch", "plugin", name, "--type=merge", "-p", `{"spec":{"config":null,"limits":{"memory":"256Mi"}}}`)
		c.kubectl(t, "wait", "plugin/"+name, `--for=jsonpath={.status.conditions[?(@.type=="Degraded")].reason}=AsWanted`, "--timeout=45s")
		c.kubectl(t, "wait", "plugin/"+name, "--for=condition=Progressing=False", "--timeout=45s")
	}
	c.kubectl(t, "-n", ns, "scale", "deployment/shop", "--replicas=4")
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	l.stop(t)
	nothingLeft(t, c)
}

const secondProxy = `
apiVersion: plugins.gantry.dev/v1alpha1
kind: Plugin
metadata: {name: proxy}
spec: {type: Service, source: {builtin: nftables}}
`

func TestSwapProxies(t *testing.T) {
	c := shared
	ns := c.namespace(t)
	c.apply(t, ns, three)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	c.apply(t, "default", secondProxy)
	awaitField(t, c, "proxy", "ready", "true")
	awaitField(t, c, "nftables", "default", "true")
	l := startLoad(nodePort(t, c, ns, "shop"))
	for _, swap := range []struct{ from, to string }{{"nftables", "proxy"}, {"proxy", "nftables"}} {
		if out, err := c.try("gantry", "plugin", "swap", "service", swap.from, swap.to, "--all"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		awaitField(t, c, swap.to, "default", "true")
		awaitBackends(t, nodePort(t, c, ns, "shop"), names(t, c, ns, "app=shop"))
	}
	// One that routes goes when another one does.
	c.kubectl(t, "patch", "plugin", "nftables", "--type=merge", "-p", `{"spec":{"disabled":true}}`)
	awaitField(t, c, "proxy", "default", "true")
	c.kubectl(t, "patch", "plugin", "nftables", "--type=merge", "-p", `{"spec":{"disabled":false}}`)
	awaitField(t, c, "nftables", "default", "true")
	c.kubectl(t, "delete", "plugin", "proxy", "--timeout=45s")
	l.stop(t)
	nothingLeft(t, c)
}

const secondContainerd = `
apiVersion: plugins.gantry.dev/v1alpha1
kind: Plugin
metadata: {name: second}
spec: {type: Runtime, source: {builtin: containerd}, priority: -1}
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: second}
handler: second
`

// Two instances of one shipped runtime have nothing in common.
func TestTwoContainerds(t *testing.T) {
	c := shared
	ns, image := c.namespace(t), newRegistry(t)+"/team/tool:1"
	push(t, image, variant(t, "pulled"))
	c.apply(t, "default", secondContainerd)
	t.Cleanup(func() {
		c.kubectl(t, "delete", "plugin/second", "runtimeclass/second", "--ignore-not-found", "--timeout=45s")
	})
	awaitField(t, c, "second", "ready", "true")
	for name, class := range map[string]string{"one": "", "two": "second"} {
		overrides := `{"spec":{"terminationGracePeriodSeconds":1` + map[bool]string{true: `,"runtimeClassName":"` + class + `"`}[class != ""] + `}}`
		c.kubectl(t, "-n", ns, "run", name, "--image="+image, "--overrides="+overrides, "--", "sleep", "1000")
	}
	c.wait(t, ns, "pod/one", "condition=Ready")
	c.wait(t, ns, "pod/two", "condition=Ready")
	awaitField(t, c, "second", "pods", ns+"/two")
	awaitField(t, c, "containerd", "pods", ns+"/one")
	c.kubectl(t, "-n", ns, "delete", "pod", "two", "--timeout=45s")
	c.kubectl(t, "delete", "plugin", "second", "--timeout=45s")
	c.kubectl(t, "-n", ns, "exec", "one", "--", "true")
	nothingLeft(t, c)
}
