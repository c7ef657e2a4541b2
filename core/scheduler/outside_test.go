package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	configv1 "k8s.io/kube-scheduler/config/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"github.com/gantryio/gantry/core/scheduler/config"
	contract "github.com/gantryio/gantry/interfaces/scheduler"
)

// judge is a plugin that wants pods on the nodes with a letter in their name.
type judge struct {
	contract.Description
	letter string
	err    error
	asked  []int // how many nodes, by call
}

var _ contract.Judge = (*judge)(nil)

func (j *judge) Describe(context.Context) (contract.Description, error) { return j.Description, j.err }

func (j *judge) Judge(_ context.Context, _ contract.Pod, nodes []contract.Node) ([]contract.Verdict, error) {
	j.asked = append(j.asked, len(nodes))
	out := make([]contract.Verdict, len(nodes))
	for i, n := range nodes {
		if !strings.Contains(n.Name, j.letter) {
			out[i].Refusal = "node(s) lacked the letter"
		}
		if strings.Contains(n.Name, "best") {
			out[i].Score = 100
		}
	}
	return out, j.err
}

// Judge implements Plugins.
func (j *judge) judgeOf() Plugins { return plugins{j} }

type plugins struct{ *judge }

func (p plugins) Judge(string, []byte) (contract.Judge, error) { return p.judge, nil }

func withPlugin(t *testing.T, j *judge) *harness {
	t.Helper()
	c := config.Default()
	c.Profiles[0].Plugins = []config.Plugin{{Name: "letters", Filter: true, Score: true, Weight: 10}}
	h := newHarness(t)
	h.Config, h.Plugins = c, j.judgeOf()
	if err := h.init(); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPluginFiltersAndScores(t *testing.T) {
	j := &judge{letter: "x"}
	h := withPlugin(t, j)
	for _, name := range []string{"a", "ax", "bx-best"} {
		h.setNode(node(name, "4"))
	}
	h.setPod(pod("p", "1"))
	h.setPod(pod("q", "1"))
	h.want("p→bx-best", "q→bx-best")
	if diff := cmp.Diff([]int{3}, j.asked); diff != "" {
		t.Errorf("a class is asked about once: %s", diff)
	}
	h.setNode(node("c", "4"))
	h.setPod(pod("r", "1"))
	h.want("r→bx-best")
	if diff := cmp.Diff([]int{3, 1}, j.asked); diff != "" {
		t.Errorf("only the new node is asked about: %s", diff)
	}
}

func TestPluginThatSeesUsageIsAskedAgain(t *testing.T) {
	j := &judge{Description: contract.Description{Usage: true}}
	h := withPlugin(t, j)
	h.setNode(node("a", "4"))
	h.setNode(node("b", "4"))
	h.setPod(pod("p", "1"))
	h.setPod(pod("q", "1"))
	h.run()
	if diff := cmp.Diff([]int{2, 1}, j.asked); diff != "" {
		t.Error(diff)
	}
}

func TestPluginRefusesAll(t *testing.T) {
	h := withPlugin(t, &judge{letter: "x"})
	h.setNode(node("a", "4"))
	h.setPod(pod("p", "1"))
	h.want()
	want := []string{"Warning FailedScheduling 0/1 nodes are available: 1 node(s) lacked the letter. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."}
	if diff := cmp.Diff(want, h.events()); diff != "" {
		t.Error(diff)
	}
	h.setNode(node("x", "4"))
	h.want("p→x")
}

func TestPluginThatFails(t *testing.T) {
	for name, open := range map[string]bool{"open": true, "closed": false} {
		t.Run(name, func(t *testing.T) {
			j := &judge{Description: contract.Description{FailOpen: open}}
			h := withPlugin(t, j)
			h.setNode(node("a", "9"))
			h.setPod(pod("first", "1"))
			h.want("first→a")
			j.err = errors.New("no answer")
			h.setNode(node("a", "8"))
			h.setPod(pod("p", "1"))
			if open {
				h.want("p→a")
				return
			}
			h.want()
			j.err = nil
			h.now = h.now.Add(time.Minute)
			h.want("p→a")
		})
	}
}

// extend starts an extender that answers with the function of each verb.
func extend(t *testing.T, e configv1.Extender, verbs map[string]func(body []byte) any, objs ...*corev1.Node) *harness {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body json.RawMessage
		if json.NewDecoder(req.Body).Decode(&body) != nil || verbs[req.URL.Path[1:]] == nil {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(verbs[req.URL.Path[1:]](body))
	}))
	t.Cleanup(srv.Close)
	e.URLPrefix = srv.URL
	h := newHarness(t)
	h.Config = config.Default()
	h.Config.Extenders = []configv1.Extender{e}
	if err := h.init(); err != nil {
		t.Fatal(err)
	}
	for _, n := range objs {
		h.setNode(n)
	}
	return h
}

func nodeNames(body []byte) []string {
	var q extenderv1.ExtenderArgs
	if json.Unmarshal(body, &q) != nil {
		return nil
	}
	if q.NodeNames != nil {
		return *q.NodeNames
	}
	var out []string
	for _, n := range q.Nodes.Items {
		out = append(out, n.Name)
	}
	return out
}

func TestExtender(t *testing.T) {
	three := []*corev1.Node{node("a", "4"), node("b", "4"), node("c", "4")}
	onlyBC := func(body []byte) any {
		r := extenderv1.ExtenderFilterResult{FailedNodes: extenderv1.FailedNodesMap{"a": "node(s) displeased"}, NodeNames: &[]string{}}
		for _, n := range nodeNames(body) {
			if n != "a" {
				*r.NodeNames = append(*r.NodeNames, n)
			}
		}
		return r
	}
	likesC := func([]byte) any { return extenderv1.HostPriorityList{{Host: "c", Score: 10}} }
	for _, tc := range []struct {
		name     string
		extender configv1.Extender
		verbs    map[string]func([]byte) any
		want     []string
	}{
		{"filters", configv1.Extender{FilterVerb: "filter", NodeCacheCapable: true}, map[string]func([]byte) any{"filter": onlyBC}, []string{"p→b"}},
		{"prioritizes", configv1.Extender{PrioritizeVerb: "rate", Weight: 1}, map[string]func([]byte) any{"rate": likesC}, []string{"p→c"}},
		{"both", configv1.Extender{FilterVerb: "filter", PrioritizeVerb: "rate", Weight: 1, NodeCacheCapable: true}, map[string]func([]byte) any{"filter": onlyBC, "rate": likesC}, []string{"p→c"}},
		{"fails", configv1.Extender{FilterVerb: "filter"}, nil, nil},
		{"fails and may be ignored", configv1.Extender{FilterVerb: "filter", Ignorable: true}, nil, []string{"p→a"}},
		{"is not concerned", configv1.Extender{FilterVerb: "filter", ManagedResources: []configv1.ExtenderManagedResource{{Name: "example.com/gpu"}}}, nil, []string{"p→a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := extend(t, tc.extender, tc.verbs, three...)
			h.setPod(pod("p", "1"))
			h.want(tc.want...)
		})
	}
}

func TestExtenderBinds(t *testing.T) {
	var got extenderv1.ExtenderBindingArgs
	h := extend(t, configv1.Extender{BindVerb: "bind"}, map[string]func([]byte) any{"bind": func(body []byte) any {
		_ = json.Unmarshal(body, &got)
		return extenderv1.ExtenderBindingResult{}
	}}, node("a", "4"))
	h.setPod(pod("p", "1"))
	h.want()
	want := extenderv1.ExtenderBindingArgs{PodName: "p", PodNamespace: "default", PodUID: "p", Node: "a"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExtenderChoosesVictims(t *testing.T) {
	h := extend(t, configv1.Extender{PreemptVerb: "preempt", NodeCacheCapable: true}, map[string]func([]byte) any{"preempt": func(body []byte) any {
		var q extenderv1.ExtenderPreemptionArgs
		_ = json.Unmarshal(body, &q)
		return extenderv1.ExtenderPreemptionResult{NodeNameToMetaVictims: map[string]*extenderv1.MetaVictims{"b": q.NodeNameToMetaVictims["b"]}}
	}}, node("a", "1"), node("b", "1"))
	for _, p := range []*corev1.Pod{pod("x", "1", on("a")), pod("y", "1", on("b"), priority(3)), pod("new", "1", priority(9))} {
		if err := h.api.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		h.setPod(p)
	}
	h.want()
	if diff := cmp.Diff([]string{"new", "x"}, h.left()); diff != "" {
		t.Error(diff)
	}
}

func TestExplain(t *testing.T) {
	h := newHarness(t, node("a", "2"), node("b", "9", taint(corev1.TaintEffectNoSchedule)), node("c", "9"), pod("x", "1", on("a")))
	p := pod("p", "2", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "a"} })
	if err := h.api.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	h.setPod(p)
	h.want()
	got, err := h.Explain(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	want := []NodeExplanation{
		{Name: "a", Reasons: []string{"Insufficient cpu (asks for 2000m, 1000m of 2000m are free)"}},
		{Name: "b", Reasons: []string{"node(s) had untolerated taint(s) (special:NoSchedule)"}},
		{Name: "c", Reasons: []string{"node(s) didn't match Pod's node affinity/selector"}},
	}
	if diff := cmp.Diff(want, got.Nodes); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(got.State, "it waits for a change that makes it fit: 0/3 nodes") || got.Journey.Attempts != 1 {
		t.Errorf("explained as %+v", got)
	}
}
