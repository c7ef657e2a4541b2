package dns

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Follow lets the index follow a cache, and returns when it has all that the cache had, or ctx ends.
func (x *Index) Follow(ctx context.Context, from cache.Cache) error {
	var synced []toolscache.ResourceEventHandlerRegistration
	for _, one := range []struct {
		kind   client.Object
		put    func(any)
		remove func(any)
	}{
		{&corev1.Namespace{}, func(o any) { x.PutNamespace(o.(*corev1.Namespace).Name) }, func(o any) { x.RemoveNamespace(o.(client.Object).GetName()) }},
		{&corev1.Service{}, func(o any) { x.PutService(o.(*corev1.Service)) }, func(o any) { x.RemoveService(o.(client.Object).GetNamespace(), o.(client.Object).GetName()) }},
		{&discoveryv1.EndpointSlice{}, func(o any) { x.PutSlice(o.(*discoveryv1.EndpointSlice)) }, func(o any) { x.RemoveSlice(o.(client.Object).GetNamespace(), o.(client.Object).GetName()) }},
		{&corev1.Node{}, func(o any) { x.PutNode(o.(*corev1.Node)) }, func(o any) { x.RemoveNode(o.(client.Object).GetName()) }},
	} {
		informer, err := from.GetInformer(ctx, one.kind, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch %T: %w", one.kind, err)
		}
		handle, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    one.put,
			UpdateFunc: func(_, o any) { one.put(o) },
			DeleteFunc: func(o any) {
				if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
					o = gone.Obj
				}
				one.remove(o)
			},
		})
		if err != nil {
			return fmt.Errorf("watch %T: %w", one.kind, err)
		}
		context.AfterFunc(ctx, func() { _ = informer.RemoveEventHandler(handle) })
		synced = append(synced, handle)
	}
	for _, s := range synced {
		select {
		case <-s.HasSyncedChecker().Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
