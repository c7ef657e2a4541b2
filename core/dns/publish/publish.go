// Package publish leads clients to the servers of the cluster's DNS: by the Service kube-system/kube-dns, and an EndpointSlice
// of it for each server that lives.
package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/dns"
)

// Publisher publishes one server. Its fields are set before use; Client, Cache and Address are needed.
type Publisher struct {
	// Client's reads must see what was written before them.
	Client client.Client
	Cache  cache.Cache
	// Address is where the server answers.
	Address netip.AddrPort
	// ClusterIP is what the Service gets where that is free, and any other otherwise.
	ClusterIP netip.Addr
	// Node is the name of the server's node, if it has one.
	Node string
	// Alone says that there are no other servers. Otherwise each of them has a Lease, and slices of those that do not renew
	// theirs are removed.
	Alone bool
	// Now is time.Now unless set.
	Now func() time.Time

	renewals map[string]sighting
	renewed  time.Time
	foreign  bool
}

// sighting is when a lease was first seen with a time of renewal.
type sighting struct {
	renewal time.Time
	at      time.Time
}

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 10 * time.Second
	// leavePatience is how long it may take to say that the server ends.
	leavePatience = 2 * time.Second
)

func (p *Publisher) self() self { return self{address: p.Address, node: p.Node, alone: p.Alone} }

func (p *Publisher) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// Run keeps the server published until ctx ends. Where there are other servers it is taken back then; otherwise it stays
// for the next start.
func (p *Publisher) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	if err := p.follow(ctx, changed); err != nil {
		return err
	}
	if !p.Cache.WaitForCacheSync(ctx) {
		return ctx.Err()
	}
	retry := firstRetry
	for ctx.Err() == nil {
		wake, err := p.once(ctx)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			if !apierrors.IsConflict(err) {
				slog.Warn("cannot publish the cluster's DNS", "err", err, "again", retry)
			}
			wake, retry = retry, min(retry*2, lastRetry)
		} else {
			retry = firstRetry
		}
		var timer <-chan time.Time
		if wake > 0 {
			timer = time.After(wake)
		}
		select {
		case <-changed:
		case <-timer:
		case <-ctx.Done():
		}
	}
	if !p.Alone {
		p.leave(context.WithoutCancel(ctx))
	}
	return ctx.Err()
}

// once does what is to be done now, and returns after how long to look again.
func (p *Publisher) once(ctx context.Context) (wake time.Duration, err error) {
	have, err := p.observe(ctx)
	if err != nil {
		return 0, err
	}
	a := plan(p.self(), have, p.now())
	if a.foreign && !p.foreign {
		slog.Warn("the Service of the cluster's DNS is somebody else's and is left alone", "namespace", dns.ServiceNamespace, "service", dns.ServiceName)
	}
	p.foreign = a.foreign
	return a.wake, p.act(ctx, a)
}

func (p *Publisher) observe(ctx context.Context) (state, error) {
	have := state{leases: map[string]*coordinationv1.Lease{}, seen: map[string]time.Time{}, renewed: p.renewed}
	svc := &corev1.Service{}
	switch err := p.Client.Get(ctx, types.NamespacedName{Namespace: dns.ServiceNamespace, Name: dns.ServiceName}, svc); {
	case err == nil:
		have.service = svc
	case !apierrors.IsNotFound(err):
		return have, err
	}
	var slices discoveryv1.EndpointSliceList
	if err := p.Client.List(ctx, &slices, client.InNamespace(dns.ServiceNamespace), client.MatchingLabels{discoveryv1.LabelManagedBy: manager}); err != nil {
		return have, fmt.Errorf("list endpoint slices: %w", err)
	}
	for i := range slices.Items {
		have.slices = append(have.slices, &slices.Items[i])
	}
	var leases coordinationv1.LeaseList
	if err := p.Client.List(ctx, &leases, client.InNamespace(dns.ServiceNamespace), client.MatchingLabels{managedLabel: manager}); err != nil {
		return have, fmt.Errorf("list leases: %w", err)
	}
	now, fresh := p.now(), map[string]sighting{}
	for i := range leases.Items {
		l := &leases.Items[i]
		one := sighting{at: now}
		if l.Spec.RenewTime != nil {
			one.renewal = l.Spec.RenewTime.Time
		}
		if before, ok := p.renewals[l.Name]; ok && before.renewal.Equal(one.renewal) {
			one.at = before.at
		}
		fresh[l.Name], have.leases[l.Name], have.seen[l.Name] = one, l, one.at
	}
	p.renewals = fresh
	return have, nil
}

func (p *Publisher) act(ctx context.Context, a actions) error {
	var errs []error
	if a.create != nil {
		errs = append(errs, p.create(ctx, a.create))
	}
	if a.update != nil {
		errs = append(errs, p.Client.Update(ctx, a.update))
	}
	if a.renew {
		err := p.renew(ctx)
		if errs = append(errs, err); err != nil {
			a.put = nil // a slice without a lease would be taken for a dead one's
		}
	}
	if a.put != nil && a.put.ResourceVersion == "" {
		errs = append(errs, p.Client.Create(ctx, a.put))
	} else if a.put != nil {
		errs = append(errs, p.Client.Update(ctx, a.put))
	}
	for _, s := range a.removeSlices {
		slog.Info("a server of the cluster's DNS is withdrawn", "slice", s.Name)
		errs = append(errs, client.IgnoreNotFound(p.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion})))
	}
	for _, name := range a.removeLeases {
		errs = append(errs, client.IgnoreNotFound(p.Client.Delete(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: dns.ServiceNamespace, Name: name}})))
	}
	return errors.Join(errs...)
}

// create makes the Service, at the address that clients of other clusters know if that is free.
func (p *Publisher) create(ctx context.Context, svc *corev1.Service) error {
	if p.ClusterIP.IsValid() {
		wanted := svc.DeepCopy()
		wanted.Spec.ClusterIP = p.ClusterIP.String()
		err := p.Client.Create(ctx, wanted)
		if !apierrors.IsInvalid(err) {
			return ignoreExists(err)
		}
		slog.Warn("the cluster's DNS gets another address than usual", "usual", p.ClusterIP, "err", err)
	}
	return ignoreExists(p.Client.Create(ctx, svc))
}

func ignoreExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (p *Publisher) renew(ctx context.Context) error {
	want := lease(p.self(), p.now())
	have := &coordinationv1.Lease{}
	err := p.Client.Get(ctx, client.ObjectKeyFromObject(want), have)
	switch {
	case apierrors.IsNotFound(err):
		err = p.Client.Create(ctx, want)
	case err == nil:
		want.ResourceVersion = have.ResourceVersion
		err = p.Client.Update(ctx, want)
	}
	if err == nil {
		p.renewed = p.now()
	}
	return err
}

// leave takes the server back.
func (p *Publisher) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leavePatience)
	defer cancel()
	meta := metav1.ObjectMeta{Namespace: dns.ServiceNamespace, Name: p.self().name()}
	for _, o := range []client.Object{&discoveryv1.EndpointSlice{ObjectMeta: meta}, &coordinationv1.Lease{ObjectMeta: meta}} {
		if err := client.IgnoreNotFound(p.Client.Delete(ctx, o)); err != nil {
			slog.Warn("cannot withdraw this server of the cluster's DNS", "err", err)
		}
	}
}

// Withdraw removes what earlier starts have published of this server, and the Service when no other server is left. It is
// for those who bring a DNS server of their own.
func (p *Publisher) Withdraw(ctx context.Context) error {
	have, err := p.observe(ctx)
	if err != nil || have.service == nil || !ours(have.service) {
		return err
	}
	p.leave(ctx)
	for _, s := range have.slices {
		if s.Name != p.self().name() && !p.Alone {
			return nil
		}
	}
	return client.IgnoreNotFound(p.Client.Delete(ctx, have.service))
}

// follow wakes the publisher by what may concern it.
func (p *Publisher) follow(ctx context.Context, changed chan<- struct{}) error {
	kinds := []client.Object{&corev1.Service{}, &discoveryv1.EndpointSlice{}}
	if !p.Alone {
		kinds = append(kinds, &coordinationv1.Lease{})
	}
	for _, kind := range kinds {
		informer, err := p.Cache.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind, err)
		}
		wake := func(obj any) {
			if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if !concerns(obj.(client.Object)) {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
		handle, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: wake, UpdateFunc: func(_, now any) { wake(now) }, DeleteFunc: wake})
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind, err)
		}
		context.AfterFunc(ctx, func() { _ = informer.RemoveEventHandler(handle) })
	}
	return nil
}

// concerns tells the Service, and the slices and leases of servers.
func concerns(o client.Object) bool {
	if o.GetNamespace() != dns.ServiceNamespace {
		return false
	}
	labels := o.GetLabels()
	if _, service := o.(*corev1.Service); service {
		return o.GetName() == dns.ServiceName
	}
	return labels[discoveryv1.LabelManagedBy] == manager || labels[managedLabel] == manager
}
