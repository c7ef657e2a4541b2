package admission

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gantryio/gantry/core/api"
)

// newPod returns the pod that is being created, nil for other writes.
func newPod(a *Attributes) *corev1.Pod {
	if a.Operation != Create || a.Subresource != "" {
		return nil
	}
	pod, _ := a.Object.(*corev1.Pod)
	return pod
}

// sizedPod returns the pod that is being created or resized, nil for other writes.
func sizedPod(a *Attributes) *corev1.Pod {
	if a.Operation != Update || a.Subresource != "resize" || a.Old == nil || a.Old.GetDeletionTimestamp() != nil {
		return newPod(a)
	}
	pod, _ := a.Object.(*corev1.Pod)
	return pod
}

func refusePod(a *Attributes, format string, args ...any) error {
	return apierrors.NewForbidden(a.Resource.GroupResource(), a.Object.GetName(), fmt.Errorf(format, args...))
}

// Priority resolves a pod's priority class.
type Priority struct{ Objects Reader }

var _ Mutator = Priority{}

// Name implements [Plugin].
func (Priority) Name() string { return "Priority" }

// About implements [Selective].
func (Priority) About(r *api.Resource) bool { return isOf(r, "", "Pod") }

// Admit implements [Mutator].
func (p Priority) Admit(ctx context.Context, a *Attributes) error {
	pod := newPod(a)
	if pod == nil {
		return nil
	}
	value, policy := int32(0), corev1.PreemptLowerPriority
	if pod.Spec.PriorityClassName == "" {
		class, err := p.Objects.globalDefault(ctx)
		if err != nil {
			return err
		}
		if class != nil {
			pod.Spec.PriorityClassName, value = class.Name, class.Value
			if class.PreemptionPolicy != nil {
				policy = *class.PreemptionPolicy
			}
		}
	} else {
		class, err := p.Objects.priorityClass(ctx, pod.Spec.PriorityClassName)
		if err != nil {
			return err
		}
		if class == nil {
			return refusePod(a, "no PriorityClass with name %s was found", pod.Spec.PriorityClassName)
		}
		value = class.Value
		if class.PreemptionPolicy != nil {
			policy = *class.PreemptionPolicy
		}
	}
	if pod.Spec.Priority != nil && *pod.Spec.Priority != value {
		return refusePod(a, "the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *pod.Spec.Priority, value)
	}
	pod.Spec.Priority = &value
	if pod.Spec.PreemptionPolicy == nil {
		pod.Spec.PreemptionPolicy = &policy
	}
	return nil
}

// RuntimeClass takes a pod's overhead and placement from its runtime class.
type RuntimeClass struct{ Objects Reader }

var _ Mutator = RuntimeClass{}

// Name implements [Plugin].
func (RuntimeClass) Name() string { return "RuntimeClass" }

// About implements [Selective].
func (RuntimeClass) About(r *api.Resource) bool { return isOf(r, "", "Pod") }

// Admit implements [Mutator].
func (p RuntimeClass) Admit(ctx context.Context, a *Attributes) error {
	pod := newPod(a)
	if pod == nil || pod.Spec.RuntimeClassName == nil {
		return nil
	}
	class, err := p.Objects.runtimeClass(ctx, *pod.Spec.RuntimeClassName)
	if err != nil {
		return err
	}
	if class == nil {
		return refusePod(a, "pod rejected: RuntimeClass %q not found", *pod.Spec.RuntimeClassName)
	}
	if class.Overhead != nil {
		if pod.Spec.Overhead != nil && !sameResources(pod.Spec.Overhead, class.Overhead.PodFixed) {
			return refusePod(a, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
		}
		pod.Spec.Overhead = class.Overhead.PodFixed.DeepCopy()
	}
	if class.Scheduling == nil {
		return nil
	}
	for k, v := range class.Scheduling.NodeSelector {
		if have, ok := pod.Spec.NodeSelector[k]; ok && have != v {
			return refusePod(a, "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", k, v, k, have)
		}
		if pod.Spec.NodeSelector == nil {
			pod.Spec.NodeSelector = map[string]string{}
		}
		pod.Spec.NodeSelector[k] = v
	}
	for _, t := range class.Scheduling.Tolerations {
		if !slices.ContainsFunc(pod.Spec.Tolerations, func(have corev1.Toleration) bool { return equality.Semantic.DeepEqual(have, t) }) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, t)
		}
	}
	return nil
}

func sameResources(a, b map[corev1.ResourceName]resource.Quantity) bool {
	if len(a) != len(b) {
		return false
	}
	for name, q := range a {
		if other, ok := b[name]; !ok || q.Cmp(other) != 0 {
			return false
		}
	}
	return true
}

// DefaultTolerations lets pods stay five minutes on a node that is unreachable or not ready, also those whose update leaves that out.
type DefaultTolerations struct{}

var _ Mutator = DefaultTolerations{}

const defaultTolerationSeconds = 300

// Name implements [Plugin].
func (DefaultTolerations) Name() string { return "DefaultTolerationSeconds" }

// About implements [Selective].
func (DefaultTolerations) About(r *api.Resource) bool { return isOf(r, "", "Pod") }

// Admit implements [Mutator].
func (DefaultTolerations) Admit(_ context.Context, a *Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" || a.Operation != Create && a.Operation != Update {
		return nil
	}
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if toleratesEviction(pod.Spec.Tolerations, key) {
			continue
		}
		seconds := int64(defaultTolerationSeconds)
		// The list may be that of the stored pod, too.
		pod.Spec.Tolerations = append(slices.Clip(pod.Spec.Tolerations), corev1.Toleration{
			Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds,
		})
	}
	return nil
}

func toleratesEviction(list []corev1.Toleration, key string) bool {
	for _, t := range list {
		if (t.Key == key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return true
		}
	}
	return false
}
