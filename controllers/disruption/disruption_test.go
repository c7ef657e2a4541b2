package disruption

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/owner/ownertest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func pod(name string, healthy bool, edit ...func(*corev1.Pod)) *corev1.Pod {
	status := corev1.ConditionFalse
	if healthy {
		status = corev1.ConditionTrue
	}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": "web"}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}},
	}
	for _, e := range edit {
		e(p)
	}
	return p
}

func going(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: start} }

func ago(d time.Duration) metav1.Time { return metav1.NewTime(start.Add(-d)) }

func TestDecide(t *testing.T) {
	least := func(v intstr.IntOrString) policyv1.PodDisruptionBudgetSpec {
		return policyv1.PodDisruptionBudgetSpec{MinAvailable: &v}
	}
	most := func(v intstr.IntOrString) policyv1.PodDisruptionBudgetSpec {
		return policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &v}
	}
	three := []*corev1.Pod{pod("a", true), pod("b", true), pod("c", false)}
	type counts struct{ Healthy, Desired, Expected, Allowed int32 }
	for _, tc := range []struct {
		name      string
		spec      policyv1.PodDisruptionBudgetSpec
		pods      []*corev1.Pod
		scale     int32
		disrupted map[string]metav1.Time
		want      counts
		left      map[string]metav1.Time
		missed    int
	}{
		{"at least one", least(intstr.FromInt32(1)), three, 0, nil, counts{2, 1, 3, 1}, nil, 0},
		{"at least more than there are", least(intstr.FromInt32(5)), three, 0, nil, counts{2, 5, 3, 0}, nil, 0},
		{"a part, rounded up", least(intstr.FromString("50%")), three, 3, nil, counts{2, 2, 3, 0}, nil, 0},
		{"at most one missing", most(intstr.FromInt32(1)), three, 3, nil, counts{2, 2, 3, 0}, nil, 0},
		{"at most half missing", most(intstr.FromString("50%")), three, 3, nil, counts{2, 1, 3, 1}, nil, 0},
		{"more than all missing", most(intstr.FromInt32(9)), three, 3, nil, counts{2, 0, 3, 2}, nil, 0},
		{"nothing to be expected", most(intstr.FromInt32(9)), three, 0, nil, counts{2, 0, 0, 0}, nil, 0},
		{"neither", policyv1.PodDisruptionBudgetSpec{}, three, 0, nil, counts{2, 0, 0, 0}, nil, 0},
		{"one that goes does not count", least(intstr.FromInt32(1)), []*corev1.Pod{pod("a", true), pod("b", true, going)}, 0, nil, counts{1, 1, 2, 0}, nil, 0},
		{"nor one whose eviction is to show", least(intstr.FromInt32(1)), three, 0, map[string]metav1.Time{"a": ago(time.Minute), "gone": ago(0)}, counts{1, 1, 3, 0}, map[string]metav1.Time{"a": ago(time.Minute)}, 0},
		{"but after two minutes it does again", least(intstr.FromInt32(1)), three, 0, map[string]metav1.Time{"a": ago(3 * time.Minute)}, counts{2, 1, 3, 1}, nil, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Generation: 4}, Spec: tc.spec, Status: policyv1.PodDisruptionBudgetStatus{DisruptedPods: tc.disrupted}}
			p, err := decide(state{budget: b, pods: tc.pods, scale: tc.scale, now: start})
			if err != nil {
				t.Fatal(err)
			}
			s := p.status
			if diff := cmp.Diff(tc.want, counts{s.CurrentHealthy, s.DesiredHealthy, s.ExpectedPods, s.DisruptionsAllowed}); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.left, s.DisruptedPods); diff != "" || len(p.notDeleted) != tc.missed || s.ObservedGeneration != 4 {
				t.Errorf("%s %d pods not deleted, generation %d", diff, len(p.notDeleted), s.ObservedGeneration)
			}
			reason := policyv1.InsufficientPodsReason
			if tc.want.Allowed > 0 {
				reason = policyv1.SufficientPodsReason
			}
			if s.Conditions[0].Reason != reason {
				t.Errorf("condition is %+v", s.Conditions[0])
			}
		})
	}
}

// A budget whose pods belong to something without a size allows nothing and says why.
func TestForbids(t *testing.T) {
	b := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		Status:     policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: 3},
	}
	owned := pod("a", true, func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "gone", UID: "x", Controller: new(true)}}
	})
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(b, owned).WithStatusSubresource(b).Build()
	c := &Controller{Client: api, Recorder: record.NewFakeRecorder(10), Clock: func() time.Time { return start }}
	if _, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)}); err == nil {
		t.Error("no error")
	}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
		t.Fatal(err)
	}
	if b.Status.DisruptionsAllowed != 0 || len(b.Status.Conditions) != 1 || b.Status.Conditions[0].Reason != policyv1.SyncFailedReason {
		t.Errorf("status is %+v", b.Status)
	}
}

func TestRetracts(t *testing.T) {
	announced := func(d time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: ago(d)}}
		}
	}
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		wake time.Duration
		want corev1.ConditionStatus
	}{
		{"fresh", pod("a", true, announced(time.Minute)), time.Minute, corev1.ConditionTrue},
		{"stale", pod("a", true, announced(2*time.Minute)), 0, corev1.ConditionFalse},
		{"ended", pod("a", true, announced(time.Hour), func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), 0, corev1.ConditionTrue},
	} {
		t.Run(tc.name, func(t *testing.T) {
			api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(tc.pod).WithStatusSubresource(tc.pod).Build()
			c := &Controller{Client: api, Clock: func() time.Time { return start }}
			got, err := c.retract(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(tc.pod)})
			if err != nil {
				t.Fatal(err)
			}
			var p corev1.Pod
			if err := api.Get(t.Context(), client.ObjectKeyFromObject(tc.pod), &p); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{tc.wake, tc.want}, []any{got.RequeueAfter, p.Status.Conditions[0].Status}, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBudgetsOf(t *testing.T) {
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(&policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "b"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
	}).Build()
	if got := (&Controller{Client: api}).budgetsOf(t.Context(), pod("a", true)); len(got) != 1 || got[0].Name != "b" {
		t.Errorf("budgets are %v", got)
	}
	if got := (&Controller{Client: ownertest.Nothing{}}).budgetsOf(t.Context(), pod("a", true)); len(got) != 0 {
		t.Errorf("where there are none, budgets are %v", got)
	}
}
