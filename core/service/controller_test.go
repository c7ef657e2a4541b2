package service

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
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
	go func() {
		ended <- (&Controller{Cache: f, Proxies: &shelf{all: []Named{{Name: "one", Proxy: proxy}}}, Node: "a"}).Run(ctx)
	}()
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

// shelf is a set of proxies that notes in which order things happen.
type shelf struct {
	mu    sync.Mutex
	all   []Named
	bell  chan struct{}
	order []string
}

func (s *shelf) Proxies() []Named {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

func (s *shelf) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bell == nil {
		s.bell = make(chan struct{})
	}
	return s.bell
}

func (s *shelf) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) == 0 || s.order[len(s.order)-1] != what {
		s.order = append(s.order, what)
	}
}

func (s *shelf) Withdraw(_ context.Context, name string) error {
	s.note("withdraw " + name)
	return nil
}

func (s *shelf) set(all ...Named) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = all
	if s.bell != nil {
		close(s.bell)
		s.bell = nil
	}
}

func (s *shelf) happened() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// noted tells the shelf of each call.
type noted struct {
	*servicefake.Proxy
	name  string
	shelf *shelf
}

func (n noted) Sync(ctx context.Context, s service.Snapshot) error {
	err := n.Proxy.Sync(ctx, s)
	if err != nil {
		n.shelf.note("refused by " + n.name)
		return err
	}
	n.shelf.note("sync " + n.name)
	return nil
}

func TestTheNewProxyRoutesBeforeTheOldOneWithdraws(t *testing.T) {
	s := &shelf{}
	proxy := func(name string) (Named, *servicefake.Proxy) {
		p, err := servicefake.Open(servicefake.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return Named{Name: name, Proxy: noted{p, name, s}, Since: time.Unix(1, 0)}, p
	}
	a, fakeA := proxy("a")
	b, fakeB := proxy("b")
	s.set(a, b)
	f := &fakeCache{
		FakeInformers: &informertest.FakeInformers{Scheme: scheme.Scheme},
		Client:        fake.NewClientBuilder().WithScheme(scheme.Scheme).Build(),
	}
	served := make(chan struct{}, 10)
	c := &Controller{Cache: f, Proxies: s, Node: "a", Served: func() { served <- struct{}{} }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	awaitServed := func(want string) {
		t.Helper()
		select {
		case <-served:
		case <-time.After(10 * time.Second):
		}
		if got := c.Serving(); got != want {
			t.Fatalf("%q routes, want %q; %v", got, want, s.happened())
		}
	}
	awaitServed("a")
	await(t, fakeA, func(_ service.Snapshot, n int) bool { return n == 1 })
	client := service.Affinity{
		Namespace: "d", Name: "web", Port: "http", Protocol: "TCP", Left: time.Minute,
		Client: netip.MustParseAddr("10.0.0.9"), Endpoint: netip.MustParseAddrPort("10.0.0.1:80"),
	}
	fakeA.Keep(client)
	fakeB.Fail(errors.New("not yet"))
	s.set(b, a)
	awaitServed("b")
	if got, _, _ := fakeB.Dump(); !slices.Equal(got.Affinities, []service.Affinity{client}) {
		t.Errorf("the new one is told of %v, want %v", got.Affinities, client)
	}
	for limit := time.After(10 * time.Second); ; {
		got := s.happened()
		if len(got) > 0 && got[len(got)-1] == "withdraw a" {
			break
		}
		select {
		case <-time.After(time.Millisecond):
		case <-limit:
			t.Fatalf("the old one does not withdraw: %v", got)
		}
	}
	want := []string{"sync a", "withdraw b", "refused by b", "sync a", "sync b", "withdraw a"}
	if got := s.happened(); !slices.Equal(got, want) {
		t.Errorf("it went %q, want %q", got, want)
	}
}

// A proxy that has begun anew is given everything, though nothing has changed.
func TestAProxyThatCameBackIsSyncedAgain(t *testing.T) {
	p, err := servicefake.Open(servicefake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{}
	s.set(Named{Name: "a", Proxy: p, Since: time.Unix(1, 0)})
	c := &Controller{Cache: &fakeCache{
		FakeInformers: &informertest.FakeInformers{Scheme: scheme.Scheme},
		Client:        fake.NewClientBuilder().WithScheme(scheme.Scheme).Build(),
	}, Proxies: s, Node: "a"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	await(t, p, func(_ service.Snapshot, n int) bool { return n == 1 })
	s.set(Named{Name: "a", Proxy: p}) // away
	s.set(Named{Name: "a", Proxy: p, Since: time.Unix(2, 0)})
	await(t, p, func(_ service.Snapshot, n int) bool { return n == 2 })
}
