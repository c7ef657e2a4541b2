//go:build e2e

package cni_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/plugins/network/cni"
)

// spy is a CNI plugin that changes nothing and writes down, in its own folder, what it was told. It fails STATUS
// while there is a file "sick".
func spy() int {
	dir, command := filepath.Dir(os.Args[0]), os.Getenv("CNI_COMMAND")
	raw, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 1
	}
	var in struct {
		CNIVersion string          `json:"cniVersion"`
		PrevResult json.RawMessage `json:"prevResult"`
	}
	if err := json.Unmarshal(raw, &in); err != nil && command != "VERSION" {
		return 1
	}
	switch command {
	case "VERSION":
		fmt.Println(`{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}`)
		return 0
	case "ADD":
		fmt.Println(string(in.PrevResult))
	case "STATUS":
		if _, err := os.Stat(filepath.Join(dir, "sick")); err == nil {
			fmt.Printf(`{"cniVersion":%q,"code":50,"msg":"not available"}`, in.CNIVersion)
			return 1
		}
	}
	if err := os.WriteFile(filepath.Join(dir, command), raw, 0o600); err != nil {
		return 1
	}
	return 0
}

// told is what the spy was told at its last call of a command.
type told struct {
	CNIVersion  string            `json:"cniVersion"`
	Name        string            `json:"name"`
	Runtime     json.RawMessage   `json:"runtimeConfig"`
	PrevResult  json.RawMessage   `json:"prevResult"`
	Attachments []json.RawMessage `json:"cni.dev/valid-attachments"`
}

func toldAt(t *testing.T, bin, command string) told {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(bin, command))
	if err != nil {
		t.Fatalf("the plugin was not called: %v", err)
	}
	var out told
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func withSpy(t *testing.T) string {
	t.Helper()
	bin := partial(t, "ptp", "host-local")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "spy")); err != nil {
		t.Fatal(err)
	}
	return bin
}

func spied(version string) json.RawMessage {
	return json.RawMessage(`{"cniVersion":"` + version + `","name":"spied","plugins":[
		{"type":"ptp","ipam":{"type":"host-local","subnet":"10.7.0.0/24"}},
		{"type":"spy","capabilities":{"portMappings":true,"bandwidth":true,"ips":true,"mac":true}}]}`)
}

func TestVersions(t *testing.T) {
	for _, version := range []string{"0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			bin := withSpy(t)
			n := with(t, t.TempDir(), cni.Config{BinDirs: []string{bin}, List: spied(version)})
			s := network.Sandbox{
				ID: "pod", NetNS: plugintest.Namespace(t), PodCIDRs: podRange, IngressBits: 1000, MAC: "02:00:00:00:00:09",
				IPs:       []netip.Addr{netip.MustParseAddr("10.7.0.9")},
				HostPorts: []network.HostPort{{HostPort: 80, ContainerPort: 8080, Protocol: "TCP"}},
			}
			a, err := n.Attach(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Addresses) != 1 || !netip.MustParsePrefix("10.7.0.0/24").Contains(a.Addresses[0].Prefix.Addr()) {
				t.Errorf("addresses %v", a.Addresses)
			}
			add := toldAt(t, bin, "ADD")
			want := `{"bandwidth":{"egressBurst":1,"egressRate":0,"ingressBurst":101,"ingressRate":1000},"ips":["10.7.0.9"],` +
				`"mac":"02:00:00:00:00:09","portMappings":[{"containerPort":8080,"hostPort":80,"protocol":"TCP"}]}`
			if diff := cmp.Diff(want, string(add.Runtime)); diff != "" || add.CNIVersion != version {
				t.Errorf("version %s, capabilities differ (-want +got):\n%s", add.CNIVersion, diff)
			}
			if err := n.Check(t.Context(), s); err != nil {
				t.Errorf("check: %v", err)
			}
			if err := n.Detach(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"CHECK", "DEL"} {
				if got := toldAt(t, bin, command); !strings.Contains(string(got.PrevResult), a.Addresses[0].Prefix.String()) {
					t.Errorf("%s was given the result %s", command, got.PrevResult)
				}
			}
		})
	}
}

func TestCheckFindsWhatIsMissing(t *testing.T) {
	n := with(t, t.TempDir(), cni.Config{BinDirs: []string{withSpy(t)}, List: spied("1.1.0")})
	s := network.Sandbox{ID: "pod", NetNS: plugintest.Namespace(t), PodCIDRs: podRange}
	if err := n.Check(t.Context(), s); !errors.Is(err, plugin.ErrNotFound) {
		t.Errorf("check before attach: %v, want %v", err, plugin.ErrNotFound)
	}
	if _, err := n.Attach(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	err := plugintest.In(s.NetNS, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Check(t.Context(), s); !errors.Is(err, plugin.ErrNotFound) {
		t.Errorf("check without the interface: %v, want %v", err, plugin.ErrNotFound)
	}
	if err := n.Detach(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestStatusAndGarbage(t *testing.T) {
	bin, dir := withSpy(t), t.TempDir()
	n := with(t, dir, cni.Config{BinDirs: []string{bin}, List: spied("1.1.0")})
	if err := n.Status(t.Context()); err != nil {
		t.Errorf("status: %v", err)
	}
	if err := os.WriteFile(filepath.Join(bin, "sick"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Status(t.Context()); err == nil {
		t.Error("the status of a plugin that is not available is well")
	}
	for _, id := range []string{"kept", "lost"} {
		if _, err := n.Attach(t.Context(), network.Sandbox{ID: id, NetNS: plugintest.Namespace(t), PodCIDRs: podRange}); err != nil {
			t.Fatal(err)
		}
	}
	// A sandbox without a record is garbage, of which libcni's cache still knows.
	if err := os.Remove(filepath.Join(dir, "cni-", "sandboxes", "lost")); err != nil {
		t.Fatal(err)
	}
	ids, err := n.List(t.Context())
	if diff := cmp.Diff([]string{"kept"}, ids); err != nil || diff != "" {
		t.Errorf("list: %v\n%s", err, diff)
	}
	got := toldAt(t, bin, "GC")
	if len(got.Attachments) != 1 || !strings.Contains(string(got.Attachments[0]), "kept") {
		t.Errorf("valid attachments %s", got.Attachments)
	}
	if got := reserved(t, filepath.Join(dir, "cni-", "addresses")); len(got) != 1 {
		t.Errorf("addresses after GC: %v", got)
	}
}

// TestReferencePlugins runs the reference plugins in one chain, with what they are asked for.
func TestReferencePlugins(t *testing.T) {
	n := with(t, t.TempDir(), cni.Config{List: json.RawMessage(strings.Replace(chain, `{"type":"portmap","capabilities":{"portMappings":true}},`, "", 1))})
	s := network.Sandbox{ID: "pod", NetNS: plugintest.Namespace(t), PodCIDRs: podRange, IngressBits: 1 << 20, EgressBits: 1 << 20}
	a, err := n.Attach(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Check(t.Context(), s); err != nil {
		t.Errorf("check: %v", err)
	}
	var limited int
	for _, i := range a.Interfaces {
		if i.NetNS != "" {
			continue
		}
		l, err := netlink.LinkByName(i.Name)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := netlink.QdiscList(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range rules {
			if q.Type() == "tbf" {
				limited++
			}
		}
	}
	if limited != 2 {
		t.Errorf("%d directions are limited, want both: %v", limited, a.Interfaces)
	}
	if err := n.Detach(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, i := range a.Interfaces {
		if _, err := netlink.LinkByName(i.Name); i.NetNS == "" && err == nil {
			t.Errorf("%s is left", i.Name)
		}
	}
}
