package resourcequota

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/quota"
)

// objects are those of a namespace that a quota may count, by kind. Kinds of which there are none are there too.
type objects map[schema.GroupResource][]api.Object

// plan returns the status that the quota should have; underWay is what has been let in and may not be among the objects yet.
func plan(q *corev1.ResourceQuota, all objects, underWay []quota.Charge) (status corev1.ResourceQuotaStatus, changed bool) {
	status = corev1.ResourceQuotaStatus{Hard: quota.Add(q.Spec.Hard, nil), Used: corev1.ResourceList{}}
	seen := map[types.UID]bool{}
	for gr, list := range all {
		for name := range q.Spec.Hard {
			if _, ok := status.Used[name]; !ok && quota.Counts(gr, name) {
				status.Used[name] = *resource.NewQuantity(0, resource.DecimalSI)
			}
		}
		for _, obj := range list {
			seen[obj.GetUID()] = true
			if quota.InScope(&q.Spec, obj) {
				status.Used = quota.Add(status.Used, quota.Only(quota.Usage(gr, obj), q.Spec.Hard))
			}
		}
	}
	for _, c := range underWay {
		if c.Object == "" || !seen[c.Object] {
			status.Used = quota.Add(status.Used, quota.Only(c.Use, status.Used))
		}
	}
	return status, !equality.Semantic.DeepEqual(status, q.Status)
}

// counts tells whether the quota has to do with objects of the kind.
func counts(q *corev1.ResourceQuota, gr schema.GroupResource) bool {
	for name := range q.Spec.Hard {
		if quota.Counts(gr, name) {
			return true
		}
	}
	return false
}
