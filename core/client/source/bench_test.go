package source

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"
)

func (s *staged) AddEventHandlerWithOptions(h toolscache.ResourceEventHandler, _ toolscache.HandlerOptions) (toolscache.ResourceEventHandlerRegistration, error) {
	return s.AddEventHandler(h)
}

// BenchmarkEvents is what a controller costs that hears of a new object and of an update, which are nothing to it.
func BenchmarkEvents(b *testing.B) {
	for name, of := range map[string]func(crcache *staged) crsource.TypedSyncingSource[string]{
		"own": func(c *staged) crsource.TypedSyncingSource[string] {
			return Of(c, &corev1.ConfigMap{}, func(context.Context, client.Object, client.Object, Queue[string]) {})
		},
		"library": func(c *staged) crsource.TypedSyncingSource[string] {
			return crsource.TypedKind[client.Object, string](c, &corev1.ConfigMap{}, handler.TypedFuncs[client.Object, string]{
				CreateFunc: func(context.Context, event.CreateEvent, Queue[string]) {},
				UpdateFunc: func(context.Context, event.UpdateEvent, Queue[string]) {},
			})
		},
	} {
		b.Run(name, func(b *testing.B) {
			s := &staged{synced: make(chan struct{})}
			close(s.synced)
			q := priorityqueue.New[string]("")
			defer q.ShutDown()
			src := of(s)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			if err := src.Start(ctx, q); err != nil {
				b.Fatal(err)
			}
			if err := src.WaitForSync(ctx); err != nil {
				b.Fatal(err)
			}
			old, now := object1("1"), object1("2")
			b.ReportAllocs()
			for b.Loop() {
				s.handler.OnAdd(old, false)
				s.handler.OnUpdate(old, now)
			}
		})
	}
}
