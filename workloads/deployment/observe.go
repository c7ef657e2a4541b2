package deployment

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/owner"
)

// observe returns the ReplicaSets of the Deployment, after adopting and releasing.
func (c *Controller) observe(ctx context.Context, d *appsv1.Deployment) ([]*appsv1.ReplicaSet, error) {
	sel, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil || sel.Empty() {
		c.event(d, warning, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
		return nil, nil
	}
	owned, err := c.list(ctx, d.Namespace, client.MatchingFields{owner.ByController: string(d.UID)})
	if err != nil {
		return nil, err
	}
	orphans, err := c.list(ctx, d.Namespace, client.MatchingFields{owner.ByOrphanhood: d.Namespace}, client.MatchingLabelsSelector{Selector: sel})
	if err != nil {
		return nil, err
	}
	claim := owner.Claim[*appsv1.ReplicaSet]{Client: c.Client, Live: c.live(), Owner: d, Kind: kind, Selector: sel}
	owned, err = claim.Settle(ctx, owned, orphans)
	if err != nil {
		return nil, fmt.Errorf("claim replica sets of deployment %s: %w", d.Name, err)
	}
	return owned, nil
}

func (c *Controller) list(ctx context.Context, namespace string, opts ...client.ListOption) ([]*appsv1.ReplicaSet, error) {
	var list appsv1.ReplicaSetList
	if err := c.Client.List(ctx, &list, append(opts, client.InNamespace(namespace))...); err != nil {
		return nil, fmt.Errorf("list replica sets in %s: %w", namespace, err)
	}
	out := make([]*appsv1.ReplicaSet, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}
