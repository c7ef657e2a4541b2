package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podresource "k8s.io/component-helpers/resource"

	"github.com/gantryio/gantry/core/api"
)

// PodResize refuses resizes that the pod's node can never carry out.
type PodResize struct{ Objects Reader }

var _ Validator = PodResize{}

// Why a resize is refused, as the cause in the answer.
const (
	causeNodeCapacity = metav1.CauseType("NodeCapacity")
	causePlatform     = metav1.CauseType("UnsupportedPlatform")
)

// Name implements [Plugin].
func (PodResize) Name() string { return "PodResizeValidator" }

// About implements [Selective].
func (PodResize) About(r *api.Resource) bool { return isOf(r, "", "Pod") }

// Validate implements [Validator].
func (p PodResize) Validate(ctx context.Context, a *Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Operation != Update || a.Subresource != "resize" || pod.Spec.NodeName == "" || pod.Generation == a.Old.GetGeneration() {
		return nil
	}
	node, err := p.Objects.node(ctx, pod.Spec.NodeName)
	if err != nil {
		return err
	}
	if node == nil {
		return refusePod(a, "node %q not found", pod.Spec.NodeName)
	}
	if os := node.Labels[corev1.LabelOSStable]; os != "" && os != string(corev1.Linux) {
		return because(causePlatform, refusePod(a, "pod resize is only supported on linux nodes, node %q is %q", node.Name, os))
	}
	if why := beyond(pod, node.Status.Allocatable); why != "" {
		return because(causeNodeCapacity, refusePod(a, "node didn't have enough allocatable resources: %s", why))
	}
	return nil
}

// beyond says which requests are more than the node has for all of its pods; "" when none is.
func beyond(pod *corev1.Pod, allocatable corev1.ResourceList) string {
	requests := podresource.PodRequests(pod, podresource.PodResourcesOptions{})
	var out []string
	if want, have := requests.Cpu(), allocatable.Cpu(); want.Cmp(*have) > 0 {
		out = append(out, fmt.Sprintf("cpu, requested: %d, allocatable: %d", want.MilliValue(), have.MilliValue()))
	}
	if want, have := requests.Memory(), allocatable.Memory(); want.Cmp(*have) > 0 {
		out = append(out, fmt.Sprintf("memory, requested: %d, allocatable: %d", want.Value(), have.Value()))
	}
	return strings.Join(out, "; ")
}

func because(cause metav1.CauseType, err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Type: cause})
	}
	return err
}
