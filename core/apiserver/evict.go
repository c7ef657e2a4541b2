package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/component-helpers/apps/poddisruptionbudget"

	"github.com/gantryio/gantry/core/api"
)

// maxDisrupted is how many evictions of one budget may wait for its controller to see them.
const maxDisrupted = 2000

const wouldViolate = "Cannot evict pod as it would violate the pod's disruption budget."

var errSeveralBudgets = &apierrors.StatusError{ErrStatus: metav1.Status{
	Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: metav1.StatusReasonInternalError,
	Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
}}

// evict deletes a pod when its disruption budget allows, leaving word of why.
func (s *Server) evict(ctx context.Context, q *api.Request, obj runtime.Object) (runtime.Object, error) {
	e, ok := obj.(*policyv1.Eviction)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not an Eviction object: %T", obj))
	}
	if e.Name != "" && e.Name != q.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	opts := e.DeleteOptions.DeepCopy()
	if opts == nil {
		opts = &metav1.DeleteOptions{}
	}
	request := *q
	request.DryRun = q.DryRun || len(opts.DryRun) > 0
	asked := opts.Preconditions != nil && opts.Preconditions.ResourceVersion != nil
	for {
		entry, err := s.current(ctx, &request)
		if err != nil {
			return nil, err
		}
		if entry == nil {
			return nil, apierrors.NewNotFound(q.Resource.GroupResource(), q.Name)
		}
		err = s.evictOnce(ctx, &request, entry.Object.(*corev1.Pod), opts, asked)
		if err == nil {
			return success, nil
		}
		if !errors.Is(err, errRaced) || asked || ctx.Err() != nil {
			return nil, err
		}
	}
}

// errRaced tells that a pod which the budget did not count changed meanwhile.
var errRaced = errors.New("the pod has changed")

func (s *Server) evictOnce(ctx context.Context, q *api.Request, pod *corev1.Pod, opts *metav1.DeleteOptions, asked bool) error {
	if err := checkPreconditions(q, pod, opts.Preconditions); err != nil {
		return err
	}
	if ended(pod) {
		return s.evictNow(ctx, q, opts, "")
	}
	if pod.Status.Phase == corev1.PodPending {
		return s.ifUnchanged(s.evictNow(ctx, q, opts, pod.ResourceVersion), asked)
	}
	budget, err := s.budgetOf(ctx, q, pod)
	if err != nil {
		return err
	}
	switch {
	case budget == nil:
		return s.evictNow(ctx, q, opts, "")
	case uncounted(budget, pod):
		err := s.evictNow(ctx, q, opts, pod.ResourceVersion)
		if apierrors.IsConflict(err) && !asked {
			return inProcess(budget.Name)
		}
		return err
	}
	if err := s.spend(ctx, q, budget); err != nil {
		return err
	}
	return s.evictNow(ctx, q, opts, "")
}

func (s *Server) ifUnchanged(err error, asked bool) error {
	if apierrors.IsConflict(err) && !asked {
		return errRaced
	}
	return err
}

// ended tells pods that are disrupted already.
func ended(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// uncounted tells that the pod is not healthy, and may go without being taken from the budget.
func uncounted(b *policyv1.PodDisruptionBudget, pod *corev1.Pod) bool {
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if ready {
		return false
	}
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

// evictNow deletes the pod, of the given version only unless that is "".
func (s *Server) evictNow(ctx context.Context, q *api.Request, opts *metav1.DeleteOptions, version string) error {
	_, err := s.modify(ctx, q, func(_ context.Context, current api.Object) (api.Object, error) {
		if err := checkPreconditions(q, current, opts.Preconditions); err != nil {
			return nil, err
		}
		pod := current.(*corev1.Pod).DeepCopy()
		pod.ResourceVersion = version
		setPodCondition(pod, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now().Rfc3339Copy(),
			Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting", ObservedGeneration: pod.Generation,
		})
		return pod, nil
	})
	if err != nil {
		return err
	}
	deletion := *q
	deletion.Subresource = ""
	opts = opts.DeepCopy()
	if p := opts.Preconditions; p != nil {
		p.ResourceVersion = nil // the condition was our own write; the version was compared before it
	}
	_, _, err = s.Delete(ctx, &deletion, opts)
	return err
}

// budgetOf finds the pod's budget, nil when it has none.
func (s *Server) budgetOf(ctx context.Context, q *api.Request, pod *corev1.Pod) (*policyv1.PodDisruptionBudget, error) {
	r := s.Registry.Resource(policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets"))
	if r == nil {
		return nil, nil
	}
	page, err := s.List(ctx, &api.Request{User: q.User, Resource: r, Namespace: pod.Namespace}, &ListOptions{})
	if err != nil {
		return nil, err
	}
	var found *policyv1.PodDisruptionBudget
	for _, e := range page.Items {
		b := e.Object.(*policyv1.PodDisruptionBudget)
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil || b.Spec.Selector == nil || !sel.Matches(labels.Set(pod.Labels)) {
			continue
		}
		if found != nil {
			return nil, errSeveralBudgets
		}
		found = b
	}
	return found, nil
}

// spend takes one disruption from the budget and notes the pod there, so that the next eviction does not
// take it again before the budget's controller has counted.
func (s *Server) spend(ctx context.Context, q *api.Request, b *policyv1.PodDisruptionBudget) error {
	r := s.Registry.Resource(policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets"))
	status := &api.Request{
		User: q.User, Resource: r, Namespace: b.Namespace, Name: b.Name, Subresource: "status", Manager: q.Manager, DryRun: q.DryRun,
		Admitted: true,
	}
	_, err := s.modify(ctx, status, func(_ context.Context, current api.Object) (api.Object, error) {
		now := current.(*policyv1.PodDisruptionBudget)
		if err := mayDisrupt(now); err != nil {
			return nil, err
		}
		out := now.DeepCopy()
		out.ResourceVersion = ""
		out.Status.DisruptionsAllowed--
		if out.Status.DisruptionsAllowed == 0 {
			poddisruptionbudget.UpdateDisruptionAllowedCondition(out)
		}
		if out.Status.DisruptedPods == nil {
			out.Status.DisruptedPods = map[string]metav1.Time{}
		}
		out.Status.DisruptedPods[q.Name] = metav1.NewTime(time.Now())
		return out, nil
	})
	return err
}

func mayDisrupt(b *policyv1.PodDisruptionBudget) error {
	gr := policyv1.Resource("poddisruptionbudget")
	switch s := &b.Status; {
	case s.ObservedGeneration < b.Generation:
		return inProcess(b.Name)
	case s.DisruptionsAllowed < 0:
		return apierrors.NewForbidden(gr, b.Name, errors.New("pdb disruptions allowed is negative"))
	case len(s.DisruptedPods) > maxDisrupted:
		return apierrors.NewForbidden(gr, b.Name, errors.New("DisruptedPods map too big - too many evictions not confirmed by PDB controller"))
	case s.DisruptionsAllowed == 0:
		return refusal(exhausted(b), 0)
	}
	return nil
}

func exhausted(b *policyv1.PodDisruptionBudget) string {
	c := meta.FindStatusCondition(b.Status.Conditions, policyv1.DisruptionAllowedCondition)
	switch {
	case c != nil && c.Status == metav1.ConditionFalse && c.Reason == policyv1.SyncFailedReason:
		return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently because it failed sync: %v", b.Name, c.Message)
	case b.Status.CurrentHealthy <= b.Status.DesiredHealthy:
		return fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy)
	}
	return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently", b.Name)
}

func inProcess(budget string) error {
	return refusal(fmt.Sprintf("The disruption budget %s is still being processed by the server.", budget), 10)
}

// refusal is the 429 that clients such as kubectl drain wait and try again after.
func refusal(cause string, seconds int) error {
	err := apierrors.NewTooManyRequests(wouldViolate, seconds)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: cause})
	return err
}
