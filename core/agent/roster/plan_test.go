package roster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/cgroup"
)

type settings struct {
	Root string `json:"root"`
	MTU  int    `json:"mtu,omitempty"`
}

var machine = []pluginhost.Plugin{
	{Kind: plugin.Runtime, Name: "containerd", Handlers: []string{"runc"}, Config: settings{Root: "/r"}},
	{Kind: plugin.Network, Name: "cni", Config: settings{Root: "/n"}},
}

func declared(name string, t v1alpha1.Type, change func(s *v1alpha1.PluginSpec)) v1alpha1.Plugin {
	p := v1alpha1.Plugin{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1},
		Spec:       v1alpha1.PluginSpec{Type: t, Source: v1alpha1.Source{Builtin: name}},
	}
	if change != nil {
		change(&p.Spec)
	}
	return p
}

func younger(p v1alpha1.Plugin) v1alpha1.Plugin {
	p.CreationTimestamp = metav1.Unix(1e9, 0)
	return p
}

func socket(s *v1alpha1.PluginSpec) { s.Source = v1alpha1.Source{Endpoint: "/run/x.sock"} }

func generation(p v1alpha1.Plugin, n int64) v1alpha1.Plugin {
	p.Generation = n
	return p
}

func socketB(s *v1alpha1.PluginSpec) { s.Source = v1alpha1.Source{Endpoint: "/run/b.sock"} }

func TestDecide(t *testing.T) {
	containerd, cni := declared("containerd", v1alpha1.Runtime, nil), declared("cni", v1alpha1.Network, nil)
	for _, test := range []struct {
		name    string
		in      input
		run     []string
		refused []string
	}{
		{name: "nothing is declared yet", in: input{running: machine}, run: []string{"runtime/containerd", "network/cni"}},
		{
			name: "the shipped ones", in: input{running: machine, objects: []v1alpha1.Plugin{cni, containerd}},
			run: []string{"network/cni", "runtime/containerd"},
		},
		{
			name: "the highest priority is the default", run: []string{"runtime/x", "runtime/containerd"},
			in: input{objects: []v1alpha1.Plugin{containerd, declared("x", v1alpha1.Runtime, func(s *v1alpha1.PluginSpec) { socket(s); s.Priority = 1 })}},
		},
		{
			name: "of equal priorities the oldest", run: []string{"runtime/containerd", "runtime/a", "runtime/b"},
			in: input{objects: []v1alpha1.Plugin{younger(declared("b", v1alpha1.Runtime, socketB)), younger(declared("a", v1alpha1.Runtime, socket)), containerd}},
		},
		{
			name: "the node's own default is before all", run: []string{"runtime/x", "runtime/containerd"},
			in: input{objects: []v1alpha1.Plugin{
				declared("containerd", v1alpha1.Runtime, func(s *v1alpha1.PluginSpec) { s.Priority = 9 }), declared("x", v1alpha1.Runtime, socket),
			}, defaults: map[v1alpha1.Type]string{v1alpha1.Runtime: "x"}},
		},
		{
			name: "a disabled one goes", run: []string{"network/cni"},
			in: input{running: machine, objects: []v1alpha1.Plugin{cni, declared("containerd", v1alpha1.Runtime, func(s *v1alpha1.PluginSpec) { s.Disabled = true })}},
		},
		{
			name: "unless pods need it, and then it is the last", run: []string{"network/cni", "runtime/x", "runtime/containerd"},
			in: input{
				running: machine, used: map[ref]bool{{plugin.Runtime, "containerd"}: true},
				objects: []v1alpha1.Plugin{cni, declared("x", v1alpha1.Runtime, socket)},
			},
		},
		{
			name: "the proxy that routes stays until another one does", run: []string{"service/y", "service/x"},
			in: input{
				running: []pluginhost.Plugin{{Kind: plugin.Service, Name: "x"}}, routes: "x",
				objects: []v1alpha1.Plugin{declared("y", v1alpha1.Service, nil)},
			},
		},
		{
			name: "the proxy that routes goes when there is to be none", run: []string{"network/cni"},
			in: input{
				running: []pluginhost.Plugin{{Kind: plugin.Service, Name: "x"}}, routes: "x",
				objects: []v1alpha1.Plugin{cni, declared("x", v1alpha1.Service, func(s *v1alpha1.PluginSpec) { s.Disabled = true })},
			},
		},
		{
			name: "an update that has not come to this node", run: []string{"network/cni@3", "runtime/x@5"},
			in: input{
				running: []pluginhost.Plugin{{Kind: plugin.Network, Name: "cni", Generation: 3}, {Kind: plugin.Runtime, Name: "x", Generation: 4}},
				granted: map[string]int64{"cni": 4, "x": 5},
				objects: []v1alpha1.Plugin{generation(cni, 5), generation(declared("x", v1alpha1.Runtime, socket), 5)},
			},
		},
		{
			name: "other nodes' plugins", run: []string{"runtime/containerd"},
			in: input{labels: map[string]string{"disk": "ssd"}, objects: []v1alpha1.Plugin{
				declared("x", v1alpha1.Runtime, func(s *v1alpha1.PluginSpec) { socket(s); s.NodeSelector = map[string]string{"disk": "hdd"} }),
				declared("containerd", v1alpha1.Runtime, func(s *v1alpha1.PluginSpec) { s.NodeSelector = map[string]string{"disk": "ssd"} }),
			}},
		},
		{
			name: "one socket, one plugin", run: []string{"runtime/b", "runtime/c"}, refused: []string{"runtime/a"},
			in: input{
				real: func(path string) string { return strings.TrimPrefix(path, "/var") },
				objects: []v1alpha1.Plugin{
					younger(declared("a", v1alpha1.Runtime, func(s *v1alpha1.PluginSpec) { s.Source = v1alpha1.Source{Endpoint: "/var/run/x.sock"} })),
					declared("b", v1alpha1.Runtime, socket),
					younger(declared("c", v1alpha1.Runtime, func(s *v1alpha1.PluginSpec) { s.Source = v1alpha1.Source{Endpoint: "/run/y.sock"} })),
				},
			},
		},
		{
			name: "one socket for two kinds", run: []string{"network/x", "service/y"}, refused: []string{"service/z"},
			in: input{objects: []v1alpha1.Plugin{
				declared("x", v1alpha1.Network, socket), declared("y", v1alpha1.Service, socket), declared("z", v1alpha1.Service, socket),
			}},
		},
		{
			name: "what cannot be", refused: []string{"network/x"}, run: []string{"runtime/containerd"},
			in: input{requireVerified: true, objects: []v1alpha1.Plugin{containerd, declared("x", v1alpha1.Network, socket)}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.in.shipped = machine
			got := decide(test.in)
			var run, refused []string
			for _, p := range got.run {
				text := string(p.Kind) + "/" + p.Name
				if p.Generation > 1 {
					text += fmt.Sprintf("@%d", p.Generation)
				}
				run = append(run, text)
			}
			for r := range got.refused {
				refused = append(refused, string(r.kind)+"/"+r.name)
			}
			if d := cmp.Diff(test.run, run); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(test.refused, refused); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	for _, test := range []struct {
		name                       string
		declared                   v1alpha1.Plugin
		driver, config, executable string
	}{
		{name: "shipped", declared: declared("cni", v1alpha1.Network, nil), driver: "cni", config: `{"root":"/n"}`},
		{name: "shipped with another name", driver: "cni", config: `{"root":"/m","mtu":9}`, declared: declared("two", v1alpha1.Network, func(s *v1alpha1.PluginSpec) {
			s.Source.Builtin, s.Config = "cni", &runtime.RawExtension{Raw: []byte(`{"root":"/m","mtu":9}`)}
		})},
		{name: "a socket", driver: "cri", config: `{"endpoint":"/run/x.sock"}`, declared: declared("x", v1alpha1.Runtime, socket)},
		{name: "a network's socket", driver: "socket", config: `{"endpoint":"/run/x.sock"}`, declared: declared("x", v1alpha1.Network, socket)},
		{name: "a proxy's socket", driver: "socket", config: `{"endpoint":"/run/x.sock"}`, declared: declared("x", v1alpha1.Service, socket)},
		{name: "an executable", driver: "x", config: "null", executable: "/opt/x", declared: declared("x", v1alpha1.Network, func(s *v1alpha1.PluginSpec) {
			s.Source = v1alpha1.Source{Executable: &v1alpha1.Executable{Path: "/opt/x", SHA256: "00"}}
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := input{shipped: machine}.resolve(&test.declared, kinds[test.declared.Spec.Type])
			if err != nil {
				t.Fatal(err)
			}
			config, err := json.Marshal(p.Config)
			if err != nil {
				t.Fatal(err)
			}
			var have, want any
			if json.Unmarshal(config, &have) != nil || json.Unmarshal([]byte(test.config), &want) != nil || !cmp.Equal(have, want) {
				t.Errorf("config %s, want %s", config, test.config)
			}
			if p.Limits != (cgroup.Limits{MemoryBytes: 256 << 20, CPUMillis: 1000}) {
				t.Errorf("limits are %+v", p.Limits)
			}
			if p.Driver != test.driver || p.Executable != test.executable {
				t.Errorf("got %+v", p)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	got := limitsOf(corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("0"), corev1.ResourceCPU: resource.MustParse("250m")})
	if got != (cgroup.Limits{CPUMillis: 250}) {
		t.Errorf("got %+v", got)
	}
}

func TestOnlyVerifiedPlugins(t *testing.T) {
	passed := func(digest string) *v1alpha1.Verification {
		return &v1alpha1.Verification{Digest: digest, Passed: 1}
	}
	executable := func(s *v1alpha1.PluginSpec) {
		s.Source = v1alpha1.Source{Executable: &v1alpha1.Executable{Path: "/opt/x", SHA256: "aa"}}
	}
	image := func(s *v1alpha1.PluginSpec) {
		s.Source = v1alpha1.Source{Image: &v1alpha1.Image{Reference: "r@sha256:bb"}}
	}
	for _, test := range []struct {
		name     string
		declared v1alpha1.Plugin
		result   *v1alpha1.Verification
		want     string
	}{
		{name: "shipped", declared: declared("cni", v1alpha1.Network, nil)},
		{name: "not verified", declared: declared("x", v1alpha1.Network, executable), want: "nobody has verified it"},
		{name: "verified", declared: declared("x", v1alpha1.Network, executable), result: passed("sha256:aa")},
		{name: "another one is", declared: declared("x", v1alpha1.Network, executable), result: passed("sha256:bb"), want: "what was verified is"},
		{name: "failed", declared: declared("x", v1alpha1.Network, executable), result: &v1alpha1.Verification{Digest: "sha256:aa", Failed: 2, Passed: 1}, want: "failed 2 checks"},
		{name: "a socket", declared: declared("x", v1alpha1.Runtime, socket), result: passed("")},
		{name: "an artifact", declared: declared("x", v1alpha1.Network, image), result: passed("sha256:cc")},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.declared.Status.Verification = test.result
			p, err := input{shipped: machine, requireVerified: true}.resolve(&test.declared, kinds[test.declared.Spec.Type])
			if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if p.Image != nil && p.SHA256 != "cc" {
				t.Errorf("the artifact's executable is not bound: %+v", p)
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	policy := func(change func(s *v1alpha1.PluginPolicySpec)) v1alpha1.PluginPolicy {
		p := v1alpha1.PluginPolicy{ObjectMeta: metav1.ObjectMeta{Name: "strict"}, Spec: v1alpha1.PluginPolicySpec{RequireVerified: true}}
		change(&p.Spec)
		return p
	}
	for _, test := range []struct {
		name   string
		change func(s *v1alpha1.PluginPolicySpec)
		want   bool
	}{
		{name: "everything", change: func(*v1alpha1.PluginPolicySpec) {}, want: true},
		{name: "nothing", change: func(s *v1alpha1.PluginPolicySpec) { s.RequireVerified = false }},
		{name: "this type", change: func(s *v1alpha1.PluginPolicySpec) { s.Types = []v1alpha1.Type{v1alpha1.Runtime, v1alpha1.Network} }, want: true},
		{name: "another type", change: func(s *v1alpha1.PluginPolicySpec) { s.Types = []v1alpha1.Type{v1alpha1.Runtime} }},
		{name: "this node", change: func(s *v1alpha1.PluginPolicySpec) { s.NodeSelector = map[string]string{"zone": "a"} }, want: true},
		{name: "another node", change: func(s *v1alpha1.PluginPolicySpec) { s.NodeSelector = map[string]string{"zone": "b"} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := input{shipped: machine, labels: map[string]string{"zone": "a"}, policies: []v1alpha1.PluginPolicy{
				policy(func(s *v1alpha1.PluginPolicySpec) { s.RequireVerified = false }), policy(test.change),
			}}
			in.objects = []v1alpha1.Plugin{declared("cni", v1alpha1.Network, nil), declared("x", v1alpha1.Network, socket)}
			got := decide(in)
			err := got.refused[ref{plugin.Network, "x"}]
			if (err != nil) != test.want || err != nil && !strings.Contains(err.Error(), "policy strict takes verified plugins only") {
				t.Errorf("got %v, want a refusal: %v", err, test.want)
			}
			if len(got.run) == 0 || got.run[0].Name != "cni" {
				t.Errorf("a shipped plugin does not run: %v", got.run)
			}
		})
	}
}

func TestNews(t *testing.T) {
	said := told{}
	for _, step := range []struct {
		p    v1alpha1.NodePlugin
		want string
	}{
		{v1alpha1.NodePlugin{Ready: true}, ""},
		{v1alpha1.NodePlugin{LastError: "boom"}, "PluginNotReady"},
		{v1alpha1.NodePlugin{LastError: "boom"}, ""},
		{v1alpha1.NodePlugin{LastError: "it cannot serve: x"}, "PluginNotReady"},
		{v1alpha1.NodePlugin{Ready: true}, "PluginReady"},
		{v1alpha1.NodePlugin{Ready: true, Update: &v1alpha1.PluginUpdate{Generation: 2, Error: "x"}}, ""},
		{v1alpha1.NodePlugin{Ready: true, Update: &v1alpha1.PluginUpdate{Generation: 2, Error: "x", RolledBack: true}}, "PluginRolledBack"},
	} {
		got := ""
		if n := said.changed(&step.p, "a"); n != nil {
			got = n.reason
		}
		if got != step.want {
			t.Errorf("%+v: %q, want %q", step.p, got, step.want)
		}
	}
}
