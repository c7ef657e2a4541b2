// Package converge runs controllers in a world that lags, forgets, fails and kills: caches show old states,
// notices get lost, writes fail before or after they happened, and the process dies between any two of them.
// Whatever happens, no controller may write what is wrong, and when the faults end all must be as wanted.
//
// The API server and the store are the real ones; only who observes them is hindered. Each run is driven by
// a seed, which its failure names: `go test ./test/converge -run 'TestJob/seed=7'` runs it again. What
// controllers write at the same time may come in another order then, nothing else.
package converge

import (
	"context"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/client"
	"github.com/gantryio/gantry/core/store"
)

// api is the server that all runs share, each in a namespace of its own.
var api *client.Client

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	if err := v1alpha1.AddToScheme(scheme.Scheme); err != nil {
		panic(err)
	}
	os.Exit(serve(m.Run))
}

func serve(run func() int) int {
	ctx, cancel := context.WithCancel(context.Background())
	dir, err := os.MkdirTemp("", "converge")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	st, err := store.Open(ctx, store.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	defer st.Close()
	registry := all.Kinds()
	watched := cache.New(st, registry)
	srv := &apiserver.Server{
		Registry: registry, Store: st, Cache: watched, ServiceRange: netip.MustParsePrefix("10.96.0.0/16"),
		Admission: admission.Default(admission.Reader{Cache: watched, Registry: registry}),
	}
	srv.Init()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, run := range []func(context.Context) error{st.Run, watched.Run} {
		wg.Go(func() { _ = run(ctx) })
	}
	<-watched.Synced()
	srv.LoadAllocations()
	if err := srv.Bootstrap(ctx, "192.0.2.1", 6443); err != nil {
		panic(err)
	}
	api = &client.Client{
		Server: srv, Cache: watched, Registry: registry, Manager: "test",
		User: &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup}},
	}
	return run()
}

// captor is a manager that keeps the controllers that are added to it, instead of running them.
type captor struct {
	manager.Manager
	found []reconciler
}

func (c *captor) Add(r manager.Runnable) error {
	if x, ok := r.(reconciler); ok {
		c.found = append(c.found, x)
		return nil
	}
	return c.Manager.Add(r)
}

// indexing is a manager's cache that only notes which indexes are asked for.
type indexing struct {
	crcache.Cache
	view *view
}

func (c indexing) IndexField(_ context.Context, obj ctrlclient.Object, name string, values ctrlclient.IndexerFunc) error {
	c.view.index(obj, name, values)
	return nil
}

func newCaptor(t *testing.T, v *view) *captor {
	t.Helper()
	mgr, err := manager.New(&rest.Config{Host: "https://in-process.invalid"}, manager.Options{
		Scheme:         scheme.Scheme,
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return client.NewMapper(api.Registry), nil },
		NewCache: func(*rest.Config, crcache.Options) (crcache.Cache, error) {
			return indexing{client.NewCache(api.Cache, api.Registry), v}, nil
		},
		NewClient:  func(*rest.Config, ctrlclient.Options) (ctrlclient.Client, error) { return api, nil },
		Logger:     logr.Discard(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &captor{Manager: mgr}
}
