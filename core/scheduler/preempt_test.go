package scheduler

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// left lists the pods that are not deleted.
func (h *harness) left() []string {
	h.t.Helper()
	var list corev1.PodList
	if err := h.api.List(h.t.Context(), &list); err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out
}

func (h *harness) get(name string) *corev1.Pod {
	h.t.Helper()
	var p corev1.Pod
	if err := h.api.Get(h.t.Context(), client.ObjectKey{Namespace: "default", Name: name}, &p); err != nil {
		h.t.Fatal(err)
	}
	return &p
}

func labelled(app string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = map[string]string{"app": app} }
}

func started(minute int) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.CreationTimestamp = metav1.Date(2026, 3, 1, 10, minute, 0, 0, start.Location()) }
}

func never(p *corev1.Pod) { p.Spec.PreemptionPolicy = new(corev1.PreemptNever) }

func TestPreemption(t *testing.T) {
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kept"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "kept"}}},
	}
	for _, tc := range []struct {
		name      string
		objs      []client.Object
		nominated string
		left      []string
	}{
		{"the least important pods", []client.Object{node("a", "3"), pod("low", "1", on("a"), priority(1)), pod("lower", "1", on("a")), pod("lowest", "1", on("a"), priority(-5))}, "a", []string{"low", "new"}},
		{"no more than needed", []client.Object{node("a", "4"), pod("big", "3", on("a"), priority(1)), pod("small", "1", on("a"))}, "a", []string{"new", "small"}},
		{"the younger one", []client.Object{node("a", "4"), pod("old", "2", on("a"), started(1)), pod("young", "2", on("a"), started(2))}, "a", []string{"new", "old"}},
		{"the node with the lower priority", []client.Object{node("a", "2"), node("b", "2"), pod("x", "2", on("a"), priority(3)), pod("y", "2", on("b"), priority(2))}, "b", []string{"new", "x"}},
		{"the node with fewer pods", []client.Object{node("a", "2"), node("b", "2"), pod("x", "1", on("a")), pod("x2", "1", on("a")), pod("y", "2", on("b"))}, "b", []string{"new", "x", "x2"}},
		{"no budget violated", []client.Object{budget, node("a", "2"), node("b", "2"), pod("x", "2", on("a"), labelled("kept")), pod("y", "2", on("b"), priority(3))}, "b", []string{"new", "x"}},
		{"a budget violated when need be", []client.Object{budget, node("a", "2"), pod("x", "2", on("a"), labelled("kept"))}, "a", []string{"new"}},
		{"none of higher priority", []client.Object{node("a", "2"), pod("x", "2", on("a"), priority(10))}, "", []string{"new", "x"}},
		{"not where it would not help", []client.Object{node("a", "2", taint(corev1.TaintEffectNoSchedule)), pod("x", "2", on("a"))}, "", []string{"new", "x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, append(tc.objs, pod("new", "2", priority(9)))...)
			h.want()
			if got := h.get("new").Status.NominatedNodeName; got != tc.nominated {
				t.Errorf("nominated %q, want %q", got, tc.nominated)
			}
			if diff := cmp.Diff(tc.left, h.left()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPreemptionPolicyNever(t *testing.T) {
	h := newHarness(t, node("a", "2"), pod("x", "2", on("a")), pod("new", "2", priority(9), never))
	h.want()
	want := []string{"Warning FailedScheduling 0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."}
	if diff := cmp.Diff(want, h.events()); diff != "" {
		t.Error(diff)
	}
}

func TestPreemptionTellsVictims(t *testing.T) {
	h := newHarness(t, node("a", "2"), pod("x", "2", on("a"), func(p *corev1.Pod) { p.Finalizers = []string{"test/stay"} }), pod("new", "2", priority(9)))
	h.want()
	want := []string{"Warning FailedScheduling 0/1 nodes are available: 1 Insufficient cpu.", "Normal Preempted Preempted by pod new on node a"}
	if diff := cmp.Diff(want, h.events()); diff != "" {
		t.Error(diff)
	}
	x := h.get("x")
	if x.DeletionTimestamp == nil || len(x.Status.Conditions) != 1 || x.Status.Conditions[0].Type != corev1.DisruptionTarget ||
		x.Status.Conditions[0].Reason != "PreemptionByScheduler" || x.Status.Conditions[0].Message != "default-scheduler: preempting to accommodate a higher priority pod" {
		t.Errorf("victim is %+v", x)
	}
	// While the victim ends, nobody else is asked to go.
	h.setPod(x)
	h.retryAll()
	h.want()
	if diff := cmp.Diff([]string{"Warning FailedScheduling 0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to a terminating pod on the nominated node."}, h.events()); diff != "" {
		t.Error(diff)
	}
}

// What is made room for goes to whom it was made for.
func TestNominatedNodeIsKept(t *testing.T) {
	x := pod("x", "2", on("a"))
	h := newHarness(t, node("a", "2"), x, pod("new", "2", priority(9)))
	h.want()
	h.setPod(pod("same", "2", priority(9)))
	h.setPod(pod("low", "2"))
	h.want()
	h.podEvents().OnDelete(x)
	h.want("new→a")
}

func TestHigherPriorityOutbids(t *testing.T) {
	x := pod("x", "2", on("a"))
	h := newHarness(t, node("a", "2"), x, pod("new", "2", priority(5)))
	h.want()
	if err := h.api.Create(t.Context(), pod("top", "2", priority(9))); err != nil {
		t.Fatal(err)
	}
	h.setPod(pod("top", "2", priority(9)))
	h.want()
	h.podEvents().OnDelete(x)
	h.want("top→a")
}

func TestLabelsThatOthersSelect(t *testing.T) {
	spread := func(p *corev1.Pod) {
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}}}
	}
	avoids := func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "b"}},
		}}}}
	}
	// The classes of b and c are made before anybody looks at their labels.
	h := newHarness(t, node("a", "1"), pod("b", "2", labelled("b")), pod("c", "2", labelled("c")))
	h.want()
	h.setPod(pod("loner", "1", on("a"), avoids))
	h.nodeEvents().OnAdd(node("z", "9", taint(corev1.TaintEffectNoSchedule)), false)
	h.nodeEvents().OnUpdate(node("a", "1"), node("a", "9"))
	h.want("c→a")
	h.setPod(pod("s", "1", labelled("a"), spread))
	h.want("s→a")
}

func TestAffinityIsWokenByPods(t *testing.T) {
	friend := pod("friend", "1", func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}},
		}}}}
	})
	h := newHarness(t, node("a", "4"), node("b", "4"), friend)
	h.want()
	h.setPod(pod("host", "1", labelled("a"), func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "b"} }))
	h.want("host→b", "friend→b")
}
