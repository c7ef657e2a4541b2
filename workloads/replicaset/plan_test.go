package replicaset

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sized(replicas int32, edit ...func(*appsv1.ReplicaSet)) *appsv1.ReplicaSet {
	web := map[string]string{"app": "web"}
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "set", Generation: 3},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: web},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: web}},
		},
	}
	for _, e := range edit {
		e(rs)
	}
	return rs
}

func pod(name string, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "default", UID: types.UID(name), Labels: map[string]string{"app": "web"},
			CreationTimestamp: metav1.NewTime(start.Add(-time.Hour)),
			OwnerReferences:   []metav1.OwnerReference{*metav1.NewControllerRef(sized(1), ReplicaSets.gvk)},
		},
		Spec:   corev1.PodSpec{NodeName: "n1"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	ready(time.Hour)(p)
	for _, e := range edit {
		e(p)
	}
	return p
}

func ready(ago time.Duration) func(*corev1.Pod) {
	return condition(corev1.ConditionTrue, ago)
}

func unready(p *corev1.Pod) { condition(corev1.ConditionFalse, 0)(p) }

func condition(status corev1.ConditionStatus, ago time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.NewTime(start.Add(-ago)),
		}}
	}
}

func dying(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: start} }
func failed(p *corev1.Pod) {
	p.Status.Phase = corev1.PodFailed
}
func onNode(n string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = n } }
func cost(n int) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.PodDeletionCost: strconv.Itoa(n)} }
}

func age(d time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(start.Add(-d)) }
}

func restarted(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: n}} }
}

func TestDecide(t *testing.T) {
	minReady := func(rs *appsv1.ReplicaSet) { rs.Spec.MinReadySeconds = 10 }
	for _, tc := range []struct {
		name            string
		set             *appsv1.ReplicaSet
		pods            []*corev1.Pod
		create, surplus int
		// replicas, fully labelled, ready, available, terminating
		counts [5]int32
		wake   time.Duration
	}{
		{name: "none there", set: sized(3), create: 3},
		{name: "a burst has an end", set: sized(2000), create: 500},
		{name: "a dying pod does not count", set: sized(1), pods: []*corev1.Pod{pod("a", dying)}, create: 1, counts: [5]int32{0, 0, 0, 0, 1}},
		{name: "a failed pod is replaced and left", set: sized(1), pods: []*corev1.Pod{pod("a", failed)}, create: 1},
		{name: "enough", set: sized(2), pods: []*corev1.Pod{pod("a"), pod("b", unready)}, counts: [5]int32{2, 2, 1, 1, 0}},
		{name: "too many", set: sized(0), pods: []*corev1.Pod{pod("a"), pod("b")}, surplus: 2, counts: [5]int32{2, 2, 2, 2, 0}},
		{name: "a deleted set makes nothing", set: sized(2, func(rs *appsv1.ReplicaSet) { rs.DeletionTimestamp = &metav1.Time{Time: start} })},
		{
			name: "ready but not yet available", set: sized(2, minReady), pods: []*corev1.Pod{pod("a", ready(4*time.Second)), pod("b", ready(10*time.Second))},
			counts: [5]int32{2, 2, 2, 1, 0}, wake: 6 * time.Second,
		},
		{
			name: "labels beside the template's", set: sized(1, func(rs *appsv1.ReplicaSet) { rs.Spec.Template.Labels = map[string]string{"app": "web", "v": "2"} }),
			pods: []*corev1.Pod{pod("a")}, counts: [5]int32{1, 0, 1, 1, 0},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := decide(tc.set, tc.pods, start)
			s := p.status
			got := []any{p.create, p.surplus, [5]int32{s.Replicas, s.FullyLabeledReplicas, s.ReadyReplicas, s.AvailableReplicas, *s.TerminatingReplicas}, p.wakeAfter, s.ObservedGeneration}
			if diff := cmp.Diff([]any{tc.create, tc.surplus, tc.counts, tc.wake, int64(3)}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLeastValuable(t *testing.T) {
	for _, tc := range []struct {
		name        string
		goes, stays *corev1.Pod
		related     []*corev1.Pod
	}{
		{name: "without a node", goes: pod("a", onNode("")), stays: pod("b", unready)},
		{name: "pending", goes: pod("a", func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }), stays: pod("b", unready)},
		{name: "unready", goes: pod("a", unready), stays: pod("b", cost(-5))},
		{name: "cheap", goes: pod("a", cost(-5)), stays: pod("b", cost(3))},
		{name: "doubled up", goes: pod("a", onNode("n2")), stays: pod("b"), related: []*corev1.Pod{pod("a", onNode("n2")), pod("b"), pod("c", onNode("n2"))}},
		{name: "ready for less long", goes: pod("a", ready(time.Second)), stays: pod("b", restarted(9))},
		{name: "restarted more often", goes: pod("a", restarted(9)), stays: pod("b", age(time.Second))},
		{name: "younger", goes: pod("a", age(time.Second)), stays: pod("b", age(time.Hour))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, pods := range [][]*corev1.Pod{{tc.goes, tc.stays}, {tc.stays, tc.goes}} {
				got := leastValuable(pods, tc.related, 1, start)
				if diff := cmp.Diff([]*corev1.Pod{tc.goes}, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}
