package apiserver_test

import (
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// budgeted makes a namespace with a running pod and a budget of the given status over it.
func budgeted(t *testing.T, ready bool, policy *policyv1.UnhealthyPodEvictionPolicyType, status policyv1.PodDisruptionBudgetStatus, budgets ...string) string {
	t.Helper()
	ns, api := shared.namespace(t), shared.typed(t)
	pod := bound(t, ns, "p")
	pod.Status.Phase = corev1.PodRunning
	if ready {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
	}
	must(api.CoreV1().Pods(ns).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}))(t)
	for _, name := range budgets {
		b := must(api.PolicyV1().PodDisruptionBudgets(ns).Create(t.Context(), &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{}, UnhealthyPodEvictionPolicy: policy},
		}, metav1.CreateOptions{}))(t)
		b.Status = status
		must(api.PolicyV1().PodDisruptionBudgets(ns).UpdateStatus(t.Context(), b, metav1.UpdateOptions{}))(t)
	}
	return ns
}

func TestEvictionHonoursBudgets(t *testing.T) {
	const refused = "Cannot evict pod as it would violate the pod's disruption budget."
	known := func(s policyv1.PodDisruptionBudgetStatus) policyv1.PodDisruptionBudgetStatus {
		s.ObservedGeneration = 1
		return s
	}
	none := known(policyv1.PodDisruptionBudgetStatus{CurrentHealthy: 1, DesiredHealthy: 1, ExpectedPods: 1})
	one := known(policyv1.PodDisruptionBudgetStatus{CurrentHealthy: 2, DesiredHealthy: 1, ExpectedPods: 2, DisruptionsAllowed: 1})
	short := known(policyv1.PodDisruptionBudgetStatus{CurrentHealthy: 0, DesiredHealthy: 1, ExpectedPods: 1})
	for _, tc := range []struct {
		name    string
		ready   bool
		policy  *policyv1.UnhealthyPodEvictionPolicyType
		status  policyv1.PodDisruptionBudgetStatus
		budgets []string
		code    int32
		cause   string
	}{
		{"no budget", true, nil, none, nil, 0, ""},
		{"enough", true, nil, one, []string{"b"}, 0, ""},
		{"not enough", true, nil, none, []string{"b"}, 429, "The disruption budget b needs 1 healthy pods and has 1 currently"},
		{"not counted yet", true, nil, policyv1.PodDisruptionBudgetStatus{}, []string{"b"}, 429, "The disruption budget b is still being processed by the server."},
		{"two budgets", true, nil, one, []string{"b", "c"}, 500, ""},
		{"an unhealthy pod of a healthy budget", false, nil, none, []string{"b"}, 0, ""},
		{"an unhealthy pod of an unhealthy budget", false, nil, short, []string{"b"}, 429, "The disruption budget b needs 1 healthy pods and has 0 currently"},
		{"an unhealthy pod that may always go", false, new(policyv1.AlwaysAllow), short, []string{"b"}, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ns, api := budgeted(t, tc.ready, tc.policy, tc.status, tc.budgets...), shared.typed(t)
			evict := func(dry ...string) error {
				// A 429 would be tried again and again.
				return api.CoreV1().RESTClient().Post().Namespace(ns).Resource("pods").Name("p").SubResource("eviction").MaxRetries(0).Body(&policyv1.Eviction{
					ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: ns}, DeleteOptions: &metav1.DeleteOptions{DryRun: dry},
				}).Do(t.Context()).Error()
			}
			for _, err := range []error{evict("All"), evict()} {
				if tc.code == 0 {
					if err != nil {
						t.Fatal(err)
					}
					continue
				}
				status, ok := err.(apierrors.APIStatus)
				if !ok || status.Status().Code != tc.code {
					t.Fatalf("got %v, want %d", err, tc.code)
				}
				if tc.cause != "" && (status.Status().Message != refused || status.Status().Details.Causes[0].Message != tc.cause) {
					t.Errorf("got %+v, want %q", status.Status(), tc.cause)
				}
			}
			pod := must(api.CoreV1().Pods(ns).Get(t.Context(), "p", metav1.GetOptions{}))(t)
			if going := pod.DeletionTimestamp != nil; going != (tc.code == 0) {
				t.Errorf("the pod is going: %v", going)
			}
		})
	}
}

// An eviction takes one disruption and leaves word of the pod, a dry run does not.
func TestEvictionSpends(t *testing.T) {
	ns, api := budgeted(t, true, nil, policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1, CurrentHealthy: 2, DesiredHealthy: 1, ExpectedPods: 2, DisruptionsAllowed: 1}, "b"), shared.typed(t)
	for _, dry := range [][]string{{"All"}, nil} {
		must(struct{}{}, api.PolicyV1().Evictions(ns).Evict(t.Context(), &policyv1.Eviction{
			ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: ns}, DeleteOptions: &metav1.DeleteOptions{DryRun: dry},
		}))(t)
		b := must(api.PolicyV1().PodDisruptionBudgets(ns).Get(t.Context(), "b", metav1.GetOptions{}))(t)
		_, noted := b.Status.DisruptedPods["p"]
		if spent := b.Status.DisruptionsAllowed == 0; spent != (dry == nil) || noted != (dry == nil) {
			t.Errorf("dry run %v: %+v", dry, b.Status)
		}
	}
}

// Of evictions at the same time as many go through as the budget allows, and not one more.
func TestEvictionsRace(t *testing.T) {
	const pods, allowed = 12, 3
	ns, api := budgeted(t, true, nil, policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: 1, CurrentHealthy: pods, DesiredHealthy: pods - allowed, ExpectedPods: pods, DisruptionsAllowed: allowed,
	}, "b"), shared.typed(t)
	for i := range pods {
		pod := bound(t, ns, fmt.Sprint("p-", i))
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
		must(api.CoreV1().Pods(ns).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}))(t)
	}
	errs := make([]error, pods)
	var wg sync.WaitGroup
	for i := range pods {
		wg.Go(func() {
			name := fmt.Sprint("p-", i)
			errs[i] = api.CoreV1().RESTClient().Post().Namespace(ns).Resource("pods").Name(name).SubResource("eviction").MaxRetries(0).
				Body(&policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}}).Do(t.Context()).Error()
		})
	}
	wg.Wait()
	went := 0
	for _, err := range errs {
		switch {
		case err == nil:
			went++
		case !apierrors.IsTooManyRequests(err):
			t.Error(err)
		}
	}
	b := must(api.PolicyV1().PodDisruptionBudgets(ns).Get(t.Context(), "b", metav1.GetOptions{}))(t)
	if went != allowed || b.Status.DisruptionsAllowed != 0 || len(b.Status.DisruptedPods) != allowed {
		t.Errorf("%d pods went, want %d; the budget is %+v", went, allowed, b.Status)
	}
}
