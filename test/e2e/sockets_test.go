//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/service"
	"github.com/gantryio/gantry/plugins/network/cni"
	"github.com/gantryio/gantry/plugins/service/nftables"
)

// atSocket serves a contract at a socket, as somebody else would, until the returned function is called.
func atSocket(t *testing.T, socket string, register func(grpc.ServiceRegistrar)) (stop func()) {
	t.Helper()
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	register(s)
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(s.Stop)
	return s.Stop
}

// socketIn is a path for a socket; those are short.
func socketIn(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// declareSocket declares a plugin that somebody else runs, which goes with the test.
func declareSocket(t *testing.T, c *cluster, kind, socket string) {
	t.Helper()
	c.apply(t, "default", fmt.Sprintf(`{apiVersion: plugins.gantry.dev/v1alpha1, kind: Plugin, metadata: {name: theirs},
		spec: {type: %s, priority: -1, source: {endpoint: %s}}}`, kind, socket))
	t.Cleanup(func() { c.kubectl(t, "delete", "plugin", "theirs", "--ignore-not-found", "--timeout=45s") })
}

const strict = `{apiVersion: plugins.gantry.dev/v1alpha1, kind: PluginPolicy, metadata: {name: strict}, spec: {types: [Network], requireVerified: true}}`

const onTheirs = `{apiVersion: v1, kind: Pod, metadata: {name: there, annotations: {plugins.gantry.dev/network: theirs}}, spec: {terminationGracePeriodSeconds: 1,
	containers: [{name: main, image: "gantry.local/busybox:1", command: [sleep, "1000"]}]}}`

// A network that somebody else serves at a socket is refused until it is verified, gives a pod its interface, goes away and
// comes back.
func TestAdoptNetwork(t *testing.T) {
	needToolbox(t)
	c, socket := shared, socketIn(t)
	theirs := must(cni.Open(cni.Config{
		Dir: t.TempDir(), Addresses: filepath.Join(c.dir, "addresses"), BinDirs: []string{filepath.Join(binDir(), "stack", "cni")},
		List: []byte(`{"cniVersion": "1.0.0", "name": "theirs", "plugins": [{"type": "ptp", "mtu": 1399, "ipam": {"type": "host-local"}}]}`),
	}))
	register := func(r grpc.ServiceRegistrar) { network.Register(r, theirs) }
	stop := atSocket(t, socket, register)
	c.apply(t, "default", strict)
	t.Cleanup(func() { c.kubectl(t, "delete", "pluginpolicy", "strict", "--ignore-not-found") })
	declareSocket(t, c, "Network", socket)
	awaitField(t, c, "theirs", "lastError", "policy strict takes verified plugins only")
	wantParts(t, c.kubectl(t, "get", "pluginpolicies"), "REQUIRE VERIFIED", "strict", "Network")

	verify := exec.Command(filepath.Join(binDir(), "gantry"), "plugin", "verify", "network", socket, "--report", "theirs", "--kubeconfig", c.kubeconfig())
	for _, v := range os.Environ() { // The tests' own isolation is not that of the command.
		if !strings.HasPrefix(v, "GANTRY_TEST_ISOLATED=") {
			verify.Env = append(verify.Env, v)
		}
	}
	if out, err := verify.CombinedOutput(); err != nil {
		t.Fatalf("verify the socket: %v\n%s", err, out)
	}
	awaitField(t, c, "theirs", "ready", "true")

	ns := c.namespace(t)
	c.apply(t, ns, three)
	c.apply(t, ns, onTheirs)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	c.wait(t, ns, "pod/there", "condition=Ready")
	wantParts(t, c.exec(t, ns, "there", "ip addr show eth0"), "mtu 1399")
	ip := c.kubectl(t, "-n", ns, "get", "service", "shop", "-o", "jsonpath={.spec.clusterIP}")
	wantParts(t, c.exec(t, ns, "there", "wget -qO- http://"+ip+"/ && echo reached"), "reached")
	awaitField(t, c, "theirs", "pods", ns+"/there")

	stop()
	awaitField(t, c, "theirs", "lastError", "network socket "+socket)
	awaitField(t, c, "theirs", "ready", "false")
	c.kubectl(t, "-n", ns, "delete", "pod", "there", "--wait=false")
	atSocket(t, socket, register)
	awaitField(t, c, "theirs", "ready", "true")
	c.kubectl(t, "-n", ns, "wait", "--for=delete", "pod/there", "--timeout=45s")
	if left, err := theirs.List(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("the network still has %v, %v", left, err)
	}
	c.kubectl(t, "delete", "plugin", "theirs", "--timeout=45s")
	nothingLeft(t, c)
}

// A proxy that somebody else serves at a socket takes Services over and gives them back.
func TestAdoptProxy(t *testing.T) {
	c, socket := shared, socketIn(t)
	ns := c.namespace(t)
	c.apply(t, ns, three)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	theirs := must(nftables.Open(nftables.Config{Table: "theirs"}))
	t.Cleanup(func() {
		if err := theirs.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	register := func(r grpc.ServiceRegistrar) { service.Register(r, theirs) }
	stop := atSocket(t, socket, register)
	declareSocket(t, c, "Service", socket)
	awaitField(t, c, "theirs", "ready", "true")
	port := nodePort(t, c, ns, "shop")
	l := startLoad(port)
	swap := func(from, to string) {
		t.Helper()
		if out, err := c.try("gantry", "plugin", "swap", "service", from, to, "--all"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		awaitField(t, c, to, "default", "true")
		awaitBackends(t, port, names(t, c, ns, "app=shop"))
	}
	swap("nftables", "theirs")
	l.stop(t)

	// One that has forgotten everything is told again when it is back.
	stop()
	awaitField(t, c, "theirs", "ready", "false")
	if err := theirs.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := get(port); err == nil {
		t.Error("the service answers without rules")
	}
	atSocket(t, socket, register)
	awaitBackends(t, port, names(t, c, ns, "app=shop"))

	l = startLoad(port)
	swap("theirs", "nftables")
	l.stop(t)
	c.kubectl(t, "delete", "plugin", "theirs", "--timeout=45s")
	nothingLeft(t, c)
}
