package apps

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	utilvalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

// StatefulSets is all that the server, the printer and the docs know of StatefulSet.
var StatefulSets = api.Kind[appsv1.StatefulSet]{
	Group: "apps", Version: "v1", Name: "StatefulSet", Plural: "statefulsets", Short: []string{"sts"},
	Earlier:    []string{"apps/v1beta1", "apps/v1beta2"},
	Categories: []string{"all"}, Namespaced: true, Generation: true,
	Subresources: api.StatusAndScale, StatusMetadata: true,
	Scale: &api.Scale[appsv1.StatefulSet]{
		Get: func(s *appsv1.StatefulSet) (int32, int32, string) {
			return replicasOf(s.Spec.Replicas), s.Status.Replicas, selectorText(s.Spec.Selector)
		},
		Set: func(s *appsv1.StatefulSet, n int32) { s.Spec.Replicas = &n },
	},
	SharesBody:     true,
	Default:        defaultStatefulSet,
	ValidateName:   utilvalidation.NameIsDNSLabel,
	Validate:       validateStatefulSet,
	ValidateStatus: validateStatefulSetStatus,
	Columns: []api.Column[appsv1.StatefulSet]{
		api.NameColumn[appsv1.StatefulSet](),
		{
			Name: "Ready", Description: "Number of the pod with ready state",
			Cell: func(s *appsv1.StatefulSet) any {
				return fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, replicasOf(s.Spec.Replicas))
			},
		},
		api.AgeColumn[appsv1.StatefulSet](),
		{Name: "Containers", Priority: 1, Description: "Names of each container in the template.", Cell: func(s *appsv1.StatefulSet) any { return core.ContainerNames(&s.Spec.Template) }},
		{Name: "Images", Priority: 1, Description: "Images referenced by each container in the template.", Cell: func(s *appsv1.StatefulSet) any { return core.ContainerImages(&s.Spec.Template) }},
	},
}

func defaultStatefulSet(s *appsv1.StatefulSet) {
	spec := &s.Spec
	if spec.PodManagementPolicy == "" {
		spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement
	}
	defaultStatefulStrategy(&spec.UpdateStrategy)
	if spec.PersistentVolumeClaimRetentionPolicy == nil {
		spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{}
	}
	if r := spec.PersistentVolumeClaimRetentionPolicy; r.WhenDeleted == "" {
		r.WhenDeleted = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	}
	if r := spec.PersistentVolumeClaimRetentionPolicy; r.WhenScaled == "" {
		r.WhenScaled = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	}
	if spec.Replicas == nil {
		spec.Replicas = new(int32(1))
	}
	if spec.RevisionHistoryLimit == nil {
		spec.RevisionHistoryLimit = new(int32(revisionHistory))
	}
	for i := range spec.VolumeClaimTemplates {
		claim := &spec.VolumeClaimTemplates[i]
		claim.APIVersion, claim.Kind = "v1", "PersistentVolumeClaim"
		core.DefaultPersistentVolumeClaim(claim)
	}
	core.DefaultPodTemplate(&spec.Template)
}

func defaultStatefulStrategy(u *appsv1.StatefulSetUpdateStrategy) {
	if u.Type == "" {
		u.Type = appsv1.RollingUpdateStatefulSetStrategyType
	}
	if u.Type != appsv1.RollingUpdateStatefulSetStrategyType {
		return
	}
	if u.RollingUpdate == nil {
		u.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{}
	}
	if u.RollingUpdate.Partition == nil {
		u.RollingUpdate.Partition = new(int32)
	}
	if u.RollingUpdate.MaxUnavailable == nil {
		u.RollingUpdate.MaxUnavailable = new(intstr.FromInt32(1))
	}
}
