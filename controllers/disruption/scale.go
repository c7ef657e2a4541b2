package disruption

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var errNoScale = errors.New("its controller does not implement the scale subresource")

// sized are the built-in workloads whose sizes matter.
func sized() []client.Object {
	return []client.Object{&appsv1.Deployment{}, &appsv1.ReplicaSet{}, &appsv1.StatefulSet{}, &corev1.ReplicationController{}}
}

// scale adds up the sizes of the controllers of the pods. Pods without one are left out, with a warning.
func (c *Controller) scale(ctx context.Context, b *policyv1.PodDisruptionBudget, pods []*corev1.Pod) (int32, error) {
	sizes, unmanaged := map[string]int32{}, false
	seen := map[string]bool{}
	for _, pod := range pods {
		ref := metav1.GetControllerOfNoCopy(pod)
		if ref == nil {
			unmanaged = true
			continue
		}
		if seen[string(ref.UID)] {
			continue
		}
		seen[string(ref.UID)] = true
		uid, n, err := c.sizeOf(ctx, pod.Namespace, ref)
		if err != nil {
			return 0, fmt.Errorf("find the controller of pod %q: %w", pod.Name, err)
		}
		sizes[uid] = n
	}
	if unmanaged {
		c.Recorder.Eventf(b, corev1.EventTypeWarning, "UnmanagedPods", "Pods selected by this PodDisruptionBudget (selector: %v) were found "+
			"to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. "+
			"To account for these pods please set \".spec.minAvailable\" "+
			"field of the PDB to an integer value.", metav1.FormatLabelSelector(b.Spec.Selector))
	}
	return sum(sizes), nil
}

// sizeOf returns the controller that decides the size, which for a ReplicaSet is its Deployment, and the size.
func (c *Controller) sizeOf(ctx context.Context, namespace string, ref *metav1.OwnerReference) (string, int32, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return "", 0, fmt.Errorf("read the API version of %s %s: %w", ref.Kind, ref.Name, err)
	}
	owner := &metav1.PartialObjectMetadata{}
	owner.SetGroupVersionKind(gv.WithKind(ref.Kind))
	key := client.ObjectKey{Namespace: namespace, Name: ref.Name}
	if err := c.Client.Get(ctx, key, owner); err != nil {
		return "", 0, fmt.Errorf("get %s %s: %w", ref.Kind, ref.Name, err)
	}
	if owner.UID != ref.UID {
		return "", 0, apierrors.NewNotFound(schema.GroupResource{Group: gv.Group, Resource: ref.Kind}, ref.Name)
	}
	if up := metav1.GetControllerOfNoCopy(owner); up != nil && ref.Kind == "ReplicaSet" && up.Kind == "Deployment" {
		return c.sizeOf(ctx, namespace, up)
	}
	owner.Namespace, owner.Name = namespace, ref.Name
	owner.SetGroupVersionKind(gv.WithKind(ref.Kind))
	scale := &autoscalingv1.Scale{}
	err = c.Client.SubResource("scale").Get(ctx, owner, scale)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return "", 0, fmt.Errorf("get scale of %s %s: %w", ref.Kind, ref.Name, errNoScale)
	}
	return string(ref.UID), scale.Spec.Replicas, err
}
