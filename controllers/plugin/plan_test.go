package plugin

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

func on(name string, generation int64, ready bool, text string, pods ...string) node {
	return node{name: name, labels: map[string]string{"name": name}, plugins: []v1alpha1.NodePlugin{
		{Type: v1alpha1.Network, Name: "x", Ready: true, Generation: 9}, // of another type
		{Type: v1alpha1.Runtime, Name: "x", Generation: generation, Ready: ready, LastError: text, Pods: pods},
	}}
}

func TestAggregate(t *testing.T) {
	now := metav1.Now()
	for _, test := range []struct {
		name                           string
		change                         func(p *v1alpha1.Plugin)
		nodes                          []node
		wanted, ready, updated, failed int32
		available, text                string
		runs                           bool
	}{
		{name: "no nodes", available: "False NoNodes"},
		{name: "all well", nodes: []node{on("a", 2, true, ""), on("b", 2, true, "")}, wanted: 2, ready: 2, updated: 2, available: "True AllNodesReady", runs: true},
		{name: "one has the old", nodes: []node{on("a", 1, true, ""), on("b", 2, true, "")}, wanted: 2, ready: 2, updated: 1, available: "True AllNodesReady", runs: true},
		{
			name: "one fails", nodes: []node{on("a", 2, false, "boom"), on("b", 2, true, "")}, wanted: 2, ready: 1, updated: 1, failed: 1,
			available: "False NodesNotReady", text: "it does not answer on a", runs: true,
		},
		{name: "one has none", nodes: []node{{name: "a"}}, wanted: 1, available: "False NodesNotReady", text: "it does not answer on a"},
		{
			name: "a selector", nodes: []node{on("a", 2, true, ""), on("b", 2, true, "")}, wanted: 1, ready: 1, updated: 1, available: "True AllNodesReady",
			change: func(p *v1alpha1.Plugin) { p.Spec.NodeSelector = map[string]string{"name": "b"} }, runs: true,
		},
		{name: "disabled", nodes: []node{{name: "a"}}, change: func(p *v1alpha1.Plugin) { p.Spec.Disabled = true }, available: "False Disabled"},
		{
			name: "deleted but used", nodes: []node{on("a", 2, true, "", "d/one", "d/two")}, runs: true,
			change: func(p *v1alpha1.Plugin) { p.DeletionTimestamp = &now }, available: "True InUse", text: "d/one, d/two",
		},
		{name: "deleted", nodes: []node{{name: "a"}}, change: func(p *v1alpha1.Plugin) { p.DeletionTimestamp = &now }, available: "False Terminating"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &v1alpha1.Plugin{ObjectMeta: metav1.ObjectMeta{Name: "x", Generation: 2}, Spec: v1alpha1.PluginSpec{Type: v1alpha1.Runtime}}
			p.Status.Conditions = []metav1.Condition{{Type: "Theirs", Status: metav1.ConditionTrue, Reason: "So"}}
			if test.change != nil {
				test.change(p)
			}
			got := aggregate(p, test.nodes)
			s := got.status
			if s.NodesWanted != test.wanted || s.NodesReady != test.ready || s.NodesUpdated != test.updated || s.NodesFailed != test.failed || got.runs != test.runs {
				t.Errorf("got %+v runs %t", s, got.runs)
			}
			c := meta.FindStatusCondition(s.Conditions, v1alpha1.Available)
			if have := string(c.Status) + " " + c.Reason; have != test.available || !strings.Contains(c.Message, test.text) {
				t.Errorf("available %s %q, want %s %q", have, c.Message, test.available, test.text)
			}
			if degraded := meta.IsStatusConditionTrue(s.Conditions, v1alpha1.Degraded); degraded != (test.failed > 0) {
				t.Errorf("degraded %t", degraded)
			}
			if progressing := meta.IsStatusConditionTrue(s.Conditions, v1alpha1.Progressing); progressing != (test.updated < test.wanted) {
				t.Errorf("progressing %t", progressing)
			}
			if !meta.IsStatusConditionTrue(s.Conditions, "Theirs") {
				t.Error("what others wrote is gone")
			}
		})
	}
}

func TestVerified(t *testing.T) {
	const digest = "sha256:00"
	suite := func(of string, failed int32) *v1alpha1.Verification {
		return &v1alpha1.Verification{Digest: of, Passed: 5, Failed: failed, Message: "a check"}
	}
	executable := v1alpha1.Source{Executable: &v1alpha1.Executable{}}
	for _, test := range []struct {
		name, want   string
		source       v1alpha1.Source
		verification *v1alpha1.Verification
		update       *v1alpha1.PluginUpdate
		nowhere      bool
	}{
		{name: "shipped", source: v1alpha1.Source{Builtin: "x"}, want: "True DigestMatches"},
		{name: "not launched", source: executable, nowhere: true, want: "Unknown NotLaunched"},
		{name: "signed", source: v1alpha1.Source{Image: &v1alpha1.Image{PublicKey: "k"}}, want: "True SignatureMatches"},
		{name: "a socket", source: v1alpha1.Source{Endpoint: "/s"}, want: "Unknown NotVerified"},
		{name: "a socket whose suite passed", source: v1alpha1.Source{Endpoint: "/s"}, verification: suite("", 0), want: "True SuitePassed"},
		{name: "a suite that passed", source: executable, verification: suite(digest, 0), want: "True SuitePassed"},
		{name: "a suite that failed", source: executable, verification: suite(digest, 1), want: "False SuiteFailed"},
		{name: "a suite of another executable", source: executable, verification: suite("sha256:11", 1), want: "True DigestMatches"},
		{
			name: "a signature that is wrong", source: v1alpha1.Source{Image: &v1alpha1.Image{PublicKey: "k"}}, want: "False VerificationFailed",
			update: &v1alpha1.PluginUpdate{Generation: 2, RolledBack: true, Error: "verify plugin x: it is not signed"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &v1alpha1.Plugin{ObjectMeta: metav1.ObjectMeta{Name: "x", Generation: 2}, Spec: v1alpha1.PluginSpec{Type: v1alpha1.Runtime, Source: test.source}}
			p.Status.Verification = test.verification
			n := on("a", 2, !test.nowhere, "")
			n.plugins[1].Digest, n.plugins[1].Update = digest, test.update
			got := aggregate(p, []node{n})
			c := meta.FindStatusCondition(got.status.Conditions, v1alpha1.Verified)
			if have := string(c.Status) + " " + c.Reason; have != test.want {
				t.Errorf("got %s %q, want %s", have, c.Message, test.want)
			}
			if got.status.Verification != test.verification {
				t.Error("the report is gone")
			}
		})
	}
}

func TestRolledBack(t *testing.T) {
	p := &v1alpha1.Plugin{ObjectMeta: metav1.ObjectMeta{Name: "x", Generation: 2}, Spec: v1alpha1.PluginSpec{Type: v1alpha1.Runtime}}
	n := on("a", 1, true, "")
	n.plugins[1].Update = &v1alpha1.PluginUpdate{Generation: 2, RolledBack: true, Error: "boom"}
	got := aggregate(p, []node{n}).status
	degraded, progressing := meta.FindStatusCondition(got.Conditions, v1alpha1.Degraded), meta.FindStatusCondition(got.Conditions, v1alpha1.Progressing)
	if degraded.Reason != "RolledBack" || !strings.Contains(degraded.Message, "a: boom") || progressing.Reason != "RolledBack" || got.NodesUpdated != 0 || got.NodesReady != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestGrant(t *testing.T) {
	granted := func(n node, to int64) node {
		n.granted = map[string]int64{"x": to}
		return n
	}
	back := on("r", 1, true, "")
	back.plugins[1].Update = &v1alpha1.PluginUpdate{Generation: 2, RolledBack: true}
	away := on("z", 1, true, "")
	away.away = true
	for _, test := range []struct {
		name, limit string
		nodes       []node
		want        []string
	}{
		{name: "the first", nodes: []node{on("a", 1, true, ""), on("b", 1, true, "")}, want: []string{"a"}},
		{name: "one is changing", nodes: []node{granted(on("a", 1, true, ""), 2), on("b", 1, true, "")}},
		{name: "one has changed", nodes: []node{granted(on("a", 2, true, ""), 2), on("b", 1, true, "")}, want: []string{"b"}},
		{name: "one has changed and is down", nodes: []node{granted(on("a", 2, false, "boom"), 2), on("b", 1, true, "")}},
		{name: "half of them", limit: "50%", nodes: []node{on("a", 1, true, ""), on("b", 1, true, ""), on("c", 1, true, ""), on("d", 1, true, "")}, want: []string{"a", "b"}},
		{name: "one has rolled back", nodes: []node{on("a", 1, true, ""), granted(back, 2)}},
		{name: "one is away", nodes: []node{on("a", 1, true, ""), away}, want: []string{"z", "a"}},
		{name: "one that is away does not count", nodes: []node{on("a", 1, true, ""), granted(away, 2)}, want: []string{"a"}},
		{name: "where it does not run yet", nodes: []node{{name: "a"}, on("b", 2, true, "")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &v1alpha1.Plugin{ObjectMeta: metav1.ObjectMeta{Name: "x", Generation: 2}, Spec: v1alpha1.PluginSpec{Type: v1alpha1.Runtime}}
			if test.limit != "" {
				p.Spec.Rollout.MaxUnavailable = new(intstr.Parse(test.limit))
			}
			if got := grant(p, test.nodes); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
