//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// secondNetworks are a network beside the default one, with other interfaces and another MTU but the same range, and
// one for further interfaces.
const secondNetworks = `
apiVersion: plugins.gantry.dev/v1alpha1
kind: Plugin
metadata: {name: fast}
spec:
  type: Network
  priority: -1
  source: {builtin: cni}
  config:
    list: {cniVersion: "1.0.0", name: fast, plugins: [{type: ptp, mtu: 1400, ipam: {type: host-local}}]}
---
apiVersion: plugins.gantry.dev/v1alpha1
kind: Plugin
metadata: {name: side}
spec:
  type: Network
  priority: -2
  source: {builtin: cni}
  config: {subnet: 10.250.0.0/24}
`

// onNetworks are two servers that stay on their networks, and pods that wait.
const onNetworks = `
apiVersion: v1
kind: Pod
metadata: {name: on-cni, annotations: {plugins.gantry.dev/network: cni}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: "gantry.local/busybox:1", command: [sleep, "1000"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: on-fast, annotations: {plugins.gantry.dev/network: fast, plugins.gantry.dev/networks: "side,side"}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: "gantry.local/busybox:1", command: [sleep, "1000"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere, annotations: {plugins.gantry.dev/network: absent}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: "gantry.local/demo:1"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pinned}
spec:
  selector: {matchLabels: {app: pinned}}
  template:
    metadata: {labels: {app: pinned}, annotations: {plugins.gantry.dev/network: cni}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: "gantry.local/demo:1"}]}
`

// dependants are the pods of a namespace that the node says to depend on a network.
func dependants(t *testing.T, c *cluster, ns, network string) []string {
	t.Helper()
	out := c.kubectl(t, "get", "nodeplugins", "-o", `jsonpath={.items[0].status.plugins[?(@.name=="`+network+`")].pods}`)
	pods := strings.FieldsFunc(out, func(r rune) bool { return strings.ContainsRune(`[]",`, r) })
	pods = slices.DeleteFunc(pods, func(p string) bool { return !strings.HasPrefix(p, ns+"/") })
	slices.Sort(pods)
	return pods
}

// declare makes the second networks, which go when the test ends.
func declare(t *testing.T, c *cluster) {
	t.Helper()
	c.apply(t, "default", secondNetworks)
	t.Cleanup(func() {
		c.kubectl(t, "delete", "plugins", "fast", "side", "--wait=false")
		eventually(t, func() error {
			out, err := c.try("kubectl", "get", "nodeplugins", "-o", `jsonpath={.items[0].status.plugins[?(@.type=="Network")].name}`)
			if err != nil {
				return err
			}
			return equal(out, "cni")
		})
	})
	for _, name := range []string{"fast", "side"} {
		eventually(t, func() error {
			out, err := c.try("kubectl", "get", "nodeplugins", "-o", `jsonpath={.items[0].status.plugins[?(@.name=="`+name+`")].ready}`)
			if err != nil {
				return err
			}
			return equal(out, "true")
		})
	}
}

func TestNetworksSideBySide(t *testing.T) {
	needToolbox(t)
	c := shared
	declare(t, c)
	ns := c.namespace(t)
	c.apply(t, ns, three)
	c.apply(t, ns, onNetworks)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	c.kubectl(t, "-n", ns, "wait", "pod/on-cni", "pod/on-fast", "--for=condition=Ready", "--timeout=45s")

	wantParts(t, c.exec(t, ns, "on-cni", "ip link show eth0"), "mtu 1500")
	links := c.exec(t, ns, "on-fast", "ip addr")
	wantParts(t, links, "mtu 1400", "net1", "net2", "10.250.0.")
	if out := c.exec(t, ns, "on-fast", "ip route | grep -c ^default"); strings.TrimSpace(out) != "1" {
		t.Errorf("%s default routes", out)
	}
	ip := c.kubectl(t, "-n", ns, "get", "service", "shop", "-o", "jsonpath={.spec.clusterIP}")
	for _, pod := range []string{"on-cni", "on-fast"} {
		out := c.exec(t, ns, pod, "for i in $(seq 30); do wget -qO- http://"+ip+"/ || echo failed; done | sort | uniq -c | wc -l")
		if strings.TrimSpace(out) != "3" {
			t.Errorf("30 requests of %s were answered in %s ways, want those of three pods", pod, out)
		}
	}
	for _, pair := range [][2]string{{"on-cni", "on-fast"}, {"on-fast", "on-cni"}} {
		to := c.kubectl(t, "-n", ns, "get", "pod", pair[1], "-o", "jsonpath={.status.podIP}")
		c.exec(t, ns, pair[0], "ping -c 1 -W 5 "+to)
	}
	want := []string{ns + "/on-fast"}
	for _, network := range []string{"fast", "side"} {
		eventually(t, func() error {
			return equal(fmt.Sprint(dependants(t, c, ns, network)), fmt.Sprint(want))
		})
	}
	wantEvent(t, ns, "nowhere", "network is not ready: node")
	wantEvent(t, ns, "nowhere", `has no network plugin "absent", but cni, fast, side (annotation plugins.gantry.dev/network of the pod)`)

	c.kubectl(t, "annotate", "namespace", ns, "plugins.gantry.dev/network=fast")
	c.kubectl(t, "-n", ns, "run", "default", "--image="+busybox, "--", "sleep", "1000")
	c.wait(t, ns, "pod/default", "condition=Ready")
	wantParts(t, c.exec(t, ns, "default", "ip link show eth0"), "mtu 1400")
	nothingLeft(t, c)
}

func TestSwapNetworks(t *testing.T) {
	needToolbox(t)
	c := shared
	declare(t, c)
	ns := c.namespace(t)
	c.apply(t, ns, three)
	c.apply(t, ns, onNetworks)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/pinned", "--timeout=45s")
	c.wait(t, ns, "pod/on-cni", "condition=Ready")
	pinned := names(t, c, ns, "app=pinned")
	l := startLoad(nodePort(t, c, ns, "shop"))
	for _, swap := range []struct{ from, to string }{{"cni", "fast"}, {"fast", "cni"}} {
		if out, err := c.try("gantry", "plugin", "swap", "network", swap.from, swap.to, "--all"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		awaitBackends(t, nodePort(t, c, ns, "shop"), names(t, c, ns, "app=shop"))
		var want []string
		for _, p := range names(t, c, ns, "app=shop") {
			want = append(want, ns+"/"+p)
		}
		eventually(t, func() error {
			for _, p := range want {
				if !slices.Contains(dependants(t, c, ns, swap.to), p) {
					return fmt.Errorf("%s is not on %s", p, swap.to)
				}
			}
			return nil
		})
		if got := names(t, c, ns, "app=pinned"); !slices.Equal(got, pinned) || !slices.Contains(dependants(t, c, ns, "cni"), ns+"/"+pinned[0]) {
			t.Errorf("the pods that ask for cni were %v and are %v", pinned, got)
		}
	}
	l.stop(t)
	nothingLeft(t, c)
}
