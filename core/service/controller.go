package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/interfaces/service"
)

// Controller keeps the node's service plugin in step with the API, and hands over when that becomes another one. Its
// fields are set before Run; Cache, Proxies and Node are needed.
type Controller struct {
	// Cache has the Services and EndpointSlices and tells of their changes.
	Cache   cache.Cache
	Proxies Proxies
	// Served, if set, is called when what Serving returns has changed.
	Served func()
	// Node is the node's name: its endpoints are the local ones.
	Node string
	// NodeAddresses are where node ports are served; nil means all local addresses.
	NodeAddresses []netip.Addr
	// PodCIDRs are the pod ranges of the cluster.
	PodCIDRs []netip.Prefix
	// Audit is how often the plugin is asked to compare although nothing changed; a minute when 0.
	Audit time.Duration
	// HostPorts, if set, returns what is routed besides Services; Wake says that it changed.
	HostPorts func() []service.Service
	Wake      <-chan struct{}
	// Synced, if set, is called after each successful Sync.
	Synced func(service.Snapshot)

	hand handover
}

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// Run syncs at once, at each change and at each audit, until ctx ends. Changes that come while the plugin
// is busy are taken together. What is routed stays when Run ends.
func (c *Controller) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	for _, kind := range []client.Object{&corev1.Service{}, &discoveryv1.EndpointSlice{}} {
		if err := c.watch(ctx, kind, changed); err != nil {
			return err
		}
	}
	if !c.Cache.WaitForCacheSync(ctx) {
		return ctx.Err()
	}
	audit := c.Audit
	if audit == 0 {
		audit = time.Minute
	}
	poke(changed)
	timer := time.NewTimer(audit)
	defer timer.Stop()
	var done *service.Snapshot
	for wait := firstRetry; ; {
		force := false
		swapped := c.Proxies.Changed()
		if all := c.Proxies.Proxies(); len(all) > 0 && done != nil && c.hand.due(all[0]) {
			poke(changed)
		}
		select {
		case <-changed:
		case <-c.Wake:
		case <-swapped:
		case <-timer.C:
			force = true
		case <-ctx.Done():
			return nil
		}
		now, err := c.sync(ctx, done, force || done == nil)
		if err != nil && ctx.Err() == nil {
			slog.Warn("cannot sync services", "error", err, "again", wait)
			done = nil
			timer.Reset(wait)
			wait = min(wait*2, lastRetry)
			continue
		}
		wait, done = firstRetry, now
		timer.Reset(audit)
	}
}

// sync returns the snapshot that is routed now.
func (c *Controller) sync(ctx context.Context, before *service.Snapshot, force bool) (*service.Snapshot, error) {
	var services corev1.ServiceList
	if err := c.Cache.List(ctx, &services, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	var endpointSlices discoveryv1.EndpointSliceList
	if err := c.Cache.List(ctx, &endpointSlices, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list endpoint slices: %w", err)
	}
	now := service.Snapshot{
		Services: model(services.Items, endpointSlices.Items, c.Node), NodeAddresses: c.NodeAddresses, PodCIDRs: c.PodCIDRs,
	}
	if c.HostPorts != nil {
		now.Services = append(now.Services, c.HostPorts()...)
	}
	all := c.Proxies.Proxies()
	if len(all) == 0 {
		return nil, errors.New("the node has no service plugin")
	}
	if force || before == nil || c.hand.due(all[0]) || !reflect.DeepEqual(*before, now) {
		if err := c.route(ctx, all, now); err != nil {
			return nil, err
		}
		if c.Synced != nil {
			c.Synced(now)
		}
	}
	return &now, c.withdraw(ctx, all)
}

func (c *Controller) watch(ctx context.Context, kind client.Object, changed chan struct{}) error {
	informer, err := c.Cache.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { poke(changed) },
		UpdateFunc: func(any, any) { poke(changed) },
		DeleteFunc: func(any) { poke(changed) },
	})
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	return nil
}

// poke asks for one more round, unless one is asked for already.
func poke(changed chan struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}
