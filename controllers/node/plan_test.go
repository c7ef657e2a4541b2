package node

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func node(name string, edits ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, e := range edits {
		e(n)
	}
	return n
}

func with(t corev1.NodeConditionType, s corev1.ConditionStatus) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: t, Status: s, LastHeartbeatTime: metav1.NewTime(start)})
	}
}

func tainted(key string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: effect}) }
}

var isReady = with(corev1.NodeReady, corev1.ConditionTrue)

func TestDecide(t *testing.T) {
	const notReady, unreachable = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
	for _, tc := range []struct {
		name      string
		node      *corev1.Node
		silentFor time.Duration
		allSilent bool
		taints    []string
		states    []string // conditions that are written
		silent    bool
		wake      time.Duration
	}{
		{name: "ready loses the taint of new nodes", node: node("a", isReady, tainted(notReady, "NoSchedule"), tainted("mine", "NoExecute")), taints: []string{"mine:NoExecute"}, wake: 40 * time.Second},
		{name: "not ready", node: node("a", with(corev1.NodeReady, corev1.ConditionFalse)), taints: []string{notReady + ":NoSchedule", notReady + ":NoExecute"}, wake: 40 * time.Second},
		{name: "new, without conditions", node: node("a", tainted(notReady, "NoSchedule")), taints: []string{notReady + ":NoSchedule"}, wake: 40 * time.Second},
		{name: "the only node is not emptied", node: node("a", with(corev1.NodeReady, corev1.ConditionFalse)), allSilent: true, taints: []string{notReady + ":NoSchedule"}, wake: 40 * time.Second},
		{name: "silent, but not for long", node: node("a", isReady), silentFor: 39 * time.Second, wake: time.Second},
		{
			name: "silent for too long", node: node("a", isReady, with(corev1.NodeDiskPressure, corev1.ConditionTrue)), silentFor: 40 * time.Second, silent: true, wake: 40 * time.Second,
			taints: []string{unreachable + ":NoSchedule", unreachable + ":NoExecute"},
			states: []string{
				"Ready=Unknown NodeStatusUnknown", "DiskPressure=Unknown NodeStatusUnknown",
				"MemoryPressure=Unknown NodeStatusNeverUpdated", "PIDPressure=Unknown NodeStatusNeverUpdated",
			},
		},
		{
			name: "pressure and cordon", node: node("a", isReady, with(corev1.NodeMemoryPressure, corev1.ConditionTrue), func(n *corev1.Node) { n.Spec.Unschedulable = true }),
			taints: []string{"node.kubernetes.io/memory-pressure:NoSchedule", "node.kubernetes.io/unschedulable:NoSchedule"}, wake: 40 * time.Second,
		},
		{name: "uncordoned", node: node("a", isReady, tainted("node.kubernetes.io/unschedulable", "NoSchedule")), wake: 40 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := decide(tc.node, start.Add(-tc.silentFor), start, defaultGrace, func() bool { return tc.allSilent })
			var taints, states []string
			for _, x := range p.taints {
				taints = append(taints, x.Key+":"+string(x.Effect))
			}
			for _, c := range p.conditions {
				states = append(states, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
			}
			if diff := cmp.Diff([]any{tc.taints, tc.states, tc.silent, tc.wake}, []any{taints, states, p.silent, p.wakeAfter}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRanges(t *testing.T) {
	cluster := netip.MustParsePrefix("10.200.0.0/22")
	listed := 0
	list := func() ([]corev1.Node, error) {
		listed++
		return []corev1.Node{*node("old", func(n *corev1.Node) { n.Spec.PodCIDR = "10.200.1.0/24" })}, nil
	}
	var r ranges
	var got []string
	for _, name := range []string{"a", "b", "a", "c", "d"} {
		p, err := r.assign(name, cluster, 24, list)
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, p.String())
	}
	r.release("a")
	p, err := r.assign("d", cluster, 24, list)
	got = append(got, p.String())
	want := []string{"10.200.0.0/24", "10.200.2.0/24", "10.200.0.0/24", "10.200.3.0/24", errNoRange.Error(), "10.200.0.0/24"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || listed != 1 {
		t.Errorf("%s, err %v, listed %d times", diff, err, listed)
	}
}

func TestRangesOfOtherSizes(t *testing.T) {
	var r ranges
	list := func() ([]corev1.Node, error) {
		return []corev1.Node{*node("old", func(n *corev1.Node) { n.Spec.PodCIDR = "fd00:0:0:1::/63" })}, nil
	}
	p, err := r.assign("a", netip.MustParsePrefix("fd00::/62"), 0, list)
	if err != nil || p.String() != "fd00:0:0:2::/64" {
		t.Errorf("got %s, %v", p, err)
	}
	if _, err := r.assign("b", netip.MustParsePrefix("fd00::/65"), 64, list); !errors.Is(err, errNoRange) {
		t.Errorf("a range that is too small: %v", err)
	}
}

func TestReconcile(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"}, Spec: corev1.PodSpec{NodeName: "a"}, Status: corev1.PodStatus{
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}}
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).
		WithObjects(node("a", isReady, tainted(corev1.TaintNodeNotReady, "NoSchedule")), node("b", isReady), pod).
		WithStatusSubresource(&corev1.Node{}, &corev1.Pod{}).WithIndex(&corev1.Pod{}, podsByNode, byNode).Build()
	now := start
	c := &Controller{Client: api, Recorder: record.NewFakeRecorder(100), Clock: func() time.Time { return now }, ClusterCIDR: netip.MustParsePrefix("10.200.0.0/16")}
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	for _, name := range []string{"a", "b"} {
		c.nodeEvents().Create(t.Context(), event.CreateEvent{Object: node(name, isReady)}, q)
	}
	look := func() *corev1.Node {
		t.Helper()
		if _, err := c.Reconcile(t.Context(), requestOf("a")); err != nil {
			t.Fatal(err)
		}
		var n corev1.Node
		if err := api.Get(t.Context(), client.ObjectKey{Name: "a"}, &n); err != nil {
			t.Fatal(err)
		}
		return &n
	}
	if n := look(); n.Spec.PodCIDR != "10.200.0.0/24" || len(n.Spec.Taints) != 0 {
		t.Errorf("a ready node is %+v", n.Spec)
	}
	now = now.Add(39 * time.Second)
	c.leaseEvents().Update(t.Context(), event.UpdateEvent{ObjectNew: &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: "a"}, Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: start}},
	}}, nil)
	now = now.Add(39 * time.Second)
	if n := look(); ready(n) != corev1.ConditionTrue {
		t.Error("a node with a fresh lease is not ready")
	}
	now = now.Add(time.Second)
	n := look()
	if ready(n) != corev1.ConditionUnknown || len(n.Spec.Taints) != 2 || n.Spec.PodCIDR != "10.200.0.0/24" {
		t.Errorf("a silent node is %+v %+v", n.Spec, n.Status)
	}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil || pod.Status.Conditions[0].Status != corev1.ConditionFalse {
		t.Errorf("its pod is %+v, %v", pod.Status, err)
	}
}

func TestTheFirstReadyNodeBringsBackTheOthers(t *testing.T) {
	silent := node("silent", with(corev1.NodeReady, corev1.ConditionUnknown))
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(silent, node("a", isReady), node("b", isReady)).Build()
	c := &Controller{Client: api}
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	queued := func() []string {
		var out []string
		for q.Len() > 0 {
			r, _ := q.Get()
			q.Done(r)
			out = append(out, r.Name)
		}
		return out
	}
	var got [][]string
	for _, n := range []*corev1.Node{silent, node("a", isReady), node("b", isReady)} {
		c.nodeEvents().Create(t.Context(), event.CreateEvent{Object: n}, q)
		got = append(got, queued())
	}
	if diff := cmp.Diff([][]string{{"silent"}, {"a", "silent"}, {"b"}}, got); diff != "" {
		t.Error(diff)
	}
}
