package quota

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gantryio/gantry/core/api"
)

func list(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func pod(edits ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	for _, e := range edits {
		e(p)
	}
	return p
}

func asks(requests, limits corev1.ResourceList) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: requests, Limits: limits}
	}
}

func TestUsage(t *testing.T) {
	pods, services := schema.GroupResource{Resource: "pods"}, schema.GroupResource{Resource: "services"}
	claims, jobs := schema.GroupResource{Resource: "persistentvolumeclaims"}, schema.GroupResource{Group: "batch", Resource: "jobs"}
	ports := []corev1.ServicePort{{Port: 1, NodePort: 30001}, {Port: 2}}
	claim := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("fast"), Resources: corev1.VolumeResourceRequirements{Requests: list("storage", "2Gi")}}}
	grows := claim.DeepCopy()
	grows.Status.AllocatedResources = list("storage", "5Gi")
	for _, tc := range []struct {
		name string
		gr   schema.GroupResource
		obj  api.Object
		want string
	}{
		{"a job", jobs, &metav1.PartialObjectMetadata{}, "count/jobs.batch=1"},
		{"a secret", schema.GroupResource{Resource: "secrets"}, &corev1.Secret{}, "count/secrets=1,secrets=1"},
		{"a pod that asks for nothing", pods, pod(), "count/pods=1,pods=1"},
		{
			"a pod", pods, pod(asks(list("cpu", "1", "memory", "1Gi", "example.com/gpu", "2", "hugepages-2Mi", "4Mi"), list("cpu", "2"))),
			"count/pods=1,cpu=1,hugepages-2Mi=4Mi,limits.cpu=2,memory=1Gi,pods=1,requests.cpu=1,requests.example.com/gpu=2,requests.hugepages-2Mi=4Mi,requests.memory=1Gi",
		},
		{"a pod that has ended", pods, pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), "count/pods=1"},
		{"a service", services, &corev1.Service{Spec: corev1.ServiceSpec{Ports: ports}}, "count/services=1,services=1,services.loadbalancers=0,services.nodeports=0"},
		{"node ports", services, &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: ports}}, "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2"},
		{"a load balancer", services, &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: ports}}, "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2"},
		{"a load balancer without node ports", services, &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: new(false), Ports: ports}}, "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1"},
		{"a claim", claims, claim, "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/requests.storage=2Gi,persistentvolumeclaims=1,requests.storage=2Gi"},
		{"a claim that grew", claims, grows, "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/requests.storage=5Gi,persistentvolumeclaims=1,requests.storage=5Gi"},
	} {
		if diff := cmp.Diff(tc.want, Text(Usage(tc.gr, tc.obj))); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
		for name := range Usage(tc.gr, tc.obj) {
			if !Counts(tc.gr, name) {
				t.Errorf("%s: %s is used and not counted", tc.name, name)
			}
		}
	}
}

func TestInScope(t *testing.T) {
	of := func(scopes ...corev1.ResourceQuotaScope) corev1.ResourceQuotaSpec {
		return corev1.ResourceQuotaSpec{Scopes: scopes}
	}
	selects := func(scope corev1.ResourceQuotaScope, op corev1.ScopeSelectorOperator, values ...string) corev1.ResourceQuotaSpec {
		return corev1.ResourceQuotaSpec{ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{{ScopeName: scope, Operator: op, Values: values}}}}
	}
	deadline := func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = new(int64(5)) }
	class := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.PriorityClassName = name }
	}
	abroad := func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{Namespaces: []string{"x"}}}}}
	}
	gold := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{VolumeAttributesClassName: new("gold")}}
	for _, tc := range []struct {
		name string
		spec corev1.ResourceQuotaSpec
		obj  api.Object
		want bool
	}{
		{"no scope", of(), pod(), true},
		{"no scope, no pod", of(), &corev1.Service{}, true},
		{"a scope, no pod", of(corev1.ResourceQuotaScopeNotTerminating), &corev1.Service{}, false},
		{"terminating", of(corev1.ResourceQuotaScopeTerminating), pod(deadline), true},
		{"not terminating", of(corev1.ResourceQuotaScopeNotTerminating), pod(deadline), false},
		{"best effort", of(corev1.ResourceQuotaScopeBestEffort), pod(), true},
		{"not best effort", of(corev1.ResourceQuotaScopeNotBestEffort), pod(asks(nil, list("cpu", "1"))), true},
		{"both", of(corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeTerminating), pod(), false},
		{"a class", selects(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpIn, "high", "low"), pod(class("high")), true},
		{"another class", selects(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpIn, "low"), pod(class("high")), false},
		{"not that class", selects(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpNotIn, "low"), pod(class("high")), true},
		{"any class", selects(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpExists), pod(), false},
		{"no class", selects(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpDoesNotExist), pod(), true},
		{"affinity abroad", of(corev1.ResourceQuotaScopeCrossNamespacePodAffinity), pod(abroad), true},
		{"no affinity abroad", of(corev1.ResourceQuotaScopeCrossNamespacePodAffinity), pod(), false},
		{"attributes", selects(corev1.ResourceQuotaScopeVolumeAttributesClass, corev1.ScopeSelectorOpIn, "gold"), gold, true},
		{"other attributes", selects(corev1.ResourceQuotaScopeVolumeAttributesClass, corev1.ScopeSelectorOpIn, "silver"), gold, false},
	} {
		if got := InScope(&tc.spec, tc.obj); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}

func TestUnspokenAndOver(t *testing.T) {
	if got, want := Unspoken(list("limits.cpu", "1", "memory", "1", "pods", "3"), pod(asks(list("memory", "1"), nil))), "must specify limits.cpu for: c"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Unspoken(list("cpu", "1"), pod(func(p *corev1.Pod) { p.Spec.Resources = &corev1.ResourceRequirements{Requests: list("cpu", "1")} })); got != "" {
		t.Errorf("%q for a pod that speaks for its containers", got)
	}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Status: corev1.ResourceQuotaStatus{Hard: list("cpu", "2", "pods", "3", "memory", "1Gi"), Used: list("cpu", "1500m", "pods", "3", "memory", "0")}}
	if got, want := Over(q, list("cpu", "600m", "pods", "1", "memory", "1Gi")), "exceeded quota: q, requested: cpu=600m,pods=1, used: cpu=1500m,pods=3, limited: cpu=2,pods=3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Over(q, list("cpu", "500m", "memory", "1Gi")); got != "" {
		t.Error(got)
	}
}
