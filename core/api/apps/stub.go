package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateDeployment(d, old *appsv1.Deployment) field.ErrorList       { return nil }
func validateDeploymentStatus(d, old *appsv1.Deployment) field.ErrorList { return nil }
func validateReplicaSet(d, old *appsv1.ReplicaSet) field.ErrorList       { return nil }
func validateReplicaSetStatus(d, old *appsv1.ReplicaSet) field.ErrorList { return nil }
