package apps

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

// ReplicaSets is all that the server, the printer and the docs know of ReplicaSet.
var ReplicaSets = api.Kind[appsv1.ReplicaSet]{
	Group: "apps", Version: "v1", Name: "ReplicaSet", Plural: "replicasets", Short: []string{"rs"},
	Earlier:    []string{"apps/v1beta2"},
	Categories: []string{"all"}, Namespaced: true, Generation: true,
	Subresources: api.StatusAndScale, StatusMetadata: true,
	Scale: &api.Scale[appsv1.ReplicaSet]{
		Get: func(rs *appsv1.ReplicaSet) (int32, int32, string) {
			return replicasOf(rs.Spec.Replicas), rs.Status.Replicas, selectorText(rs.Spec.Selector)
		},
		Set: func(rs *appsv1.ReplicaSet, n int32) { rs.Spec.Replicas = &n },
	},
	SharesBody: true,
	Default: func(rs *appsv1.ReplicaSet) {
		if rs.Spec.Replicas == nil {
			rs.Spec.Replicas = new(int32(1))
		}
		core.DefaultPodTemplate(&rs.Spec.Template)
	},
	Validate:       validateReplicaSet,
	ValidateStatus: validateReplicaSetStatus,
	Columns: []api.Column[appsv1.ReplicaSet]{
		api.NameColumn[appsv1.ReplicaSet](),
		{Name: "Desired", Type: "integer", Description: "Number of pods wanted.", Cell: func(rs *appsv1.ReplicaSet) any { return int64(replicasOf(rs.Spec.Replicas)) }},
		{Name: "Current", Type: "integer", Description: "Number of pods.", Cell: func(rs *appsv1.ReplicaSet) any { return int64(rs.Status.Replicas) }},
		{Name: "Ready", Type: "integer", Description: "Number of ready pods.", Cell: func(rs *appsv1.ReplicaSet) any { return int64(rs.Status.ReadyReplicas) }},
		api.AgeColumn[appsv1.ReplicaSet](),
		{Name: "Containers", Priority: 1, Description: "Names of each container in the template.", Cell: func(rs *appsv1.ReplicaSet) any { return core.ContainerNames(&rs.Spec.Template) }},
		{Name: "Images", Priority: 1, Description: "Images referenced by each container in the template.", Cell: func(rs *appsv1.ReplicaSet) any { return core.ContainerImages(&rs.Spec.Template) }},
		{Name: "Selector", Priority: 1, Description: "The labels of the pods.", Cell: func(rs *appsv1.ReplicaSet) any { return metav1.FormatLabelSelector(rs.Spec.Selector) }},
	},
	Fields: map[string]func(*appsv1.ReplicaSet) string{
		"status.replicas": func(rs *appsv1.ReplicaSet) string { return strconv.Itoa(int(rs.Status.Replicas)) },
	},
}
