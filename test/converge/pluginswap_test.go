package converge

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/controllers/pluginswap"
	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/workloads/replicaset"
)

const (
	fromPlugin = "old"
	toPlugin   = "new"
)

// site is two nodes with two runtimes each.
type site struct {
	*world
	nodes []string
	// on is the runtime that each pod was started by.
	on map[types.UID]string
}

func (s *site) plugins(node string) *v1alpha1.NodePlugins {
	s.t.Helper()
	n := &v1alpha1.NodePlugins{}
	s.must(api.Get(s.ctx, ctrlclient.ObjectKey{Name: node}, n))
	return n.DeepCopy()
}

func standard(n *v1alpha1.NodePlugins) string {
	if name := n.Spec.Defaults[v1alpha1.Runtime]; name != "" {
		return name
	}
	return fromPlugin
}

// live does the next thing that a scheduler and an agent do for a pod, and tells whether there was one.
func (s *site) live(pod *corev1.Pod) bool {
	s.t.Helper()
	switch {
	case pod.DeletionTimestamp == nil && pod.Spec.NodeName == "":
		node := s.nodes[int(pod.UID[0])%len(s.nodes)]
		s.act(pod, func() error {
			return api.SubResource("binding").Create(s.ctx, pod.DeepCopy(), &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: node}})
		})
		return true
	case pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodPending:
		s.on[pod.UID] = standard(s.plugins(pod.Spec.NodeName))
	}
	return s.world.node(pod, nil)
}

// report is what an agent says of its plugins.
func (s *site) report(node string) bool {
	s.t.Helper()
	n := s.plugins(node)
	want := v1alpha1.NodePluginsStatus{ObservedGeneration: n.Generation}
	for _, name := range []string{fromPlugin, toPlugin} {
		p := v1alpha1.NodePlugin{Type: v1alpha1.Runtime, Name: name, Ready: true, Default: standard(n) == name}
		for _, pod := range s.pods() {
			if pod.Spec.NodeName == node && s.on[pod.UID] == name {
				p.Pods = append(p.Pods, pod.Namespace+"/"+pod.Name)
			}
		}
		slices.Sort(p.Pods)
		want.Plugins = append(want.Plugins, p)
	}
	if equality.Semantic.DeepEqual(n.Status, want) {
		return false
	}
	n.Status = want
	s.act(n, func() error { return api.Status().Update(s.ctx, n) })
	return true
}

// Whatever dies and gets lost, a swap ends with everything at its new place or at its old one, and a bare pod is never
// touched.
func TestPluginSwap(t *testing.T) {
	outcomes := map[v1alpha1.SwapPhase]int{}
	run(t, 30, func(t *testing.T, w *world) {
		w.kinds = []ctrlclient.ObjectList{&v1alpha1.PluginSwapList{}, &v1alpha1.NodePluginsList{}, &appsv1.ReplicaSetList{}, &corev1.PodList{}}
		w.setups = func(h hands) []setup {
			return []setup{
				&pluginswap.Controller{Client: h.client, Recorder: h.recorder, Clock: h.now},
				&replicaset.Controller{Client: h.client, Recorder: h.recorder, Clock: h.now},
			}
		}
		s := &site{world: w, nodes: []string{w.ns + "-a", w.ns + "-b"}, on: map[types.UID]string{}}
		own := map[string]string{w.ns: ""}
		for _, name := range s.nodes {
			w.must(api.Create(w.ctx, &v1alpha1.NodePlugins{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: own}}))
		}
		bare := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "bare"}, Spec: template("bare").Spec}
		w.must(api.Create(w.ctx, bare))
		w.must(api.Create(w.ctx, &appsv1.ReplicaSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "web"},
			Spec:       appsv1.ReplicaSetSpec{Replicas: new(int32(4)), Selector: selector("web"), Template: template("web")},
		}))
		w.check = func() string {
			if !slices.ContainsFunc(w.active(), func(p *corev1.Pod) bool { return p.UID == bare.UID }) {
				return "the bare pod was evicted"
			}
			return ""
		}
		some := func() {
			if pod := w.aPod(); pod != nil {
				s.live(pod)
			}
		}
		say := func() { s.report(s.nodes[w.rng.IntN(len(s.nodes))]) }
		w.steps(80, some, some, say)
		swap := &v1alpha1.PluginSwap{
			ObjectMeta: metav1.ObjectMeta{Name: w.ns + "-swap", Labels: own},
			Spec:       v1alpha1.PluginSwapSpec{Type: v1alpha1.Runtime, From: fromPlugin, To: toPlugin, Nodes: s.nodes},
		}
		w.act(swap, func() error { return api.Create(w.ctx, swap) })
		w.steps(200, some, some, say)
		if w.rng.IntN(3) == 0 {
			now := &v1alpha1.PluginSwap{}
			w.must(api.Get(w.ctx, ctrlclient.ObjectKeyFromObject(swap), now))
			now = now.DeepCopy()
			now.Spec.Cancelled = true
			w.act(now, func() error { return api.Update(w.ctx, now) })
			w.steps(100, some, some, say)
		}
		w.settle(func() bool {
			busy := false
			for _, pod := range w.pods() {
				busy = s.live(pod) || busy
			}
			for _, node := range s.nodes {
				busy = s.report(node) || busy
			}
			return busy
		})
		s.judge(swap, outcomes)
	})
	if outcomes[v1alpha1.SwapSucceeded] == 0 || outcomes[v1alpha1.SwapRolledBack] == 0 {
		t.Errorf("the swaps ended %v, want some of each", outcomes)
	}
}

// judge compares what is with how the swap says that it ended.
func (s *site) judge(swap *v1alpha1.PluginSwap, outcomes map[v1alpha1.SwapPhase]int) {
	s.t.Helper()
	now := &v1alpha1.PluginSwap{}
	s.must(api.Get(s.ctx, ctrlclient.ObjectKeyFromObject(swap), now))
	outcomes[now.Status.Phase]++
	want, own := map[v1alpha1.SwapPhase]string{v1alpha1.SwapSucceeded: toPlugin, v1alpha1.SwapRolledBack: fromPlugin}[now.Status.Phase], ""
	if want == toPlugin {
		own = toPlugin
	}
	if want == "" || now.Status.CompletionTime == nil {
		s.t.Fatalf("the swap is %s: %+v", now.Status.Phase, now.Status)
	}
	for _, node := range s.nodes {
		if got := s.plugins(node).Spec.Defaults[v1alpha1.Runtime]; got != own {
			s.t.Errorf("node %s has the default %q, want %q", node, got, own)
		}
	}
	web := 0
	for _, p := range s.active() {
		if metav1.GetControllerOf(p) == nil {
			continue
		}
		if web++; s.on[p.UID] != want {
			s.t.Errorf("pod %s is on %s after a swap that %s", p.Name, s.on[p.UID], now.Status.Phase)
		}
	}
	if web != 4 {
		s.t.Errorf("%d pods, want 4", web)
	}
}
