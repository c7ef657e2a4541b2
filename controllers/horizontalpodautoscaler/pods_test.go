package horizontalpodautoscaler

import (
	"fmt"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func quantity(text string) *resource.Quantity { return new(resource.MustParse(text)) }

// pod is one that has been ready for an hour and requests a core.
func pod(n int, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("pod-", n), Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: *quantity("1"), corev1.ResourceMemory: *quantity("1Ki")},
		}}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: start.Add(-time.Hour)},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(start.Add(-time.Hour))}},
		},
	}
	for _, e := range edit {
		e(p)
	}
	return p
}

func pending(p *corev1.Pod)   { p.Status.Phase = corev1.PodPending }
func deleted(p *corev1.Pod)   { p.DeletionTimestamp = &metav1.Time{Time: start} }
func crashed(p *corev1.Pod)   { p.Status.Phase = corev1.PodFailed }
func noReady(p *corev1.Pod)   { p.Status.Conditions = nil }
func greedless(p *corev1.Pod) { p.Spec.Containers[0].Resources = corev1.ResourceRequirements{} }

// began makes a pod that started and became ready, or unready, some time ago.
func began(startedAgo, changedAgo time.Duration, ready corev1.ConditionStatus) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.StartTime = &metav1.Time{Time: start.Add(-startedAgo)}
		p.Status.Conditions[0].Status = ready
		p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(start.Add(-changedAgo))
	}
}

func sidecar(requests bool) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := corev1.Container{Name: "side", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}
		if requests {
			c.Resources = p.Spec.Containers[0].Resources
		}
		p.Spec.InitContainers = []corev1.Container{{Name: "once"}, c}
	}
}

// values are measurements of pod-0, pod-1…, in thousandths, over the last minute; a negative one is missing.
func values(list ...int64) map[string]podMetric {
	out := map[string]podMetric{}
	for i, v := range list {
		if v >= 0 {
			out[fmt.Sprint("pod-", i)] = podMetric{value: v, at: start, window: time.Minute}
		}
	}
	return out
}

func testState(current int32, pods ...*corev1.Pod) *state {
	return &state{
		hpa: &autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
				MinReplicas:    new(int32(1)), MaxReplicas: 100,
			},
		},
		scale: &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: current}, Status: autoscalingv1.ScaleStatus{Replicas: current, Selector: "app=web"}},
		pods:  pods, now: start, Settings: Settings{}.withDefaults(),
	}
}

func TestUtilization(t *testing.T) {
	three := []*corev1.Pod{pod(0), pod(1), pod(2)}
	with := func(third ...func(*corev1.Pod)) []*corev1.Pod { return []*corev1.Pod{pod(0), pod(1), pod(2, third...)} }
	for _, tc := range []struct {
		name    string
		current int32 // as many as there are pods, when 0
		pods    []*corev1.Pod
		metrics map[string]podMetric
		target  int32
		want    int32
		percent int32
		err     string
	}{
		{name: "more", pods: three, metrics: values(300, 500, 700), target: 30, want: 5, percent: 50},
		{name: "fewer", pods: three, metrics: values(100, 100, 100), target: 50, want: 1, percent: 10},
		{name: "near enough above", pods: three, metrics: values(1010, 1030, 1020), target: 100, want: 3, percent: 102},
		{name: "at the edge of what is near enough", pods: three, metrics: values(1100, 1100, 1100), target: 100, want: 3, percent: 110},
		{name: "not near enough", pods: three, metrics: values(1120, 1120, 1120), target: 100, want: 4, percent: 112},
		{name: "near enough below", pods: three, metrics: values(900, 900, 900), target: 100, want: 3, percent: 90},
		{name: "idle", pods: three, metrics: values(0, 0, 0), target: 50, want: 0, percent: 0},

		{name: "one pending keeps growth down", pods: with(pending), metrics: values(1000, 1000, -1), target: 50, want: 4, percent: 100},
		{name: "one pending takes no part in shrinking", pods: with(pending), metrics: values(100, 100, -1), target: 50, want: 1, percent: 10},
		{name: "one missing keeps growth down", pods: three, metrics: values(1000, 1000, -1), target: 50, want: 4, percent: 100},
		{name: "one missing counts as full when shrinking", pods: three, metrics: values(100, 100, -1), target: 50, want: 3, percent: 10},
		{name: "missing ones turn shrinking round: stay", pods: three, metrics: values(400, -1, -1), target: 50, want: 3, percent: 40},
		{name: "one missing, as it should be", pods: three, metrics: values(500, 500, -1), target: 50, want: 3, percent: 50},
		{name: "a target above what is requested is what a missing one uses", pods: three, metrics: values(1500, 1500, -1), target: 200, want: 3, percent: 150},
		{name: "a pod too many for a while, of which nothing is known", current: 2, pods: three, metrics: values(100, 100, -1), target: 50, want: 2, percent: 10},
		{name: "a missing one makes growth too small to matter", pods: three, metrics: values(1600, 1600, -1), target: 100, want: 3, percent: 160},
		{name: "missing and pending", pods: []*corev1.Pod{pod(0), pod(1), pod(2, pending), pod(3)}, metrics: values(2000, 2000, -1, -1), target: 50, want: 8, percent: 200},

		{name: "one being deleted does not matter", pods: with(deleted), metrics: values(1000, 1000, 9000), target: 50, want: 4, percent: 100},
		{name: "nor one that failed", pods: with(crashed), metrics: values(1000, 1000, 9000), target: 50, want: 4, percent: 100},
		{name: "one without readiness begins", pods: with(noReady), metrics: values(1000, 1000, 9000), target: 50, want: 4, percent: 100},
		{name: "a young unready one begins", pods: with(began(time.Minute, time.Minute, corev1.ConditionFalse)), metrics: values(1000, 1000, 9000), target: 50, want: 4, percent: 100},
		{name: "a young one that became ready within the window begins", pods: with(began(2*time.Minute, 30*time.Second, corev1.ConditionTrue)), metrics: values(1000, 1000, 9000), target: 50, want: 4, percent: 100},
		{name: "a young one that was ready all the window counts", pods: with(began(3*time.Minute, 2*time.Minute, corev1.ConditionTrue)), metrics: values(1000, 1000, 1000), target: 50, want: 6, percent: 100},
		{name: "an old one that was never ready begins", pods: with(began(time.Hour, time.Hour-10*time.Second, corev1.ConditionFalse)), metrics: values(1000, 1000, 9000), target: 50, want: 4, percent: 100},
		{name: "an old one that was ready once counts", pods: with(began(time.Hour, time.Minute, corev1.ConditionFalse)), metrics: values(1000, 1000, 1000), target: 50, want: 6, percent: 100},

		{name: "containers are added up", pods: []*corev1.Pod{pod(0, sidecar(true))}, metrics: values(1000), target: 25, want: 2, percent: 50},
		{name: "strangers are left out", pods: []*corev1.Pod{pod(0)}, metrics: values(500, 9000), target: 50, want: 1, percent: 50},
		{name: "no request", pods: with(greedless), metrics: values(1, 1, 1), target: 50, err: "missing request for cpu in container main of Pod pod-2"},
		{name: "no request of a sidecar", pods: with(sidecar(false)), metrics: values(1, 1, 1), target: 50, err: "missing request for cpu in container side of Pod pod-2"},
		{name: "no pods", metrics: values(1), target: 50, err: "no pods returned by selector while calculating replica count"},
		{name: "none ready", pods: with()[2:], metrics: map[string]podMetric{}, target: 50, err: "did not receive metrics for any ready pods"},
		{name: "only strangers", pods: []*corev1.Pod{pod(7)}, metrics: values(500), target: 50, err: "no metrics returned matched known pods"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.current == 0 {
				tc.current = int32(len(tc.pods))
			}
			s := testState(tc.current, tc.pods...)
			got, percent, _, err := s.byUtilization(tc.metrics, tc.target, corev1.ResourceCPU, "")
			if errText(err) != tc.err || got != tc.want || percent != tc.percent {
				t.Errorf("%d replicas at %d%%, %q; want %d at %d%%, %q", got, percent, errText(err), tc.want, tc.percent, tc.err)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestValues(t *testing.T) {
	three := []*corev1.Pod{pod(0), pod(1), pod(2)}
	for _, tc := range []struct {
		name    string
		pods    []*corev1.Pod
		metrics map[string]podMetric
		target  int64
		want    int32
		average int64
		err     string
	}{
		{name: "more", pods: three, metrics: values(20000, 10000, 30000), target: 15000, want: 4, average: 20000},
		{name: "fewer", pods: three, metrics: values(12000, 12000, 12000), target: 20000, want: 2, average: 12000},
		{name: "near enough", pods: three, metrics: values(20666, 20000, 20000), target: 20000, want: 3, average: 20222},
		{name: "unready ones count where it is not CPU", pods: []*corev1.Pod{pod(0), pod(1, began(time.Minute, time.Minute, corev1.ConditionFalse))}, metrics: values(50000, 15000), target: 15000, want: 5, average: 32500},
		{name: "missing ones have none when growing", pods: three, metrics: values(50000, -1, -1), target: 15000, want: 4, average: 50000},
		{name: "and their share when shrinking", pods: three, metrics: values(10000, 10000, -1), target: 20000, want: 2, average: 10000},
		{name: "one pending has none", pods: []*corev1.Pod{pod(0), pod(1, pending)}, metrics: values(30000, -1), target: 10000, want: 3, average: 30000},
		{name: "no pods", metrics: values(1), target: 50, err: "no pods returned by selector while calculating replica count"},
		{name: "none measured", pods: three, metrics: values(), target: 50, err: "did not receive metrics for any ready pods"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := testState(int32(len(tc.pods)), tc.pods...)
			got, average, err := s.byValues(tc.metrics, tc.target, "")
			if errText(err) != tc.err || got != tc.want || average != tc.average {
				t.Errorf("%d replicas at %d, %q; want %d at %d, %q", got, average, errText(err), tc.want, tc.average, tc.err)
			}
		})
	}
}

func TestToleranceOfDirections(t *testing.T) {
	s := testState(3)
	s.hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{
		ScaleUp: &autoscalingv2.HPAScalingRules{Tolerance: quantity("0.3")}, ScaleDown: &autoscalingv2.HPAScalingRules{Tolerance: quantity("0")},
	}
	for ratio, want := range map[float64]bool{1.3: true, 1.31: false, 1: true, 0.99: false} {
		if s.tolerable(ratio) != want {
			t.Errorf("tolerable(%v) is %v", ratio, !want)
		}
	}
}
