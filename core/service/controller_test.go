package service

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gantryio/gantry/interfaces/service"
	servicefake "github.com/gantryio/gantry/plugins/service/fake"
)

// fakeCache reads from a fake client and sends events on demand.
type fakeCache struct {
	*informertest.FakeInformers
	client.Client
}

func (f *fakeCache) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return f.Client.Get(ctx, key, o, opts...)
}

func (f *fakeCache) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	return f.Client.List(ctx, l)
}

var _ cache.Cache = (*fakeCache)(nil)

func await(t *testing.T, p *servicefake.Proxy, enough func(service.Snapshot, int) bool) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		s, syncs, changed := p.Dump()
		if enough(s, syncs) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("waited in vain: %d syncs, last %+v", syncs, s)
		}
	}
}

func TestRunFollowsChangesAndTriesAgain(t *testing.T) {
	proxy, err := servicefake.Open(servicefake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	proxy.Fail(errors.New("first try"))
	f := &fakeCache{
		FakeInformers: &informertest.FakeInformers{Scheme: scheme.Scheme},
		Client:        fake.NewClientBuilder().WithScheme(scheme.Scheme).Build(),
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&Controller{Cache: f, Proxy: proxy, Node: "a"}).Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	await(t, proxy, func(_ service.Snapshot, syncs int) bool { return syncs == 1 })

	s, e := object(nil), slice(endpoint("10.0.0.1", "a", true, true, false))
	e.Name = "web-1"
	for _, o := range []client.Object{&s, &e} {
		if err := f.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
		informer, err := f.FakeInformerFor(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		informer.Add(o)
	}
	await(t, proxy, func(s service.Snapshot, _ int) bool {
		return len(s.Services) == 1 && len(s.Services[0].Ports[0].Endpoints) == 1
	})
}
