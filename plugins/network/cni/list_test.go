package cni

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/network"
)

func TestBridgeList(t *testing.T) {
	n := &Network{config: Config{Dir: "/d", Bridge: "gantry0", MTU: 1400}}
	raw, err := n.bridgeList(network.Sandbox{
		ID: "a", EgressBits: 1000,
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00::/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"cniVersion": "1.0.0", "name": "gantry",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": "gantry0", "isGateway": true, "ipMasq": false, "hairpinMode": true, "mtu": 1400.0,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": "/d/addresses",
					"ranges": []any{[]any{map[string]any{"subnet": "10.244.1.0/24"}}, []any{map[string]any{"subnet": "fd00::/64"}}},
					"routes": []any{map[string]any{"dst": "0.0.0.0/0"}, map[string]any{"dst": "::/0"}},
				},
			},
			map[string]any{"type": "bandwidth", "capabilities": map[string]any{"bandwidth": true}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list differs (-want +got):\n%s", diff)
	}
	if _, err := n.bridgeList(network.Sandbox{ID: "a"}); err == nil {
		t.Error("a list was made without a pod range")
	}
}

func TestRuntimeConf(t *testing.T) {
	c := runtimeConf(network.Sandbox{
		ID: "id", NetNS: "/n", PodNamespace: "ns", PodName: "pod", PodUID: "uid",
		HostPorts: []network.HostPort{{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 80, ContainerPort: 8080, Protocol: "TCP"}, {HostPort: 81, ContainerPort: 81, Protocol: "UDP"}},
	})
	want := map[string]any{"portMappings": []table{
		{"hostPort": 80, "containerPort": 8080, "protocol": "TCP", "hostIP": "127.0.0.1"},
		{"hostPort": 81, "containerPort": 81, "protocol": "UDP"},
	}}
	if diff := cmp.Diff(want, c.CapabilityArgs); diff != "" {
		t.Errorf("capabilities differ (-want +got):\n%s", diff)
	}
}
