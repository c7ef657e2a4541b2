package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/client"
	"github.com/gantryio/gantry/core/scheduler"
	"github.com/gantryio/gantry/core/store"
)

// core is the store, the API server and the scheduler in this process, wired as in `gantry server`, with
// nodes that nobody runs.
type core struct {
	*client.Client
	informed *client.Cache
	store    *store.Store
	dir      string
	ctx      context.Context
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

func newCore(ctx context.Context) (*core, error) {
	dir, err := os.MkdirTemp("", "gb")
	if err != nil {
		return nil, err
	}
	c := &core{dir: dir}
	c.ctx, c.stop = context.WithCancel(ctx)
	if c.store, err = store.Open(c.ctx, store.Config{Dir: dir}); err != nil {
		return nil, err
	}
	kinds := all.Kinds()
	watched := cache.New(c.store, kinds)
	srv := &apiserver.Server{
		Registry: kinds, Store: c.store, Cache: watched, ServiceRange: netip.MustParsePrefix("10.96.0.0/16"),
		Admission: admission.Default(admission.Reader{Cache: watched, Registry: kinds}),
	}
	srv.Init()
	c.Client = &client.Client{
		Server: srv, Cache: watched, Registry: kinds, Manager: "bench",
		User: &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup}},
	}
	c.informed = client.NewCache(watched, kinds)
	c.run(c.store.Run)
	c.run(watched.Run)
	<-watched.Synced()
	srv.LoadAllocations()
	if err := srv.Bootstrap(c.ctx, "192.0.2.1", 6443); err != nil {
		return nil, err
	}
	c.run(c.informed.Start)
	return c, nil
}

func (c *core) close() {
	c.stop()
	c.wg.Wait()
	c.store.Close()
	_ = os.RemoveAll(c.dir)
}

func (c *core) run(f func(context.Context) error) {
	c.wg.Go(func() {
		if err := f(c.ctx); err != nil && c.ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
	})
}

// schedule starts the scheduler.
func (c *core) schedule() { c.scheduleWith(nil, nil) }

func (c *core) scheduleWith(config *scheduler.Config, plugins scheduler.Plugins) {
	api := c.As("scheduler")
	c.run((&scheduler.Scheduler{
		Client: api, Cache: c.informed, Recorder: client.NewRecorder(c.ctx, api, "default-scheduler", ""), Config: config, Plugins: plugins,
	}).Run)
}

// nodes creates nodes of 32 CPUs in three zones.
func (c *core) nodes(n int, cpu string) error {
	return each(n, func(i int) error {
		name := fmt.Sprintf("node-%d", i)
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name, corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i%3)}},
			Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("110"),
			}},
		}
		node.Status.Capacity = node.Status.Allocatable
		if err := c.Create(c.ctx, node.DeepCopy()); err != nil {
			return err
		}
		var have corev1.Node
		if err := c.Get(c.ctx, clientKey("", name), &have); err != nil {
			return err
		}
		update := have.DeepCopy()
		update.Status = node.Status
		if err := c.Status().Update(c.ctx, update); err != nil {
			return err
		}
		if len(update.Spec.Taints) == 0 {
			return nil
		}
		update.Spec.Taints = nil // it is ready for all that the scheduler knows
		return c.Update(c.ctx, update)
	})
}

func corePod(name string, edits ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault, Labels: map[string]string{"app": "bench"}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{Name: "c", Image: "img:1", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
			}}}},
		},
	}
	for _, e := range edits {
		e(p)
	}
	return p
}

// each calls do for 0 to n-1, many at a time.
func each(n int, do func(i int) error) error {
	const workers = 64
	errs := make(chan error, workers)
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// bindings tells when pods got their nodes.
type bindings struct {
	mu    sync.Mutex
	at    map[string]time.Time
	grown chan struct{}
}

// watchBindings sees pods get their nodes, those of the prefix.
func (c *core) watchBindings(prefix string) (*bindings, error) {
	b := &bindings{at: map[string]time.Time{}, grown: make(chan struct{}, 1)}
	informer, err := c.informed.GetInformer(c.ctx, &corev1.Pod{})
	if err != nil {
		return nil, err
	}
	see := func(o any) {
		p := o.(*corev1.Pod)
		if p.Spec.NodeName == "" || len(p.Name) < len(prefix) || p.Name[:len(prefix)] != prefix {
			return
		}
		b.mu.Lock()
		if _, ok := b.at[p.Name]; !ok {
			b.at[p.Name] = time.Now()
		}
		b.mu.Unlock()
		select {
		case b.grown <- struct{}{}:
		default:
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }})
	return b, err
}

func (b *bindings) await(ctx context.Context, n int) error {
	for {
		b.mu.Lock()
		have := len(b.at)
		b.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-b.grown:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%d of %d pods are bound", have, n), ctx.Err())
		}
	}
}
