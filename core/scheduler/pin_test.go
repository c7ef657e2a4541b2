package scheduler

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// pinned is a pod for one node, as a DaemonSet makes it.
func pinned(to string, more ...corev1.NodeSelectorRequirement) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchFields:      []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{to}}},
				MatchExpressions: more,
			}},
		}}}
	}
}

func TestPinnedPodsShareAClass(t *testing.T) {
	h := newHarness(t, node("a", "1"), node("b", "1"), node("c", "1"), pod("p", "1", pinned("b")), pod("q", "1", pinned("a")))
	h.want("p→b", "q→a")
	if n := len(h.classes); n != 1 {
		t.Errorf("there are %d classes, want 1", n)
	}
	full := pod("r", "1", pinned("b"))
	h.setPod(full)
	h.want()
	want := "Warning FailedScheduling 0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
	if diff := cmp.Diff(want, h.events()[2]); diff != "" {
		t.Error(diff)
	}
	h.podEvents().OnDelete(pod("q", "1", on("a")))
	h.want()
	h.podEvents().OnDelete(pod("p", "1", on("b")))
	h.want("r→b")
	h.setPod(pod("s", "1", pinned("z")))
	h.want()
	h.setNode(node("z", "1"))
	h.want("s→z")
}

func TestPinnedPodPreemptsThereOnly(t *testing.T) {
	h := newHarness(t, node("a", "1"), node("b", "1"), pod("x", "1", on("a"), priority(2)), pod("y", "1", on("b")), pod("p", "1", pinned("a"), priority(9)))
	h.want()
	if diff := cmp.Diff([]string{"p", "y"}, h.left()); diff != "" {
		t.Error(diff)
	}
}

func TestPinWithExpressions(t *testing.T) {
	fast := corev1.NodeSelectorRequirement{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{"ssd"}}
	h := newHarness(t, node("a", "9"), node("b", "9", func(n *corev1.Node) { n.Labels["disk"] = "ssd" }), pod("p", "1", pinned("a", fast)), pod("q", "1", pinned("b", fast)))
	h.want("q→b")
}
