package cni

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

func TestBridgeList(t *testing.T) {
	n := &Network{config: Config{Dir: "/d", Addresses: "/a", Bridge: "gantry0", MTU: 1400}}
	list, err := n.list(network.Sandbox{
		ID: "a", EgressBits: 1000,
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00::/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(list.Bytes, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"cniVersion": "1.0.0", "name": "gantry", "disableGC": true,
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": "gantry0", "isGateway": true, "ipMasq": false, "hairpinMode": true, "mtu": 1400.0,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": "/a",
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
	if _, err := n.list(network.Sandbox{ID: "a"}); err == nil {
		t.Error("a list was made without a pod range")
	}
}

func TestFillRanges(t *testing.T) {
	pods := []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}
	const ptp = `{"cniVersion":"1.0.0","name":"fast","plugins":[{"type":"ptp","mtu":1400,"ipam":{"type":"host-local"}}]}`
	for _, test := range []struct {
		name    string
		config  Config
		sandbox network.Sandbox
		want    string
		failed  error
	}{
		{
			name: "the node's range", config: Config{List: []byte(ptp)}, sandbox: network.Sandbox{PodCIDRs: pods},
			want: `{"cniVersion":"1.0.0","disableGC":true,"name":"gantry","plugins":[{"ipam":{"dataDir":"/a","ranges":[[{"subnet":"10.244.1.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}],"type":"host-local"},"mtu":1400,"type":"ptp"}]}`,
		},
		{
			name: "a subnet of its own", config: Config{List: []byte(ptp), Subnet: netip.MustParsePrefix("10.9.0.0/24")}, sandbox: network.Sandbox{PodCIDRs: pods},
			want: `{"cniVersion":"1.0.0","name":"fast","plugins":[{"ipam":{"dataDir":"/d/addresses","ranges":[[{"subnet":"10.9.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}],"type":"host-local"},"mtu":1400,"type":"ptp"}]}`,
		},
		{
			name: "a further interface has no default route", config: Config{List: []byte(ptp), Subnet: netip.MustParsePrefix("10.9.0.0/24")}, sandbox: network.Sandbox{PodCIDRs: pods, Interface: "net1"},
			want: `{"cniVersion":"1.0.0","name":"fast","plugins":[{"ipam":{"dataDir":"/d/addresses","ranges":[[{"subnet":"10.9.0.0/24"}]],"type":"host-local"},"mtu":1400,"type":"ptp"}]}`,
		},
		{name: "a further interface in the pods' range", config: Config{List: []byte(ptp)}, sandbox: network.Sandbox{PodCIDRs: pods, Interface: "net1"}, failed: plugin.ErrInvalid},
		{
			name: "a list with ranges", sandbox: network.Sandbox{PodCIDRs: pods},
			config: Config{List: []byte(`{"cniVersion":"0.4.0","name":"own","plugins":[{"type":"ptp","ipam":{"type":"host-local","subnet":"10.7.0.0/24"}}]}`)},
			want:   `{"cniVersion":"0.4.0","name":"own","plugins":[{"ipam":{"dataDir":"/d/addresses","subnet":"10.7.0.0/24","type":"host-local"},"type":"ptp"}]}`,
		},
		{name: "no list", config: Config{List: []byte(`[]`)}, failed: plugin.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.config.Dir, test.config.Addresses = "/d", "/a"
			list, err := (&Network{config: test.config}).list(test.sandbox)
			if !errors.Is(err, test.failed) {
				t.Fatalf("error %v, want %v", err, test.failed)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(test.want, string(list.Bytes)); diff != "" {
				t.Errorf("list differs (-want +got):\n%s", diff)
			}
		})
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
