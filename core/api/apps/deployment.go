package apps

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

const (
	revisionHistory         = 10
	progressDeadlineSeconds = 600
	quarter                 = "25%"
)

// Deployments is all that the server, the printer and the docs know of Deployment.
var Deployments = api.Kind[appsv1.Deployment]{
	Group: "apps", Version: "v1", Name: "Deployment", Plural: "deployments", Short: []string{"deploy"},
	Earlier:    []string{"apps/v1beta2"},
	Categories: []string{"all"}, Namespaced: true, Generation: true,
	Subresources: api.StatusAndScale, StatusMetadata: true,
	Parts: map[string]api.Part[appsv1.Deployment]{
		"status": {Prepare: func(d, old *appsv1.Deployment) { d.Labels = old.Labels }},
	},
	Scale: &api.Scale[appsv1.Deployment]{
		Get: func(d *appsv1.Deployment) (int32, int32, string) {
			return replicasOf(d.Spec.Replicas), d.Status.Replicas, selectorText(d.Spec.Selector)
		},
		Set: func(d *appsv1.Deployment, n int32) { d.Spec.Replicas = &n },
	},
	SharesBody:     true,
	Default:        defaultDeployment,
	Validate:       validateDeployment,
	ValidateStatus: validateDeploymentStatus,
	Columns: []api.Column[appsv1.Deployment]{
		api.NameColumn[appsv1.Deployment](),
		{
			Name: "Ready", Description: "Number of the pod with ready state",
			Cell: func(d *appsv1.Deployment) any {
				return fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, replicasOf(d.Spec.Replicas))
			},
		},
		{Name: "Up-to-date", Description: "Pods of the wanted template.", Cell: func(d *appsv1.Deployment) any { return int64(d.Status.UpdatedReplicas) }},
		{Name: "Available", Description: "Pods ready for at least minReadySeconds.", Cell: func(d *appsv1.Deployment) any { return int64(d.Status.AvailableReplicas) }},
		api.AgeColumn[appsv1.Deployment](),
		{Name: "Containers", Priority: 1, Description: "Names of each container in the template.", Cell: func(d *appsv1.Deployment) any { return core.ContainerNames(&d.Spec.Template) }},
		{Name: "Images", Priority: 1, Description: "Images referenced by each container in the template.", Cell: func(d *appsv1.Deployment) any { return core.ContainerImages(&d.Spec.Template) }},
		{Name: "Selector", Priority: 1, Description: "The labels of the pods.", Cell: func(d *appsv1.Deployment) any { return selectorText(d.Spec.Selector) }},
	},
}

func defaultDeployment(d *appsv1.Deployment) {
	if d.Spec.Replicas == nil {
		d.Spec.Replicas = new(int32(1))
	}
	if d.Spec.RevisionHistoryLimit == nil {
		d.Spec.RevisionHistoryLimit = new(int32(revisionHistory))
	}
	if d.Spec.ProgressDeadlineSeconds == nil {
		d.Spec.ProgressDeadlineSeconds = new(int32(progressDeadlineSeconds))
	}
	defaultStrategy(&d.Spec.Strategy)
	core.DefaultPodTemplate(&d.Spec.Template)
}

func defaultStrategy(s *appsv1.DeploymentStrategy) {
	if s.Type == "" {
		s.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if s.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return
	}
	if s.RollingUpdate == nil {
		s.RollingUpdate = &appsv1.RollingUpdateDeployment{}
	}
	if s.RollingUpdate.MaxUnavailable == nil {
		s.RollingUpdate.MaxUnavailable = new(intstr.FromString(quarter))
	}
	if s.RollingUpdate.MaxSurge == nil {
		s.RollingUpdate.MaxSurge = new(intstr.FromString(quarter))
	}
}
