package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func node(name string, cpu string, edits ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{corev1.LabelHostname: name}},
		Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("110"),
		}},
	}
	for _, e := range edits {
		e(n)
	}
	return n
}

func taint(effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "special", Effect: effect})
	}
}

func pod(name, cpu string, edits ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name), Generation: 1},
		Spec: corev1.PodSpec{SchedulerName: "default-scheduler", Containers: []corev1.Container{{
			Name: "c", Image: "img", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}},
		}}},
	}
	for _, e := range edits {
		e(p)
	}
	return p
}

func hostPort(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: n}} }
}
func on(n string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = n } }
func priority(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Priority = &n }
}

// harness is a scheduler whose loop and writes the test runs by hand.
type harness struct {
	*Scheduler
	t     *testing.T
	now   time.Time
	bound []string // "pod→node" in order
	fail  func(pod string) error
	api   client.Client
	told  *record.FakeRecorder
}

func newHarness(t *testing.T, objs ...client.Object) *harness {
	h := &harness{t: t, now: start, fail: func(string) error { return nil }, told: record.NewFakeRecorder(1000)}
	h.api = fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objs...).WithStatusSubresource(&corev1.Pod{}).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourceCreate: func(_ context.Context, _ client.Client, _ string, obj client.Object, sub client.Object, _ ...client.SubResourceCreateOption) error {
				if err := h.fail(obj.GetName()); err != nil {
					return err
				}
				h.bound = append(h.bound, obj.GetName()+"→"+sub.(*corev1.Binding).Target.Name)
				return nil
			},
		}).Build()
	h.Scheduler = &Scheduler{Client: h.api, Recorder: h.told, Now: func() time.Time { return h.now }, Log: slog.New(slog.DiscardHandler)}
	if err := h.init(); err != nil {
		t.Fatal(err)
	}
	for _, o := range objs {
		switch o := o.(type) {
		case *corev1.Node:
			h.setNode(o)
		case *corev1.Pod:
			h.setPod(o)
		}
	}
	return h
}

// run steps until nothing is left to do.
func (h *harness) run() []string {
	h.t.Helper()
	h.bound = nil
	for {
		_, worked := h.step(h.t.Context())
		for do, _ := h.tasks.take(); do != nil; do, _ = h.tasks.take() {
			do()
		}
		if !worked {
			return h.bound
		}
	}
}

func (h *harness) events() []string {
	var out []string
	for {
		select {
		case e := <-h.told.Events:
			out = append(out, e)
		default:
			return out
		}
	}
}

func (h *harness) want(bound ...string) {
	h.t.Helper()
	if diff := cmp.Diff(bound, h.run()); diff != "" {
		h.t.Error(diff)
	}
}

func TestBinds(t *testing.T) {
	h := newHarness(t, node("a", "2"), node("b", "4"), pod("p", "1"))
	h.want("p→b")
	if diff := cmp.Diff([]string{"Normal Scheduled Successfully assigned default/p to b"}, h.events()); diff != "" {
		t.Error(diff)
	}
}

func TestPriorityGoesFirst(t *testing.T) {
	h := newHarness(t, node("a", "1"), pod("low", "1"), pod("high", "1", priority(7)))
	h.want("high→a")
}

func TestAssumedPodsCount(t *testing.T) {
	h := newHarness(t, node("a", "1"), node("b", "1"), pod("p", "1"), pod("q", "1"), pod("r", "1"))
	h.want("p→a", "q→b")
}

func TestRefusal(t *testing.T) {
	p := pod("p", "3", hostPort(80))
	h := newHarness(t,
		node("a", "1"), node("b", "4", taint(corev1.TaintEffectNoSchedule)), node("c", "4"), node("d", "4", func(n *corev1.Node) { n.Spec.Unschedulable = true }),
		pod("x", "0", hostPort(80), on("c")), p)
	h.want()
	const message = "0/4 nodes are available: 1 Insufficient cpu, 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling."
	if diff := cmp.Diff([]string{"Warning FailedScheduling " + message}, h.events()); diff != "" {
		t.Error(diff)
	}
	var got corev1.Pod
	if err := h.api.Get(t.Context(), client.ObjectKeyFromObject(p), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Status.Conditions) != 1 || got.Status.Conditions[0].Message != message || got.Status.Conditions[0].Reason != "Unschedulable" {
		t.Errorf("conditions are %+v", got.Status.Conditions)
	}
	h.retryAll()
	h.want()
	if again := h.events(); len(again) > 0 {
		t.Errorf("told again: %v", again)
	}
}

func TestNoNodes(t *testing.T) {
	h := newHarness(t, pod("p", "1"))
	h.want()
	if diff := cmp.Diff([]string{"Warning FailedScheduling no nodes available to schedule pods"}, h.events()); diff != "" {
		t.Error(diff)
	}
	h.setNode(node("a", "1"))
	h.want("p→a")
}

func TestEventsWakeWaitingPods(t *testing.T) {
	full := node("a", "1")
	x := pod("x", "1", on("a"))
	for name, change := range map[string]func(h *harness){
		"a pod ends": func(h *harness) {
			h.setPod(pod("x", "1", on("a"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }))
		},
		"a pod is deleted": func(h *harness) { h.podEvents().OnDelete(x) },
		"the node grows":   func(h *harness) { h.nodeEvents().OnUpdate(full, node("a", "2")) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, full, x, pod("p", "1"))
			h.want()
			h.nodeEvents().OnUpdate(full, node("a", "1", func(n *corev1.Node) { n.Status.Phase = "heartbeat" }))
			h.want()
			change(h)
			h.want("p→a")
		})
	}
}

func TestGates(t *testing.T) {
	gated := pod("p", "1", func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}} })
	h := newHarness(t, node("a", "1"), gated, pod("other", "1", func(p *corev1.Pod) { p.Spec.SchedulerName = "else" }))
	h.want()
	h.setPod(pod("p", "1", func(p *corev1.Pod) { p.Generation = 2 }))
	h.want("p→a")
}

func TestFailedBindingIsForgottenAndRetried(t *testing.T) {
	h := newHarness(t, node("a", "1"), pod("p", "1"))
	h.fail = func(string) error { return errors.New("no") }
	h.want()
	h.fail = func(string) error { return nil }
	h.now = h.now.Add(999 * time.Millisecond)
	h.want()
	h.now = h.now.Add(time.Millisecond)
	h.want("p→a")
}

func TestBindingOfAPodThatIsGone(t *testing.T) {
	h := newHarness(t, node("a", "1"), pod("q", "1"))
	h.setPod(pod("p", "1", priority(9)))
	h.fail = func(name string) error {
		if name == "p" {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "p")
		}
		return nil
	}
	h.want("q→a")
	if len(h.queue.items) != 0 {
		t.Errorf("%d items are left", len(h.queue.items))
	}
}

func TestSomebodyElseBound(t *testing.T) {
	p := pod("p", "1")
	h := newHarness(t, node("a", "1"), node("b", "2"), p)
	h.fail = func(string) error {
		var now corev1.Pod
		if err := h.api.Get(t.Context(), client.ObjectKeyFromObject(p), &now); err != nil {
			t.Fatal(err)
		}
		now.Spec.NodeName = "a"
		if err := h.api.Update(t.Context(), &now); err != nil {
			t.Fatal(err)
		}
		return apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, "p", errors.New("assigned"))
	}
	h.want()
	if got := h.cluster.Placed(p.UID); got != "a" {
		t.Errorf("placed on %q, want a", got)
	}
}

func TestBackoff(t *testing.T) {
	var got []time.Duration
	h := newHarness(t)
	for n := 1; n <= 6; n++ {
		got = append(got, h.backoff(n)/time.Second)
	}
	if diff := cmp.Diff([]time.Duration{1, 2, 4, 8, 10, 10}, got); diff != "" {
		t.Error(diff)
	}
}

// One decision among five thousand nodes for a class that was seen before.
func BenchmarkDecide(b *testing.B) {
	h := &harness{Scheduler: &Scheduler{Recorder: record.NewFakeRecorder(0)}}
	if err := h.init(); err != nil {
		b.Fatal(err)
	}
	for i := range 5000 {
		h.setNode(node(fmt.Sprint("n", i), "1000", func(n *corev1.Node) { n.Status.Allocatable[corev1.ResourcePods] = resource.MustParse("1000000") }))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.setPod(pod(fmt.Sprint("p", i), "1m"))
		if _, worked := h.step(b.Context()); !worked {
			b.Fatal("no pod was placed")
		}
		h.tasks.take()
	}
}
