package resourcequota

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gantryio/gantry/core/client/defined"
	"github.com/gantryio/gantry/core/client/source"
)

// follow makes objects of the kinds that users define be counted, by the controller that watches belongs to.
func (c *Controller) follow(mgr manager.Manager, watches controller.Controller) error {
	c.defined.Client = c.Client
	c.defined.Watch = func(ctx context.Context, k defined.Kind) error {
		if !k.Namespaced {
			return nil
		}
		obj := client.Object(metadata(k.GroupVersionKind))
		if _, err := mgr.GetCache().GetInformer(ctx, obj); err != nil {
			return err // tells whether the kind is known
		}
		return watches.Watch(source.Of(mgr.GetCache(), obj, c.events(counted(k).resource())))
	}
	c.defined.Added = func(_ context.Context, k defined.Kind) error {
		if !k.Namespaced {
			return nil
		}
		return watches.Watch(c.countAgain(counted(k)))
	}
	return c.defined.SetupWithManager(mgr, "resourcequota-definitions")
}

func counted(k defined.Kind) Kind {
	return Kind{GroupVersionKind: k.GroupVersionKind, Plural: k.Plural}
}

// countAgain queues all quotas that count a kind, once: there may be objects already.
func (c *Controller) countAgain(k Kind) crsource.Source {
	return crsource.Func(func(ctx context.Context, q requests) error {
		var list corev1.ResourceQuotaList
		if err := c.Client.List(ctx, &list); err != nil {
			return fmt.Errorf("list quotas: %w", err)
		}
		for i := range list.Items {
			if counts(&list.Items[i], k.resource()) {
				q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
			}
		}
		return nil
	})
}
