package horizontalpodautoscaler

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	utilizationMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(50))},
	}}
	memoryMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: corev1.ResourceMemory, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity("100")},
	}}
	containerMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
		Name: corev1.ResourceCPU, Container: "main", Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(50))},
	}}
	podsMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "requests"}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity("10")},
	}}
	objectMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{Kind: "Service", Name: "web", APIVersion: "v1"},
		Metric:          autoscalingv2.MetricIdentifier{Name: "queue"}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: quantity("100")},
	}}
	externalMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "jobs"}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity("5")},
	}}
)

// conditions are status and reason by type.
func conditions(list []autoscalingv2.HorizontalPodAutoscalerCondition) map[string]string {
	out := map[string]string{}
	for _, c := range list {
		out[string(c.Type)] = string(c.Status) + " " + c.Reason
	}
	return out
}

func TestDecide(t *testing.T) {
	use := func(specs []autoscalingv2.MetricSpec, readings ...reading) func(*state) {
		return func(s *state) { s.hpa.Spec.Metrics, s.readings = specs, readings }
	}
	cpu := func(list ...int64) func(*state) {
		return use([]autoscalingv2.MetricSpec{utilizationMetric}, reading{pods: values(list...)})
	}
	limits := func(least, most int32) func(*state) {
		return func(s *state) { s.hpa.Spec.MinReplicas, s.hpa.Spec.MaxReplicas = &least, most }
	}
	broken := reading{err: errors.New("no figures")}
	const fine, scalingFine, unlimited = "True ReadyForNewScale", "True ValidMetricFound", "False DesiredWithinRange"
	two := []autoscalingv2.MetricSpec{utilizationMetric, podsMetric}
	for _, tc := range []struct {
		name    string
		current int32
		edit    []func(*state)
		want    int32 // the size
		why     string
		able    string
		active  string
		limited string
		err     string
	}{
		{"grows", 2, []func(*state){cpu(1000, 1000)}, 4, "cpu resource utilization (percentage of request) above target", fine, scalingFine, unlimited, ""},
		{"stays", 2, []func(*state){cpu(500, 500)}, 2, "", fine, scalingFine, unlimited, ""},
		{"shrinks", 2, []func(*state){cpu(100, 100)}, 1, "All metrics below target", fine, scalingFine, unlimited, ""},
		{"never below the minimum", 2, []func(*state){limits(2, 5), cpu(0, 0)}, 2, "All metrics below target", fine, scalingFine, "True TooFewReplicas", ""},
		{"never above the maximum", 2, []func(*state){limits(1, 3), cpu(1000, 1000)}, 3, "cpu resource utilization (percentage of request) above target", fine, scalingFine, "True TooManyReplicas", ""},
		{"at most doubles", 3, []func(*state){limits(1, 50), cpu(5000, 5000, 5000)}, 6, "cpu resource utilization (percentage of request) above target", fine, scalingFine, "True ScaleUpLimit", ""},
		{"but always to four", 1, []func(*state){limits(1, 50), cpu(9000)}, 4, "cpu resource utilization (percentage of request) above target", fine, scalingFine, "True ScaleUpLimit", ""},
		{"not for long enough", 3, []func(*state){cpu(100, 100, 100), func(s *state) { s.history.recommendations = []moment{{start.Add(-4 * time.Minute), 3}} }}, 3, "All metrics below target", "True ScaleDownStabilized", scalingFine, unlimited, ""},
		{"for long enough", 3, []func(*state){cpu(100, 100, 100), func(s *state) { s.history.recommendations = []moment{{start.Add(-6 * time.Minute), 3}} }}, 1, "All metrics below target", fine, scalingFine, unlimited, ""},

		{"switched off", 0, []func(*state){cpu(9000)}, 0, "", "True SucceededGetScale", "False ScalingDisabled", "", ""},
		{"too many", 9, []func(*state){limits(1, 5)}, 5, "Current number of replicas above Spec.MaxReplicas", "True SucceededGetScale", "", "", ""},
		{"too few", 1, []func(*state){limits(3, 5)}, 3, "Current number of replicas below Spec.MinReplicas", "True SucceededGetScale", "", "", ""},

		{"the one that asks for most", 2, []func(*state){use(two, reading{pods: values(1000, 1000)}, reading{pods: values(30000, 30000)})}, 4 + 0, "pods metric requests above target", fine, scalingFine, "True ScaleUpLimit", ""},
		{"one broken, growing", 2, []func(*state){use(two, broken, reading{pods: values(15000, 15000)})}, 3, "pods metric requests above target", fine, scalingFine, unlimited, "invalid metrics (1 invalid out of 2), first error is: failed to get cpu resource metric value: failed to get cpu utilization: no figures"},
		{"one broken, shrinking", 2, []func(*state){use(two, broken, reading{pods: values(1000, 1000)})}, 0, "", "True SucceededGetScale", "False FailedGetResourceMetric", "", "failed to compute desired number of replicas based on listed metrics for Deployment/default/web: invalid metrics (1 invalid out of 2), first error is: failed to get cpu resource metric value: failed to get cpu utilization: no figures"},
		{"all broken", 2, []func(*state){use([]autoscalingv2.MetricSpec{podsMetric}, broken)}, 0, "", "True SucceededGetScale", "False FailedGetPodsMetric", "", "failed to compute desired number of replicas based on listed metrics for Deployment/default/web: invalid metrics (1 invalid out of 1), first error is: failed to get pods metric value: no figures"},
		{"of no known type", 2, []func(*state){use([]autoscalingv2.MetricSpec{{Type: "Odd"}}, reading{})}, 0, "", "True SucceededGetScale", "False InvalidMetricSourceType", "", `failed to compute desired number of replicas based on listed metrics for Deployment/default/web: invalid metrics (1 invalid out of 1), first error is: unknown metric source type "Odd"`},
		{"whose pods are unknown", 2, []func(*state){cpu(1), func(s *state) { _, s.selector = parseSelector("") }}, 0, "", "True SucceededGetScale", "False InvalidSelector", "", "failed to compute desired number of replicas based on listed metrics for Deployment/default/web: selector is required"},

		{"a raw value", 2, []func(*state){use([]autoscalingv2.MetricSpec{memoryMetric}, reading{pods: values(200000, 200000)})}, 4, "memory resource above target", fine, scalingFine, unlimited, ""},
		{"of one container", 2, []func(*state){use([]autoscalingv2.MetricSpec{containerMetric}, reading{pods: values(1000, 1000)})}, 4, "cpu container resource utilization (percentage of request) above target", fine, scalingFine, unlimited, ""},
		{"of an object", 2, []func(*state){use([]autoscalingv2.MetricSpec{objectMetric}, reading{value: 150000})}, 3, "Service metric queue above target", fine, scalingFine, unlimited, ""},
		{"of an object, near enough", 2, []func(*state){use([]autoscalingv2.MetricSpec{objectMetric}, reading{value: 105000})}, 2, "", fine, scalingFine, unlimited, ""},
		{"from outside, for each pod", 2, []func(*state){use([]autoscalingv2.MetricSpec{externalMetric}, reading{value: 18000})}, 4, "external metric jobs(nil) above target", fine, scalingFine, unlimited, ""},
		{"from outside, near enough", 2, []func(*state){use([]autoscalingv2.MetricSpec{externalMetric}, reading{value: 10500})}, 2, "", fine, scalingFine, unlimited, ""},
		{"up from zero", 0, []func(*state){limits(0, 5), use([]autoscalingv2.MetricSpec{objectMetric}, reading{value: 150000})}, 2, "Service metric queue above target", fine, scalingFine, unlimited, ""},
		{"up from zero for each pod", 0, []func(*state){limits(0, 5), use([]autoscalingv2.MetricSpec{externalMetric}, reading{value: 11000})}, 3, "external metric jobs(nil) above target", fine, scalingFine, unlimited, ""},
		{"stays at zero", 0, []func(*state){limits(0, 5), use([]autoscalingv2.MetricSpec{objectMetric}, reading{value: 0})}, 0, "", fine, scalingFine, unlimited, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := testState(tc.current)
			for n := range int(tc.current) {
				s.pods = append(s.pods, pod(n))
			}
			// A size that was recommended long ago lets it shrink at once.
			s.history.recommendations = []moment{{start.Add(-time.Hour), tc.current}}
			for _, e := range tc.edit {
				e(s)
			}
			p := decide(*s)
			want := map[string]string{"AbleToScale": tc.able}
			if tc.active != "" {
				want["ScalingActive"] = tc.active
			}
			if tc.limited != "" {
				want["ScalingLimited"] = tc.limited
			}
			if diff := cmp.Diff(want, conditions(p.status.Conditions)); diff != "" {
				t.Errorf("conditions: %s", diff)
			}
			if p.status.DesiredReplicas != tc.want || p.why != tc.why || errText(p.err) != tc.err || p.rescale != (tc.want != tc.current && tc.err == "" || tc.name == "one broken, growing") {
				t.Errorf("%d replicas (rescale: %v), %q, error %q; want %d, %q, error %q", p.status.DesiredReplicas, p.rescale, p.why, errText(p.err), tc.want, tc.why, tc.err)
			}
			if p.status.CurrentReplicas != tc.current || len(s.hpa.Status.Conditions) > 0 {
				t.Errorf("status is %+v, before it was %+v", p.status, s.hpa.Status)
			}
		})
	}
}

// What was measured is told of every metric in its place; of one that could not be read, nothing.
func TestCurrentMetrics(t *testing.T) {
	s := testState(2, pod(0), pod(1))
	s.hpa.Spec.Metrics = []autoscalingv2.MetricSpec{utilizationMetric, memoryMetric, containerMetric, podsMetric, objectMetric, externalMetric}
	s.readings = []reading{{pods: values(600, 600)}, {err: errors.New("x")}, {pods: values(1, 3)}, {pods: values(7000, 8000)}, {value: 90000}, {value: 13000}}
	got := decide(*s).status.CurrentMetrics
	want := []autoscalingv2.MetricStatus{
		{Type: "Resource", Resource: &autoscalingv2.ResourceMetricStatus{Name: "cpu", Current: autoscalingv2.MetricValueStatus{AverageUtilization: new(int32(60)), AverageValue: quantity("600m")}}},
		{},
		{Type: "ContainerResource", ContainerResource: &autoscalingv2.ContainerResourceMetricStatus{Name: "cpu", Container: "main", Current: autoscalingv2.MetricValueStatus{AverageUtilization: new(int32(0)), AverageValue: quantity("2m")}}},
		{Type: "Pods", Pods: &autoscalingv2.PodsMetricStatus{Metric: autoscalingv2.MetricIdentifier{Name: "requests"}, Current: autoscalingv2.MetricValueStatus{AverageValue: quantity("7500m")}}},
		{Type: "Object", Object: &autoscalingv2.ObjectMetricStatus{DescribedObject: objectMetric.Object.DescribedObject, Metric: autoscalingv2.MetricIdentifier{Name: "queue"}, Current: autoscalingv2.MetricValueStatus{Value: quantity("90")}}},
		{Type: "External", External: &autoscalingv2.ExternalMetricStatus{Metric: autoscalingv2.MetricIdentifier{Name: "jobs"}, Current: autoscalingv2.MetricValueStatus{AverageValue: quantity("6500m")}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestScaled(t *testing.T) {
	s := testState(2, pod(0), pod(1))
	s.hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{}
	s.hpa.Spec.Metrics, s.readings = []autoscalingv2.MetricSpec{utilizationMetric}, []reading{{pods: values(1000, 1000)}}
	good := decide(*s)
	good.scaled(s.hpa, nil)
	why := "cpu resource utilization (percentage of request) above target"
	if diff := cmp.Diff([]notice{{"Normal", "SuccessfulRescale", "New size: 4; reason: " + why}}, good.events, cmp.AllowUnexported(notice{})); diff != "" {
		t.Error(diff)
	}
	if got := conditions(good.status.Conditions)["AbleToScale"]; got != "True SucceededRescale" || !good.status.LastScaleTime.Equal(&metav1.Time{Time: start}) {
		t.Errorf("%s at %v", got, good.status.LastScaleTime)
	}
	if diff := cmp.Diff([]moment{{start, 2}}, good.history.ups, cmp.AllowUnexported(moment{})); diff != "" {
		t.Error(diff)
	}
	bad := decide(*s)
	bad.scaled(s.hpa, errors.New("conflict"))
	if diff := cmp.Diff([]notice{{"Warning", "FailedRescale", "New size: 4; reason: " + why + "; error: conflict"}}, bad.events, cmp.AllowUnexported(notice{})); diff != "" {
		t.Error(diff)
	}
	if got := conditions(bad.status.Conditions)["AbleToScale"]; got != "False FailedUpdateScale" || bad.status.LastScaleTime != nil || len(bad.history.ups) > 0 || bad.err == nil {
		t.Errorf("%s at %v: %v", got, bad.status.LastScaleTime, bad.err)
	}
}

// The time of a condition is that of its last change of status.
func TestConditionTimes(t *testing.T) {
	s := testState(2, pod(0), pod(1))
	s.hpa.Spec.Metrics, s.readings = []autoscalingv2.MetricSpec{utilizationMetric}, []reading{{pods: values(500, 500)}}
	s.hpa.Status = decide(*s).status
	s.now = start.Add(time.Minute)
	if diff := cmp.Diff(s.hpa.Status, decide(*s).status); diff != "" {
		t.Errorf("without news: %s", diff)
	}
	s.readings = []reading{{err: errors.New("x")}}
	for _, c := range decide(*s).status.Conditions {
		if c.Type == autoscalingv2.ScalingActive && !c.LastTransitionTime.Equal(&metav1.Time{Time: s.now}) {
			t.Errorf("%s changed at %v", c.Type, c.LastTransitionTime)
		}
	}
}
