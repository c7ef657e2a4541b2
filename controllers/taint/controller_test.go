package taint

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func pod(name string, tolerations ...corev1.Toleration) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(start.Add(-time.Hour))},
		Spec:       corev1.PodSpec{NodeName: "a", Tolerations: tolerations},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

func tolerate(key string, seconds ...int64) corev1.Toleration {
	t := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}
	if len(seconds) > 0 {
		t.TolerationSeconds = &seconds[0]
	}
	return t
}

// added is a taint that has been there for some time.
func added(key string, ago time.Duration) corev1.Taint {
	return corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute, TimeAdded: &metav1.Time{Time: start.Add(-ago)}}
}

func TestDecide(t *testing.T) {
	for _, tc := range []struct {
		name   string
		taints []corev1.Taint
		pod    *corev1.Pod
		goes   bool
		wake   time.Duration
	}{
		{"not tolerated", []corev1.Taint{added("x", 0)}, pod("p"), true, 0},
		{"tolerated for ever", []corev1.Taint{added("x", time.Hour)}, pod("p", tolerate("x")), false, 0},
		{"tolerated for a while", []corev1.Taint{added("x", 10*time.Second)}, pod("p", tolerate("x", 300)), false, 290 * time.Second},
		{"tolerated no longer", []corev1.Taint{added("x", 300*time.Second)}, pod("p", tolerate("x", 300)), true, 0},
		{"the shortest counts", []corev1.Taint{added("x", 0)}, pod("p", tolerate("x", 300), tolerate("", 20), tolerate("x")), false, 20 * time.Second},
		{"one of two is not tolerated", []corev1.Taint{added("x", 0), added("y", 0)}, pod("p", tolerate("x")), true, 0},
		{"a new pod has its time too", []corev1.Taint{added("x", 2*time.Hour)}, func() *corev1.Pod {
			p := pod("p", tolerate("x", 60))
			p.CreationTimestamp = metav1.NewTime(start.Add(-time.Second))
			return p
		}(), false, 59 * time.Second},
		{"being deleted", []corev1.Taint{added("x", 0)}, func() *corev1.Pod {
			p := pod("p")
			p.DeletionTimestamp = &metav1.Time{Time: start}
			return p
		}(), false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doomed, wake := decide(tc.taints, []*corev1.Pod{tc.pod}, start)
			if diff := cmp.Diff([]any{tc.goes, tc.wake}, []any{len(doomed) == 1, wake}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

type harness struct {
	*Controller
	now time.Time
}

func setup(objs ...client.Object) *harness {
	h := &harness{now: start}
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objs...).WithStatusSubresource(&corev1.Pod{}).
		WithIndex(&corev1.Pod{}, podsByNode, byNode).WithIndex(&corev1.Pod{}, endedPods, byEnd).Build()
	h.Controller = &Controller{Client: api, Recorder: record.NewFakeRecorder(100), Clock: func() time.Time { return h.now }}
	return h
}

func (h *harness) left(t *testing.T) []string {
	t.Helper()
	var list corev1.PodList
	if err := h.Client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, p := range list.Items {
		out = append(out, p.Name)
	}
	slices.Sort(out)
	return out
}

func TestEvicts(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{added("x", 0)}}}
	h := setup(node, pod("stays", tolerate("x")), pod("goes"), pod("later", tolerate("x", 30)))
	got, err := h.Reconcile(t.Context(), requestOf("a"))
	if err != nil || got.RequeueAfter != 30*time.Second {
		t.Fatalf("%+v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"later", "stays"}, h.left(t)); diff != "" {
		t.Error(diff)
	}
	h.now = h.now.Add(30 * time.Second)
	if _, err := h.Reconcile(t.Context(), requestOf("a")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"stays"}, h.left(t)); diff != "" {
		t.Error(diff)
	}
}

func TestPodsOfANodeThatIsGone(t *testing.T) {
	other := pod("other")
	other.Spec.NodeName = "b"
	h := setup(pod("p"), other)
	got, err := h.Reconcile(t.Context(), requestOf("a"))
	if err != nil || got.RequeueAfter != quarantine || len(h.left(t)) != 2 {
		t.Fatalf("%+v, %v, left %v", got, err, h.left(t))
	}
	h.now = h.now.Add(quarantine)
	if _, err := h.Reconcile(t.Context(), requestOf("a")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"other"}, h.left(t)); diff != "" {
		t.Error(diff)
	}
}

func TestANodeThatComesBackKeepsItsPods(t *testing.T) {
	h := setup(pod("p"))
	if _, err := h.Reconcile(t.Context(), requestOf("a")); err != nil {
		t.Fatal(err)
	}
	if err := h.Client.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}); err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(time.Hour)
	if _, err := h.Reconcile(t.Context(), requestOf("a")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"p"}, h.left(t)); diff != "" {
		t.Error(diff)
	}
}

func TestSweep(t *testing.T) {
	var objs []client.Object
	for i := range 5 {
		p := pod(fmt.Sprint("p", i))
		p.CreationTimestamp = metav1.NewTime(start.Add(time.Duration(-i) * time.Minute))
		if i > 0 {
			p.Status.Phase = corev1.PodSucceeded
		}
		objs = append(objs, p)
	}
	h := setup(objs...)
	h.MaxEnded = 2
	if _, err := h.Reconcile(t.Context(), sweep); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"p0", "p1", "p2"}, h.left(t)); diff != "" {
		t.Error(diff)
	}
}

// A pod that a finalizer keeps and that never had a node has nobody else to say how it ended.
func TestLostPodsFail(t *testing.T) {
	lost := func(name string, change func(*corev1.Pod)) *corev1.Pod {
		p := pod(name)
		p.Spec.NodeName, p.Finalizers = "", []string{"example.com/waits"}
		p.DeletionTimestamp = &metav1.Time{Time: start}
		change(p)
		return p
	}
	for name, tc := range map[string]struct {
		pod  *corev1.Pod
		want corev1.PodPhase
	}{
		"lost":         {lost("p", func(*corev1.Pod) {}), corev1.PodFailed},
		"on a node":    {lost("p", func(p *corev1.Pod) { p.Spec.NodeName = "a" }), corev1.PodRunning},
		"it has ended": {lost("p", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), corev1.PodSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			h := setup(tc.pod)
			if _, err := h.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(tc.pod)}); err != nil {
				t.Fatal(err)
			}
			var got corev1.Pod
			if err := h.Client.Get(t.Context(), client.ObjectKeyFromObject(tc.pod), &got); err != nil {
				t.Fatal(err)
			}
			if got.Status.Phase != tc.want {
				t.Errorf("it is %q, want %q", got.Status.Phase, tc.want)
			}
		})
	}
	if _, err := setup().Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "x", Name: "gone"}}); err != nil {
		t.Errorf("a pod that has gone meanwhile: %v", err)
	}
}
