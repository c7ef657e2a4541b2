package core

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func quantities(pairs ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return list
}

func TestDefaultLimitRange(t *testing.T) {
	for _, c := range []struct {
		name     string
		in, want corev1.LimitRangeItem
	}{
		{
			name: "the limit from the maximum, the request from the limit",
			in:   corev1.LimitRangeItem{Type: "Container", Max: quantities("cpu", "1"), Min: quantities("cpu", "100m", "memory", "1Mi")},
			want: corev1.LimitRangeItem{
				Type: "Container", Max: quantities("cpu", "1"), Min: quantities("cpu", "100m", "memory", "1Mi"),
				Default: quantities("cpu", "1"), DefaultRequest: quantities("cpu", "1", "memory", "1Mi"),
			},
		},
		{
			name: "what is given stays",
			in:   corev1.LimitRangeItem{Type: "Container", Default: quantities("cpu", "1"), DefaultRequest: quantities("cpu", "2m"), Max: quantities("cpu", "4")},
			want: corev1.LimitRangeItem{Type: "Container", Default: quantities("cpu", "1"), DefaultRequest: quantities("cpu", "2m"), Max: quantities("cpu", "4")},
		},
		{
			name: "pods have no defaults",
			in:   corev1.LimitRangeItem{Type: "Pod", Max: quantities("cpu", "1")},
			want: corev1.LimitRangeItem{Type: "Pod", Max: quantities("cpu", "1")},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &corev1.LimitRange{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{c.in}}}
			defaultLimitRange(l)
			if diff := cmp.Diff(c.want, l.Spec.Limits[0]); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestValidateLimitRange(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []corev1.LimitRangeItem
		want []string
	}{
		{name: "fine", in: []corev1.LimitRangeItem{
			{
				Type: "Container", Min: quantities("cpu", "100m"), DefaultRequest: quantities("cpu", "200m"), Default: quantities("cpu", "300m"),
				Max: quantities("cpu", "400m"), MaxLimitRequestRatio: quantities("cpu", "4"),
			},
			{Type: "Pod", Max: quantities("memory", "1Gi")},
			{Type: "PersistentVolumeClaim", Max: quantities("storage", "1Gi")},
			{Type: "example.com/other", Max: quantities("pods", "3", "requests.hugepages-2Mi", "2Mi")},
		}},
		{name: "types", in: []corev1.LimitRangeItem{{Type: "Other"}, {Type: "Pod"}, {Type: "Pod"}, {Type: "PersistentVolumeClaim"}, {Type: ""}}, want: []string{
			`spec.limits[0].type: Invalid value: "Other": must be a standard limit type or fully qualified`,
			`spec.limits[2].type: Duplicate value: "Pod"`,
			`spec.limits[3].limits: Required value: either minimum or maximum storage value is required, but neither was provided`,
			`spec.limits[4].type: Invalid value: "": name part must be non-empty`,
			`spec.limits[4].type: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
		}},
		{name: "defaults of pods", in: []corev1.LimitRangeItem{{Type: "Pod", Default: quantities("cpu", "1"), DefaultRequest: quantities("cpu", "1")}}, want: []string{
			"spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
			"spec.limits[0].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'",
		}},
		{name: "names", in: []corev1.LimitRangeItem{
			{Type: "Container", Max: quantities("storage", "1")},
			{Type: "PersistentVolumeClaim", Min: quantities("storage", "1", "other", "1")},
		}, want: []string{
			`spec.limits[0].max[storage]: Invalid value: "storage": must be a standard resource type or fully qualified`,
			`spec.limits[0].max[storage]: Invalid value: "storage": must be a standard resource for containers`,
			`spec.limits[1].min[other]: Invalid value: "other": must be a standard resource type or fully qualified`,
		}},
		{name: "order", in: []corev1.LimitRangeItem{{
			Type: "Container", Min: quantities("cpu", "4"), DefaultRequest: quantities("cpu", "3"), Default: quantities("cpu", "2"), Max: quantities("cpu", "1"),
		}}, want: []string{
			`spec.limits[0].min[cpu]: Invalid value: "4": min value 4 is greater than max value 1`,
			`spec.limits[0].defaultRequest[cpu]: Invalid value: "3": min value 4 is greater than default request value 3`,
			`spec.limits[0].defaultRequest[cpu]: Invalid value: "3": default request value 3 is greater than max value 1`,
			`spec.limits[0].defaultRequest[cpu]: Invalid value: "3": default request value 3 is greater than default limit value 2`,
			`spec.limits[0].default[cpu]: Invalid value: "4": min value 4 is greater than default value 2`,
			`spec.limits[0].default[cpu]: Invalid value: "1": default value 2 is greater than max value 1`,
		}},
		{name: "ratios", in: []corev1.LimitRangeItem{{
			Type: "Container", Min: quantities("cpu", "500m"), Max: quantities("cpu", "1"), MaxLimitRequestRatio: quantities("cpu", "2500m", "memory", "900m"),
		}}, want: []string{
			`spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "2500m": ratio 2500m is greater than max/min = 2.000000`,
			`spec.limits[0].maxLimitRequestRatio[memory]: Invalid value: "900m": ratio 900m is less than 1`,
		}},
		{name: "what cannot be shared", in: []corev1.LimitRangeItem{{
			Type: "Container", DefaultRequest: quantities("example.com/gpu", "1"), Default: quantities("example.com/gpu", "2"),
		}}, want: []string{
			`spec.limits[0].defaultRequest[example.com/gpu]: Invalid value: "1": default value 2 must equal to defaultRequest value 1 in example.com/gpu`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, err := range validateLimitRange(&corev1.LimitRange{Spec: corev1.LimitRangeSpec{Limits: c.in}}, nil) {
				got = append(got, err.Error())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
