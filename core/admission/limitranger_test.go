package admission

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
)

func quantities(pairs ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return list
}

func limitRange(namespace string, items ...corev1.LimitRangeItem) *corev1.LimitRange {
	return &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "limits"}, Spec: corev1.LimitRangeSpec{Limits: items}}
}

func limitedPod(namespace string, requests, limits corev1.ResourceList) *corev1.Pod {
	r := corev1.ResourceRequirements{Requests: requests, Limits: limits}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "p"}, Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "i", Resources: *r.DeepCopy()}},
		Containers:     []corev1.Container{{Name: "c", Resources: *r.DeepCopy()}},
	}}
}

func TestLimitRangerDefaults(t *testing.T) {
	p := LimitRanger{reader(t, limitRange("a", corev1.LimitRangeItem{
		Type: corev1.LimitTypeContainer, Default: quantities("cpu", "1", "memory", "1Gi"), DefaultRequest: quantities("cpu", "100m", "memory", "1Mi"),
	}), limitRange("max", corev1.LimitRangeItem{Type: corev1.LimitTypePod, Max: quantities("cpu", "1")}))}
	for _, c := range []struct {
		name             string
		pod              *corev1.Pod
		requests, limits corev1.ResourceList
		note             string
	}{
		{
			name: "nothing given", pod: limitedPod("a", nil, nil),
			requests: quantities("cpu", "100m", "memory", "1Mi"), limits: quantities("cpu", "1", "memory", "1Gi"),
			note: "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c; " +
				"cpu, memory request for init container i; cpu, memory limit for init container i",
		},
		{
			name: "a part given", pod: limitedPod("a", quantities("cpu", "2", "memory", "2Mi"), quantities("cpu", "2")),
			requests: quantities("cpu", "2", "memory", "2Mi"), limits: quantities("cpu", "2", "memory", "1Gi"),
			note: "LimitRanger plugin set: memory limit for container c; memory limit for init container i",
		},
		{name: "elsewhere", pod: limitedPod("b", nil, nil)},
		{name: "no defaults", pod: limitedPod("max", nil, nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := p.Admit(t.Context(), attributes(Create, nil, c.pod, nil)); err != nil {
				t.Fatal(err)
			}
			for _, got := range []corev1.ResourceRequirements{c.pod.Spec.Containers[0].Resources, c.pod.Spec.InitContainers[0].Resources} {
				if diff := cmp.Diff(corev1.ResourceRequirements{Requests: c.requests, Limits: c.limits}, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			}
			if got := c.pod.Annotations[limitAnnotation]; got != c.note {
				t.Errorf("annotation %q, want %q", got, c.note)
			}
		})
	}
	old := limitedPod("a", nil, nil)
	if err := p.Admit(t.Context(), attributes(Update, nil, old.DeepCopy(), old)); err != nil || old.Annotations != nil {
		t.Errorf("an update: %v, %v", err, old.Annotations)
	}
}

func TestLimitRangerRefuses(t *testing.T) {
	p := LimitRanger{reader(t,
		limitRange("c", corev1.LimitRangeItem{
			Type: corev1.LimitTypeContainer, Min: quantities("cpu", "100m"), Max: quantities("cpu", "1"), MaxLimitRequestRatio: quantities("cpu", "2"),
		}),
		limitRange("p", corev1.LimitRangeItem{Type: corev1.LimitTypePod, Max: quantities("cpu", "1")}),
		limitRange("v", corev1.LimitRangeItem{Type: corev1.LimitTypePersistentVolumeClaim, Min: quantities("storage", "1Gi"), Max: quantities("storage", "2Gi")}),
	)}
	claim := func(list corev1.ResourceList) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "v", Name: "v"},
			Spec:       corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{Requests: list}},
		}
	}
	two := limitedPod("p", nil, quantities("cpu", "600m"))
	two.Spec.Containers = append(two.Spec.Containers, two.Spec.Containers[0])
	for _, c := range []struct {
		name string
		obj  api.Object
		code int32
		part string
	}{
		{name: "fine", obj: limitedPod("c", quantities("cpu", "500m"), quantities("cpu", "1"))},
		{name: "too little", obj: limitedPod("c", quantities("cpu", "50m"), quantities("cpu", "100m")), code: 403, part: "minimum cpu usage per Container is 100m, but request is 50m"},
		{name: "no request", obj: limitedPod("c", nil, quantities("cpu", "1")), code: 403, part: "minimum cpu usage per Container is 100m.  No request is specified"},
		{name: "too much", obj: limitedPod("c", quantities("cpu", "1"), quantities("cpu", "2")), code: 403, part: "maximum cpu usage per Container is 1, but limit is 2"},
		{name: "no limit", obj: limitedPod("c", quantities("cpu", "1"), nil), code: 403, part: "maximum cpu usage per Container is 1.  No limit is specified"},
		{name: "ratio", obj: limitedPod("c", quantities("cpu", "200m"), quantities("cpu", "1")), code: 403, part: "cpu max limit to request ratio per Container is 2, but provided ratio is 5.000000"},
		{name: "pod", obj: limitedPod("p", nil, quantities("cpu", "600m"))},
		{name: "pod of two", obj: two, code: 403, part: "maximum cpu usage per Pod is 1, but limit is 1200m"},
		{name: "claim", obj: claim(quantities("storage", "1Gi"))},
		{name: "small claim", obj: claim(quantities("storage", "1Mi")), code: 403, part: "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"},
		{name: "large claim", obj: claim(quantities("storage", "3Gi")), code: 403, part: "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"},
		{name: "nothing of the kind", obj: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "c", Name: "m"}}},
	} {
		refused(t, c.name, p.Validate(t.Context(), attributes(Create, nil, c.obj, nil)), c.code, c.part)
	}
	pod := limitedPod("c", nil, nil)
	refused(t, "an update of a pod", p.Validate(t.Context(), attributes(Update, nil, pod, pod)), 0, "")
	refused(t, "an update of a claim", p.Validate(t.Context(), attributes(Update, nil, claim(quantities("storage", "3Gi")), claim(nil))), 403, "maximum")
}
