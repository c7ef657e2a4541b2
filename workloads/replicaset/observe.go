package replicaset

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/owner"
)

// observe returns the pods that the set controls, after adopting and releasing. The second result tells
// that the pods show everything that this process has written.
func (c *Controller) observe(ctx context.Context, rs set) ([]*corev1.Pod, bool, error) {
	sel, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil || sel.Empty() {
		return nil, false, nil // such a set would own everything
	}
	owned, err := c.list(ctx, rs.Namespace, client.MatchingFields{owner.ByController: string(rs.UID)})
	if err != nil {
		return nil, false, err
	}
	orphans, err := c.list(ctx, rs.Namespace, client.MatchingFields{owner.ByOrphanhood: rs.Namespace}, client.MatchingLabelsSelector{Selector: sel})
	if err != nil {
		return nil, false, err
	}
	claim := owner.Claim[*corev1.Pod]{
		Client: c.Client, Live: c.live(), Owner: rs.self, Kind: c.kind().gvk, Selector: sel,
		Adoptable: func(pod *corev1.Pod) bool { return !finished(pod) },
	}
	owned, err = claim.Settle(ctx, owned, orphans)
	if err != nil {
		return nil, false, fmt.Errorf("claim pods of %s %s: %w", c.kind().name, rs.Name, err)
	}
	return c.pending.Apply(ctx, c.live(), client.ObjectKeyFromObject(rs), owned)
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
