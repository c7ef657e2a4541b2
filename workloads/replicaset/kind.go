package replicaset

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Kind is what a [Controller] reconciles: the two kinds mean the same, and differ in their selectors and
// the names of their types.
type Kind struct {
	gvk   schema.GroupVersionKind
	name  string
	empty func() client.Object
	list  func() client.ObjectList
	items func(client.ObjectList) []client.Object
	// neutral is the object as a ReplicaSet, which may share parts with it.
	neutral func(client.Object) *appsv1.ReplicaSet
	// withStatus is a copy of the object with the status.
	withStatus func(client.Object, *appsv1.ReplicaSetStatus) client.Object
}

// ReplicaSets is the default.
var ReplicaSets = &Kind{
	gvk: appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), name: "replicaset",
	empty: func() client.Object { return &appsv1.ReplicaSet{} },
	list:  func() client.ObjectList { return &appsv1.ReplicaSetList{} },
	items: func(l client.ObjectList) []client.Object {
		list := l.(*appsv1.ReplicaSetList)
		out := make([]client.Object, len(list.Items))
		for i := range list.Items {
			out[i] = &list.Items[i]
		}
		return out
	},
	neutral: func(o client.Object) *appsv1.ReplicaSet { return o.(*appsv1.ReplicaSet) },
	withStatus: func(o client.Object, s *appsv1.ReplicaSetStatus) client.Object {
		out := o.(*appsv1.ReplicaSet).DeepCopy()
		out.Status = *s
		return out
	},
}

// ReplicationControllers have a map for a selector and no count of terminating pods.
var ReplicationControllers = &Kind{
	gvk: corev1.SchemeGroupVersion.WithKind("ReplicationController"), name: "replicationcontroller",
	empty: func() client.Object { return &corev1.ReplicationController{} },
	list:  func() client.ObjectList { return &corev1.ReplicationControllerList{} },
	items: func(l client.ObjectList) []client.Object {
		list := l.(*corev1.ReplicationControllerList)
		out := make([]client.Object, len(list.Items))
		for i := range list.Items {
			out[i] = &list.Items[i]
		}
		return out
	},
	neutral: func(o client.Object) *appsv1.ReplicaSet { return fromController(o.(*corev1.ReplicationController)) },
	withStatus: func(o client.Object, s *appsv1.ReplicaSetStatus) client.Object {
		out := o.(*corev1.ReplicationController).DeepCopy()
		out.Status = corev1.ReplicationControllerStatus{
			Replicas: s.Replicas, FullyLabeledReplicas: s.FullyLabeledReplicas, ReadyReplicas: s.ReadyReplicas,
			AvailableReplicas: s.AvailableReplicas, ObservedGeneration: s.ObservedGeneration,
		}
		for _, c := range s.Conditions {
			out.Status.Conditions = append(out.Status.Conditions, corev1.ReplicationControllerCondition{
				Type: corev1.ReplicationControllerConditionType(c.Type), Status: c.Status,
				LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
			})
		}
		return out
	},
}

func fromController(rc *corev1.ReplicationController) *appsv1.ReplicaSet {
	out := &appsv1.ReplicaSet{
		ObjectMeta: rc.ObjectMeta,
		Spec: appsv1.ReplicaSetSpec{
			Replicas: rc.Spec.Replicas, MinReadySeconds: rc.Spec.MinReadySeconds,
			Selector: &metav1.LabelSelector{MatchLabels: rc.Spec.Selector},
		},
		Status: appsv1.ReplicaSetStatus{
			Replicas: rc.Status.Replicas, FullyLabeledReplicas: rc.Status.FullyLabeledReplicas, ReadyReplicas: rc.Status.ReadyReplicas,
			AvailableReplicas: rc.Status.AvailableReplicas, ObservedGeneration: rc.Status.ObservedGeneration,
		},
	}
	if rc.Spec.Template != nil {
		out.Spec.Template = *rc.Spec.Template
	}
	for _, c := range rc.Status.Conditions {
		out.Status.Conditions = append(out.Status.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return out
}

// set is an object in its neutral form, and as it is.
type set struct {
	*appsv1.ReplicaSet
	self client.Object
}
