package apiregistration

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// Priority says where discovery lists a group version: groups and their versions with higher numbers come first.
type Priority struct{ Group, Version int32 }

// groups are those of Kubernetes, with its numbers.
var groups = map[string]int32{
	"": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600,
	"autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100,
	"rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "admissionregistration.k8s.io": 16700,
	"apiextensions.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500, "node.k8s.io": 16300,
	"discovery.k8s.io": 16200, "resource.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100,
	"internal.apiserver.k8s.io": 16000, "storagemigration.k8s.io": 15800,
}

const (
	ownGroup   = 15000 // of groups that Kubernetes does not have
	stable     = 15
	definedMin = 1000 // of what users define
	definedVer = 100
)

// PriorityOf is that of a group version which the server has built in.
func PriorityOf(gv schema.GroupVersion) Priority {
	switch gv {
	case schema.GroupVersion{Version: "v1"}:
		return Priority{groups[""], 1}
	case schema.GroupVersion{Group: "autoscaling", Version: "v2"}:
		return Priority{groups["autoscaling"], 30}
	case schema.GroupVersion{Group: "resource.k8s.io", Version: "v1"}, schema.GroupVersion{Group: "flowcontrol.apiserver.k8s.io", Version: "v1"}:
		return Priority{groups[gv.Group], 21}
	case apiregistrationv1.SchemeGroupVersion:
		return Priority{maxGroupPriority, maxVersionPriority} // the one group that nobody can register comes first
	}
	if n, ok := groups[gv.Group]; ok {
		return Priority{n, stable}
	}
	if gv.Group == "metrics.k8s.io" {
		return Priority{100, 100} // as metrics-server registers itself
	}
	return Priority{ownGroup, stable}
}

// DefinedPriority is that of a group version which users have defined.
func DefinedPriority() Priority { return Priority{definedMin, definedVer} }

// ManagedLabel marks APIServices that the server makes, and may change and delete, by itself.
const ManagedLabel = "kube-aggregator.kubernetes.io/automanaged"

// The values of ManagedLabel.
const (
	ManagedOnStart = "onstart"
	ManagedAlways  = "true"
)

// Local is the APIService of a group version that the server serves itself.
func Local(gv schema.GroupVersion, p Priority, managed string) *apiregistrationv1.APIService {
	out := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: NameOf(gv)},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: p.Group, VersionPriority: p.Version,
		},
	}
	if managed != "" {
		out.Labels = map[string]string{ManagedLabel: managed}
	}
	return out
}
