package autoscaling

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func quantity(text string) *resource.Quantity {
	q := resource.MustParse(text)
	return &q
}

func good(edit ...func(*autoscalingv2.HorizontalPodAutoscaler)) *autoscalingv2.HorizontalPodAutoscaler {
	h := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MaxReplicas:    10,
		},
	}
	for _, e := range edit {
		e(h)
	}
	defaultAutoscaler(h)
	return h
}

func metrics(list ...autoscalingv2.MetricSpec) func(*autoscalingv2.HorizontalPodAutoscaler) {
	return func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.Metrics = list }
}

var (
	identifier = autoscalingv2.MetricIdentifier{Name: "requests", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}

	objectMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{Kind: "Service", Name: "web", APIVersion: "v1"}, Metric: identifier,
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: quantity("2k")},
	}}
	objectAverage = autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{Kind: "Service", Name: "web"}, Metric: identifier,
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity("100")},
	}}
	podsMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: identifier, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity("100")},
	}}
	memoryMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: corev1.ResourceMemory, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity("1Gi")},
	}}
	containerMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
		Name: corev1.ResourceCPU, Container: "main", Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(50))},
	}}
	externalMetric = autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: identifier, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity("30")},
	}}
)

func TestDefaults(t *testing.T) {
	h := good(func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{
			StabilizationWindowSeconds: new(int32(3)), Tolerance: quantity("50m"),
		}}
	})
	want := h.DeepCopy()
	want.Spec.MinReplicas = new(int32(1))
	want.Spec.Metrics = []autoscalingv2.MetricSpec{cpuUtilization(80)}
	want.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: ScaleUpRules(), ScaleDown: ScaleDownRules()}
	want.Spec.Behavior.ScaleUp.StabilizationWindowSeconds, want.Spec.Behavior.ScaleUp.Tolerance = new(int32(3)), quantity("50m")
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
	again := h.DeepCopy()
	if defaultAutoscaler(again); !cmp.Equal(h, again) {
		t.Error("defaulting twice is not defaulting once")
	}
}

func TestValidate(t *testing.T) {
	edit := func(f func(*autoscalingv2.HorizontalPodAutoscaler)) *autoscalingv2.HorizontalPodAutoscaler {
		return good(f)
	}
	rules := func(f func(*autoscalingv2.HPAScalingRules)) *autoscalingv2.HorizontalPodAutoscaler {
		h := good(func(h *autoscalingv2.HorizontalPodAutoscaler) {
			h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{}
		})
		f(h.Spec.Behavior.ScaleUp)
		return h
	}
	zero := edit(func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.MinReplicas = new(int32(0)) })
	for _, tc := range []struct {
		name     string
		obj, old *autoscalingv2.HorizontalPodAutoscaler
		want     []string
	}{
		{"good", good(), nil, nil},
		{"all metrics", good(metrics(objectMetric, objectAverage, podsMetric, memoryMetric, containerMetric, externalMetric)), nil, nil},
		{"no limits", edit(func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.MaxReplicas = 0 }), nil, []string{
			"spec.maxReplicas: Invalid value: 0: must be greater than 0", "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
		}},
		{"to zero", zero, nil, []string{
			"spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
			"spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
		}},
		{"to zero as ever", edit(func(h *autoscalingv2.HorizontalPodAutoscaler) {
			h.Spec.MinReplicas, h.Spec.Metrics = new(int32(0)), []autoscalingv2.MetricSpec{externalMetric}
		}), zero, nil},
		{"no target", edit(func(h *autoscalingv2.HorizontalPodAutoscaler) {
			h.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{Kind: "a/b", APIVersion: "a/b/c"}
		}), nil, []string{
			`spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c`,
			`spec.scaleTargetRef.kind: Invalid value: "a/b": may not contain '/'`, "spec.scaleTargetRef.name: Required value",
		}},
		{"no source", good(metrics(autoscalingv2.MetricSpec{Type: "Pods"}, autoscalingv2.MetricSpec{Type: "Odd"}, autoscalingv2.MetricSpec{})), nil, []string{
			"spec.metrics[0].pods: Required value: must populate information for the given metric source",
			`spec.metrics[1].type: Unsupported value: "Odd": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"`,
			"spec.metrics[2].type: Required value: must specify a metric source type",
		}},
		{"another's source", good(metrics(autoscalingv2.MetricSpec{Type: "Pods", Pods: podsMetric.Pods, Resource: memoryMetric.Resource})), nil, []string{
			"spec.metrics[0].resource: Forbidden: must populate the given metric source only",
		}},
		{"no targets", good(metrics(
			autoscalingv2.MetricSpec{Type: "Pods", Pods: &autoscalingv2.PodsMetricSource{Target: autoscalingv2.MetricTarget{Type: "Odd", Value: quantity("-1")}}},
			autoscalingv2.MetricSpec{Type: "Resource", Resource: &autoscalingv2.ResourceMetricSource{Target: autoscalingv2.MetricTarget{Type: "Utilization"}}},
			autoscalingv2.MetricSpec{Type: "External", External: &autoscalingv2.ExternalMetricSource{Metric: identifier, Target: autoscalingv2.MetricTarget{Type: "Value", Value: quantity("1"), AverageValue: quantity("0")}}},
			autoscalingv2.MetricSpec{Type: "ContainerResource", ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: "cpu", Target: autoscalingv2.MetricTarget{
				Type: "Utilization", AverageUtilization: new(int32(0)), AverageValue: quantity("1"),
			}}},
		)), nil, []string{
			"spec.metrics[0].pods.metric.name: Required value: must specify a metric name",
			"spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
			`spec.metrics[0].pods.target.type: Invalid value: "Odd": must be either Utilization, Value, or AverageValue`,
			`spec.metrics[0].pods.target.value: Invalid value: "-1": must be positive`,
			"spec.metrics[1].resource.name: Required value: must specify a resource name",
			"spec.metrics[1].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
			`spec.metrics[2].external.target.averageValue: Invalid value: "0": must be positive`,
			"spec.metrics[2].external.target.value: Forbidden: may not set both a target value for metric and a per-pod target",
			"spec.metrics[3].containerResource.container: Required value: must specify a container",
			"spec.metrics[3].containerResource.target.averageUtilization: Invalid value: 0: must be greater than 0",
			"spec.metrics[3].containerResource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization",
		}},
		{"behavior", rules(func(r *autoscalingv2.HPAScalingRules) {
			r.StabilizationWindowSeconds, r.SelectPolicy, r.Tolerance = new(int32(3601)), new(autoscalingv2.ScalingPolicySelect("Odd")), quantity("-1")
			r.Policies = []autoscalingv2.HPAScalingPolicy{{Type: "Odd"}, {Type: "Pods", Value: 1, PeriodSeconds: 1801}}
		}), nil, []string{
			`spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 0: must be greater than zero`,
			`spec.behavior.scaleUp.policies[0].type: Unsupported value: "Odd": supported values: "Percent", "Pods"`,
			`spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero`,
			`spec.behavior.scaleUp.policies[1].periodSeconds: Invalid value: 1801: must be less than or equal to 1800`,
			`spec.behavior.scaleUp.selectPolicy: Unsupported value: "Odd": supported values: "Disabled", "Max", "Min"`,
			`spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600`,
			`spec.behavior.scaleUp.tolerance: Invalid value: "-1": must be greater than or equal to 0`,
		}},
		{"no policies", rules(func(r *autoscalingv2.HPAScalingRules) {
			r.Policies, r.StabilizationWindowSeconds = []autoscalingv2.HPAScalingPolicy{}, new(int32(-1))
		}), nil, []string{
			"spec.behavior.scaleUp.policies: Required value: must specify at least one Policy",
			"spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to zero",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, texts(validateAutoscaler(tc.obj, tc.old))); diff != "" {
				t.Error(diff)
			}
		})
	}
	h := good()
	h.Status.CurrentReplicas, h.Status.DesiredReplicas = -1, -1
	if got := texts(validateAutoscalerStatus(h, nil)); len(got) != 2 {
		t.Error(got)
	}
}

func texts(errs field.ErrorList) []string {
	var out []string
	for _, err := range errs {
		out = append(out, err.Error())
	}
	slices.Sort(out)
	return out
}

func TestColumns(t *testing.T) {
	for _, tc := range []struct {
		name    string
		metrics []autoscalingv2.MetricSpec
		current []autoscalingv2.MetricStatus
		want    string
	}{
		{"nothing known", nil, nil, "cpu: <unknown>/80%"},
		{"cpu", nil, []autoscalingv2.MetricStatus{{Resource: &autoscalingv2.ResourceMetricStatus{Current: autoscalingv2.MetricValueStatus{AverageUtilization: new(int32(7))}}}}, "cpu: 7%/80%"},
		{"two", []autoscalingv2.MetricSpec{memoryMetric, containerMetric}, []autoscalingv2.MetricStatus{
			{Resource: &autoscalingv2.ResourceMetricStatus{Current: autoscalingv2.MetricValueStatus{AverageValue: quantity("12Mi")}}},
			{ContainerResource: &autoscalingv2.ContainerResourceMetricStatus{Current: autoscalingv2.MetricValueStatus{AverageUtilization: new(int32(5))}}},
		}, "memory: 12Mi/1Gi, cpu: 5%/50%"},
		{"many", []autoscalingv2.MetricSpec{podsMetric, objectMetric, externalMetric, objectAverage}, nil, "<unknown>/100, <unknown>/2k + 2 more..."},
		{"outside", []autoscalingv2.MetricSpec{externalMetric, objectMetric}, []autoscalingv2.MetricStatus{
			{External: &autoscalingv2.ExternalMetricStatus{Current: autoscalingv2.MetricValueStatus{AverageValue: quantity("3")}}},
			{Object: &autoscalingv2.ObjectMetricStatus{Current: autoscalingv2.MetricValueStatus{Value: quantity("1k")}}},
		}, "3/30 (avg), 1k/2k"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := good(metrics(tc.metrics...))
			h.Status.CurrentMetrics, h.Status.CurrentReplicas = tc.current, 3
			want := []any{"web", "Deployment/web", tc.want, "1", int64(10), int64(3), "<unknown>"}
			if diff := cmp.Diff(want, HorizontalPodAutoscalers.Resource().Cells(h)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(want, HorizontalPodAutoscalersV1.Resource().Cells(toV1(h))); diff != "" {
				t.Errorf("version 1: %s", diff)
			}
		})
	}
}

// What version 2 says survives version 1, but for the order of a CPU utilization among other metrics.
func TestRoundTrips(t *testing.T) {
	full := good(metrics(objectMetric, objectAverage, podsMetric, memoryMetric, containerMetric, externalMetric, cpuUtilization(33)), func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Annotations = map[string]string{"mine": "stays"}
		h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{Tolerance: quantity("50m")}}
		h.Status = autoscalingv2.HorizontalPodAutoscalerStatus{
			ObservedGeneration: new(int64(3)), CurrentReplicas: 2, DesiredReplicas: 4, LastScaleTime: &metav1.Time{},
			CurrentMetrics: []autoscalingv2.MetricStatus{
				{Type: "Resource", Resource: &autoscalingv2.ResourceMetricStatus{Name: "cpu", Current: autoscalingv2.MetricValueStatus{AverageUtilization: new(int32(9)), AverageValue: quantity("9m")}}},
				{Type: "Object", Object: &autoscalingv2.ObjectMetricStatus{DescribedObject: objectMetric.Object.DescribedObject, Metric: identifier, Current: autoscalingv2.MetricValueStatus{Value: quantity("7")}}},
				{Type: "Pods", Pods: &autoscalingv2.PodsMetricStatus{Metric: identifier, Current: autoscalingv2.MetricValueStatus{AverageValue: quantity("7")}}},
				{Type: "External", External: &autoscalingv2.ExternalMetricStatus{Metric: identifier, Current: autoscalingv2.MetricValueStatus{AverageValue: quantity("7")}}},
				{Type: "ContainerResource", ContainerResource: &autoscalingv2.ContainerResourceMetricStatus{Name: "cpu", Container: "main", Current: autoscalingv2.MetricValueStatus{AverageUtilization: new(int32(1)), AverageValue: quantity("1m")}}},
			},
			Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: "ScalingActive", Status: "True", Reason: "ValidMetricFound", Message: "fine"}},
		}
	})
	for name, h := range map[string]*autoscalingv2.HorizontalPodAutoscaler{"plain": good(), "full": full, "memory alone": good(metrics(memoryMetric))} {
		t.Run(name, func(t *testing.T) {
			before := h.DeepCopy()
			one := toV1(h)
			if diff := cmp.Diff(before, h); diff != "" {
				t.Errorf("the stored object was changed: %s", diff)
			}
			if diff := cmp.Diff(h, fromV1(one.DeepCopy())); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(one, toV1(fromV1(one.DeepCopy()))); diff != "" {
				t.Errorf("the other way round: %s", diff)
			}
		})
	}
}

func TestVersion1(t *testing.T) {
	h := good(metrics(memoryMetric, cpuUtilization(33)), func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{
			Policies: []autoscalingv2.HPAScalingPolicy{{Type: "Pods", Value: 1, PeriodSeconds: 60}},
		}}
	})
	got := toV1(h)
	if *got.Spec.TargetCPUUtilizationPercentage != 33 {
		t.Errorf("target is %d", *got.Spec.TargetCPUUtilizationPercentage)
	}
	want := map[string]string{
		metricsAnnotation: `[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}}]`,
		behaviorAnnotation: `{"ScaleUp":{"StabilizationWindowSeconds":0,"SelectPolicy":"Max","Policies":[{"Type":"Pods","Value":1,"PeriodSeconds":60}],"Tolerance":null},` +
			`"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Max","Policies":[{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":null}}`,
	}
	if diff := cmp.Diff(want, got.Annotations); diff != "" {
		t.Error(diff)
	}
	bad := &autoscalingv1.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		metricsAnnotation: "{", conditionsAnnotation: "[1]", currentAnnotation: "", behaviorAnnotation: "null", "mine": "stays",
	}}}
	bad.Status.CurrentCPUUtilizationPercentage = new(int32(5))
	read := fromV1(bad)
	if diff := cmp.Diff(map[string]string{"mine": "stays"}, read.Annotations); diff != "" || len(read.Spec.Metrics) > 0 || read.Spec.Behavior != nil {
		t.Errorf("%s%+v", diff, read.Spec)
	}
	if fmt.Sprint(*read.Status.CurrentMetrics[0].Resource.Current.AverageUtilization) != "5" {
		t.Errorf("%+v", read.Status)
	}
}
