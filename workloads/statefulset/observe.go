package statefulset

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/owner"
	"github.com/gantryio/gantry/core/client/revision"
)

// historyLabel is the label of revisions that holds their hash.
const historyLabel = "controller.kubernetes.io/hash"

// observe gathers what decide needs, adopts and releases, and makes the revision of the set's template. It
// also returns the revisions that there were.
func (c *Controller) observe(ctx context.Context, set *appsv1.StatefulSet, sel labels.Selector) (state, []*appsv1.ControllerRevision, error) {
	s := state{set: set, now: c.Clock.Now()}
	pods, err := c.pods(ctx, set, sel)
	if err != nil {
		return s, nil, err
	}
	s.pods = pods
	known, err := c.revisions(ctx, set, sel, &s)
	if err != nil {
		return s, nil, err
	}
	s.claims, err = c.claims(ctx, set, pods)
	return s, known, err
}

func (c *Controller) history(set *appsv1.StatefulSet, sel labels.Selector) *revision.History {
	return &revision.History{Client: c.Client, Live: c.live(), Owner: set, Kind: kind, Selector: sel, HashLabel: historyLabel}
}

func (c *Controller) revisions(ctx context.Context, set *appsv1.StatefulSet, sel labels.Selector, s *state) ([]*appsv1.ControllerRevision, error) {
	if set.Status.CollisionCount != nil {
		s.collisions = *set.Status.CollisionCount
	}
	if set.DeletionTimestamp != nil { // its revisions go with it, and must not come back
		s.current = &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: set.Status.CurrentRevision}}
		s.update = &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: set.Status.UpdateRevision}}
		return nil, nil
	}
	h := c.history(set, sel)
	known, err := h.List(ctx)
	if err != nil {
		return nil, err
	}
	s.update, s.collisions, err = h.Ensure(ctx, known, &set.Spec.Template, s.collisions)
	s.current = s.update
	for _, r := range known {
		if r.Name == set.Status.CurrentRevision {
			s.current = r
		}
	}
	return known, err
}

func (c *Controller) pods(ctx context.Context, set *appsv1.StatefulSet, sel labels.Selector) ([]*corev1.Pod, error) {
	owned, err := c.list(ctx, set.Namespace, client.MatchingFields{owner.ByController: string(set.UID)})
	if err != nil {
		return nil, err
	}
	orphans, err := c.list(ctx, set.Namespace, client.MatchingFields{owner.ByOrphanhood: set.Namespace}, client.MatchingLabelsSelector{Selector: sel})
	if err != nil {
		return nil, err
	}
	claim := owner.Claim[*corev1.Pod]{
		Client: c.Client, Live: c.live(), Owner: set, Kind: kind, Selector: sel,
		Adoptable: func(pod *corev1.Pod) bool { return ordinalOf(set, pod.Name) >= 0 },
	}
	owned, err = claim.Settle(ctx, owned, orphans)
	if err != nil {
		return nil, fmt.Errorf("claim pods of stateful set %s: %w", set.Name, err)
	}
	return owned, nil
}

func (c *Controller) list(ctx context.Context, namespace string, opts ...client.ListOption) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, append(opts, client.InNamespace(namespace))...); err != nil {
		return nil, fmt.Errorf("list pods in %s: %w", namespace, err)
	}
	out := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

// claims looks up the claims of all pods that there are or should be.
func (c *Controller) claims(ctx context.Context, set *appsv1.StatefulSet, pods []*corev1.Pod) (claims, error) {
	if len(set.Spec.VolumeClaimTemplates) == 0 {
		return nil, nil
	}
	names := map[string]bool{}
	for _, pod := range pods {
		names[pod.Name] = true
	}
	for i := range size(set) {
		names[podName(set, firstOrdinal(set)+i)] = true
	}
	out := claims{}
	for pod := range names {
		for i := range set.Spec.VolumeClaimTemplates {
			name := claimName(set.Spec.VolumeClaimTemplates[i].Name, pod)
			claim := &corev1.PersistentVolumeClaim{}
			err := c.Client.Get(ctx, client.ObjectKey{Namespace: set.Namespace, Name: name}, claim)
			if client.IgnoreNotFound(err) != nil {
				return nil, fmt.Errorf("get claim %s: %w", name, err)
			}
			if err == nil {
				out[name] = claim
			}
		}
	}
	return out, nil
}

// tidy deletes the revisions beyond the history limit.
func (c *Controller) tidy(ctx context.Context, s *state, known []*appsv1.ControllerRevision) error {
	used := map[string]bool{s.current.Name: true, s.update.Name: true}
	for _, pod := range s.pods {
		used[revisionOf(pod)] = true
	}
	return c.history(s.set, nil).Truncate(ctx, known, func(r *appsv1.ControllerRevision) bool { return used[r.Name] }, s.set.Spec.RevisionHistoryLimit)
}
