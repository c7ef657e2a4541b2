package garbage

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gantryio/gantry/core/client/defined"
	"github.com/gantryio/gantry/core/client/source"
)

// follow makes the controller that watches belongs to look at the kinds that users define, too.
func (c *Controller) follow(mgr manager.Manager, watches controller.TypedController[item]) error {
	c.defined.Client = c.Client
	c.defined.Watch = func(ctx context.Context, k defined.Kind) error {
		return index(ctx, mgr.GetFieldIndexer(), metadata(k.GroupVersionKind))
	}
	c.defined.Added = func(ctx context.Context, k defined.Kind) error {
		objects := source.Of(mgr.GetCache(), metadata(k.GroupVersionKind), c.events(k.GroupVersionKind))
		if err := watches.Watch(objects); err != nil {
			return err
		}
		if err := objects.WaitForSync(ctx); err != nil {
			return err
		}
		return watches.Watch(c.ownedBy(k))
	}
	return c.defined.SetupWithManager(mgr, "garbage-definitions")
}

// ownedBy queues what objects of a kind own, once: owners may have gone before anybody watched them.
func (c *Controller) ownedBy(k defined.Kind) crsource.TypedSource[item] {
	return crsource.TypedFunc[item](func(ctx context.Context, q queue) error {
		dependents, err := c.find(ctx, c.cached, client.MatchingFields{byOwnerKind: k.GroupKind().String()})
		for _, it := range dependents {
			q.Add(it.item)
		}
		return err
	})
}
