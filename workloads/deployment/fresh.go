package deployment

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// staleAfter is how soon we look again when the cache was behind.
const staleAfter = 100 * time.Millisecond

// current tells that the sets are all that the Deployment has, as they are wanted now. What is decided about
// one set depends on the sizes of the others, which no precondition of a write protects. Where reads see all
// acknowledged writes there is nothing to ask.
func (c *Controller) current(ctx context.Context, d *appsv1.Deployment, sets []*appsv1.ReplicaSet) (bool, error) {
	if c.Live == nil {
		return true, nil
	}
	sel, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return false, fmt.Errorf("read the selector of deployment %s: %w", d.Name, err)
	}
	var list appsv1.ReplicaSetList
	if err := c.Live.List(ctx, &list, client.InNamespace(d.Namespace), client.MatchingLabelsSelector{Selector: sel}); err != nil {
		return false, fmt.Errorf("list the replica sets of deployment %s: %w", d.Name, err)
	}
	seen := map[types.UID]int64{}
	for _, rs := range sets {
		seen[rs.UID] = rs.Generation
	}
	for i := range list.Items {
		rs := &list.Items[i]
		if !metav1.IsControlledBy(rs, d) {
			continue
		}
		if generation, ok := seen[rs.UID]; !ok || generation != rs.Generation {
			return false, nil
		}
	}
	return true, nil
}
