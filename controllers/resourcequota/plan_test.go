package resourcequota

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/quota"
)

func list(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func TestPlan(t *testing.T) {
	pods, jobs := schema.GroupResource{Resource: "pods"}, schema.GroupResource{Group: "batch", Resource: "jobs"}
	pod := func(phase corev1.PodPhase, cpu string) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{Phase: phase}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: list("cpu", cpu)}}}}}
	}
	busy := objects{pods: {pod(corev1.PodRunning, "1"), pod(corev1.PodRunning, "500m"), pod(corev1.PodSucceeded, "4")}}
	busy[pods][0].SetUID("seen")
	counted := corev1.ResourceQuotaStatus{Hard: list("pods", "5"), Used: list("pods", "2")}
	for _, tc := range []struct {
		name     string
		q        corev1.ResourceQuota
		all      objects
		underWay []quota.Charge
		want     string
		changed  bool
	}{
		{"nothing is there", corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("pods", "5", "requests.cpu", "2", "count/jobs.batch", "1")}}, objects{pods: nil, jobs: nil}, nil, "count/jobs.batch=0,pods=0,requests.cpu=0", true},
		{"pods that run", corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("pods", "5", "cpu", "2", "count/pods", "9")}}, busy, nil, "count/pods=3,cpu=1500m,pods=2", true},
		{"and those under way", corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("pods", "5")}}, busy, []quota.Charge{
			{Object: "new", Use: list("pods", "1", "cpu", "1")},
			{Object: "seen", Use: list("pods", "1")},
			{Use: list("pods", "2")},
		}, "pods=5", true},
		{"out of scope", corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("pods", "5"), Scopes: []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}}}, busy, nil, "pods=0", true},
		{"of any kind", corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("count/jobs.batch", "5")}}, objects{jobs: []api.Object{&metav1.PartialObjectMetadata{}}}, nil, "count/jobs.batch=1", true},
		{"of no kind", corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("count/odd.example.com", "5")}}, objects{}, nil, "", true},
		{"as before", corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("pods", "5")}, Status: counted}, busy, nil, "pods=2", false},
		{"as before, limited otherwise", corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("pods", "6")}, Status: counted}, busy, nil, "pods=2", true},
	} {
		status, changed := plan(&tc.q, tc.all, tc.underWay)
		if diff := cmp.Diff(tc.want, quota.Text(status.Used)) + cmp.Diff(quota.Text(tc.q.Spec.Hard), quota.Text(status.Hard)); diff != "" || changed != tc.changed {
			t.Errorf("%s: changed %t %s", tc.name, changed, diff)
		}
	}
}
