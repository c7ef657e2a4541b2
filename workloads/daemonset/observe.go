package daemonset

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/owner"
	"github.com/gantryio/gantry/core/client/revision"
)

// observed is a state and the revisions that it was made with.
type observed struct {
	state
	history *revision.History
	present *appsv1.ControllerRevision
	known   []*appsv1.ControllerRevision
}

// observe gathers what decide needs, adopts and releases, and makes the revision of the set's template. The
// second result tells that the pods show everything that this process has written.
func (c *Controller) observe(ctx context.Context, ds *appsv1.DaemonSet, sel labels.Selector) (*observed, bool, error) {
	now := c.Clock.Now()
	s := &observed{
		state: state{ds: ds, now: now, hold: func(node string) time.Duration { return c.backoff.left(ds.UID, node, now) }},
		history: &revision.History{
			Client: c.Client, Live: c.live(), Owner: ds, Kind: kind, Selector: sel, HashLabel: appsv1.DefaultDaemonSetUniqueLabelKey,
		},
	}
	var nodes corev1.NodeList
	if err := c.Client.List(ctx, &nodes); err != nil {
		return nil, false, fmt.Errorf("list nodes: %w", err)
	}
	for i := range nodes.Items {
		s.nodes = append(s.nodes, &nodes.Items[i])
	}
	if err := c.revise(ctx, s); err != nil {
		return nil, false, err
	}
	pods, err := c.claim(ctx, ds, sel)
	if err != nil {
		return nil, false, err
	}
	var settled bool
	s.pods, settled, err = c.pending.Apply(ctx, c.live(), client.ObjectKeyFromObject(ds), pods)
	return s, settled, err
}

func (c *Controller) revise(ctx context.Context, s *observed) error {
	var err error
	if s.known, err = s.history.List(ctx); err != nil {
		return err
	}
	was := int32(0)
	s.collisions = s.ds.Status.CollisionCount
	if s.collisions != nil {
		was = *s.collisions
	}
	now := was
	if s.present, now, err = s.history.Ensure(ctx, s.known, &s.ds.Spec.Template, was); err != nil {
		return err
	}
	if now != was {
		s.collisions = &now
	}
	s.hash = s.present.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]
	return nil
}

func (c *Controller) claim(ctx context.Context, ds *appsv1.DaemonSet, sel labels.Selector) ([]*corev1.Pod, error) {
	owned, err := c.list(ctx, ds.Namespace, client.MatchingFields{owner.ByController: string(ds.UID)})
	if err != nil {
		return nil, err
	}
	orphans, err := c.list(ctx, ds.Namespace, client.MatchingFields{owner.ByOrphanhood: ds.Namespace}, client.MatchingLabelsSelector{Selector: sel})
	if err != nil {
		return nil, err
	}
	claim := owner.Claim[*corev1.Pod]{Client: c.Client, Live: c.live(), Owner: ds, Kind: kind, Selector: sel}
	owned, err = claim.Settle(ctx, owned, orphans)
	if err != nil {
		return nil, fmt.Errorf("claim pods of daemon set %s: %w", ds.Name, err)
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

// tidy deletes the revisions beyond the history limit.
func (c *Controller) tidy(ctx context.Context, s *observed) error {
	used := map[string]bool{s.hash: true}
	for _, pod := range s.pods {
		used[pod.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]] = true
	}
	live := func(r *appsv1.ControllerRevision) bool { return used[r.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]] }
	return s.history.Truncate(ctx, s.known, live, s.ds.Spec.RevisionHistoryLimit)
}
