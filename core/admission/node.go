package admission

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/auth"
)

// TaintNewNodes keeps pods off a node until the node controller has seen it ready.
type TaintNewNodes struct{}

var _ Mutator = TaintNewNodes{}

// Name implements [Plugin].
func (TaintNewNodes) Name() string { return "TaintNodesByCondition" }

// About implements [Selective].
func (TaintNewNodes) About(r *api.Resource) bool { return isOf(r, "", "Node") }

// Admit implements [Mutator].
func (TaintNewNodes) Admit(_ context.Context, a *Attributes) error {
	node, ok := a.Object.(*corev1.Node)
	if !ok || a.Operation != Create {
		return nil
	}
	for _, t := range node.Spec.Taints {
		if t.Key == corev1.TaintNodeNotReady && t.Effect == corev1.TaintEffectNoSchedule {
			return nil
		}
	}
	node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule})
	return nil
}

// NodeRestriction keeps an agent to its own node, its slices and the pods bound to it.
type NodeRestriction struct{}

var _ Validator = NodeRestriction{}

// Name implements [Plugin].
func (NodeRestriction) Name() string { return "NodeRestriction" }

// Validate implements [Validator].
func (NodeRestriction) Validate(_ context.Context, a *Attributes) error {
	node, ok := auth.NodeName(a.User)
	if !ok {
		return nil
	}
	obj := a.Object
	if a.Operation == Delete || obj == nil {
		obj = a.Old
	}
	switch obj := obj.(type) {
	case *corev1.Node:
		if obj.Name != node {
			return refuse(a, obj, "node %q is not allowed to modify node %q", node, obj.Name)
		}
	case *corev1.Pod:
		return restrictPod(a, node, obj)
	case *resourcev1.ResourceSlice:
		return restrictSlice(a, node, obj)
	}
	return nil
}

func restrictPod(a *Attributes, node string, pod *corev1.Pod) error {
	if a.Operation == Create {
		if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; !mirror {
			return refuse(a, pod, "pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, node)
		}
	}
	if pod.Spec.NodeName != node {
		return refuse(a, pod, "node %q can only create, update or delete pods with spec.nodeName set to itself", node)
	}
	return nil
}

// restrictSlice looks at what those who authorize do not see: new slices, and each one of many that are deleted.
func restrictSlice(a *Attributes, node string, slice *resourcev1.ResourceSlice) error {
	if slice.Spec.NodeName != nil && *slice.Spec.NodeName == node {
		return nil
	}
	switch a.Operation {
	case Create:
		return refuse(a, slice, "can only create ResourceSlice with the same NodeName as the requesting node")
	case Delete:
		return refuse(a, slice, "can only delete ResourceSlice with the same NodeName as the requesting node")
	}
	return nil
}

func refuse(a *Attributes, obj api.Object, format string, args ...any) error {
	return apierrors.NewForbidden(a.Resource.GroupResource(), obj.GetName(), fmt.Errorf(format, args...))
}
