package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/apiwatch"
)

const (
	leaseNamespace = "kube-node-lease"
	leaseSeconds   = 40
	renewPeriod    = 10 * time.Second
	statusPeriod   = 5 * time.Minute
	firstRetry     = 20 * time.Millisecond
	lastRetry      = 5 * time.Second
	unreadyFirst   = 20 * time.Millisecond
)

// Registrar registers a node and keeps its Node and Lease up to date.
type Registrar struct {
	API   client.WithWatch
	Clock clock.Clock
	Log   *slog.Logger
	Spec  Spec
	// Health is asked whenever the status may have changed.
	Health func(ctx context.Context) Health
	// Changed is called with each version of the Node that is seen. It must not be changed.
	Changed func(n *corev1.Node)

	mu   sync.Mutex
	last *corev1.Node
	wake chan struct{}
	once sync.Once
}

func (r *Registrar) channel() chan struct{} {
	r.once.Do(func() { r.wake = make(chan struct{}, 1) })
	return r.wake
}

// Wake makes the status be computed anew.
func (r *Registrar) Wake() {
	select {
	case r.channel() <- struct{}{}:
	default:
	}
}

// Run registers the node and keeps it up to date until the context ends.
func (r *Registrar) Run(ctx context.Context) error {
	r.channel()
	if err := r.register(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.follow(ctx) })
	wg.Go(func() { r.renew(ctx) })
	wg.Go(func() { r.report(ctx) })
	wg.Wait()
	return nil
}

// register creates the Node or takes over the one that exists. It tries until it succeeds.
func (r *Registrar) register(ctx context.Context) error {
	for wait := firstRetry; ; wait = min(wait*2, lastRetry) {
		err := r.tryRegister(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.Log.Warn("register node", "err", err)
		if err := r.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func (r *Registrar) sleep(ctx context.Context, d time.Duration) error {
	t := r.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C():
		return nil
	}
}

func (r *Registrar) tryRegister(ctx context.Context) error {
	n := r.Spec.New(r.Health(ctx), r.Clock.Now())
	err := r.API.Create(ctx, n)
	if err == nil {
		r.take(n)
		r.Wake()
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create node %s: %w", r.Spec.Name, err)
	}
	var have corev1.Node
	if err := r.API.Get(ctx, client.ObjectKey{Name: r.Spec.Name}, &have); err != nil {
		return fmt.Errorf("get node %s: %w", r.Spec.Name, err)
	}
	want := have.DeepCopy()
	if want.Labels == nil {
		want.Labels = map[string]string{}
	}
	maps.Copy(want.Labels, r.Spec.allLabels())
	if !maps.Equal(want.Labels, have.Labels) {
		if err := r.API.Update(ctx, want); err != nil {
			return fmt.Errorf("update node %s: %w", r.Spec.Name, err)
		}
	}
	r.take(want)
	r.Wake()
	return nil
}

func (r *Registrar) take(n *corev1.Node) {
	r.mu.Lock()
	r.last = n
	r.mu.Unlock()
	r.Changed(n)
}

func (r *Registrar) node() *corev1.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func (r *Registrar) follow(ctx context.Context) {
	apiwatch.Run(ctx, apiwatch.Source{
		API: r.API, Name: "node " + r.Spec.Name, Object: &corev1.Node{},
		List: func() client.ObjectList { return &corev1.NodeList{} },
		Options: []client.ListOption{
			client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", r.Spec.Name)},
		},
	}, handler{r})
}

type handler struct{ r *Registrar }

var _ apiwatch.Handler = handler{}

// Replace implements apiwatch.Handler.
func (h handler) Replace(objs []client.Object) {
	for _, o := range objs {
		h.Put(o)
	}
}

// Put implements apiwatch.Handler.
func (h handler) Put(o client.Object) {
	n, ok := o.(*corev1.Node)
	if !ok || n.Name != h.r.Spec.Name {
		return
	}
	before := h.r.node()
	h.r.take(n)
	// Others write here, too: after a silence the node controller calls a node Unknown that is well again.
	if before == nil || before.Spec.PodCIDR != n.Spec.PodCIDR || before.UID != n.UID || readiness(before) != readiness(n) {
		h.r.Wake()
	}
}

func readiness(n *corev1.Node) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status
		}
	}
	return ""
}

// Remove implements apiwatch.Handler: a node whose object was deleted registers again.
func (h handler) Remove(o client.Object) {
	if o.GetName() != h.r.Spec.Name {
		return
	}
	h.r.mu.Lock()
	h.r.last = nil
	h.r.mu.Unlock()
	h.r.Wake()
}

// report writes the status when it changes and at the latest every five minutes. While the node is not ready it looks
// again soon, since not all that it waits for tells of itself.
func (r *Registrar) report(ctx context.Context) {
	due := r.Clock.Now().Add(statusPeriod)
	again := unreadyFirst
	timer := r.Clock.NewTimer(statusPeriod)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-timer.C():
		}
		now := r.Clock.Now()
		h := r.Health(ctx)
		wrote, err := r.write(ctx, h, !now.Before(due))
		if wrote {
			due = now.Add(statusPeriod)
		}
		wait := due.Sub(now)
		switch {
		case err != nil && ctx.Err() == nil:
			r.Log.Warn("report node status", "err", err)
			wait, again = again, min(again*2, lastRetry)
		case h.NotReady != "":
			wait, again = again, min(again*2, lastRetry)
		default:
			again = unreadyFirst
		}
		if !timer.Stop() {
			select {
			case <-timer.C():
			default:
			}
		}
		timer.Reset(wait)
	}
}

func (r *Registrar) write(ctx context.Context, h Health, must bool) (bool, error) {
	base := r.node()
	if base == nil {
		return false, r.tryRegister(ctx)
	}
	for range 5 {
		want := r.Spec.Status(base.Status, h, r.Clock.Now())
		if !must && Same(&want, &base.Status) {
			return false, nil
		}
		obj := base.DeepCopy()
		obj.Status = want
		err := r.API.Status().Update(ctx, obj)
		if err == nil {
			r.take(obj)
			return true, nil
		}
		if !apierrors.IsConflict(err) {
			return false, fmt.Errorf("update status of node %s: %w", r.Spec.Name, err)
		}
		base = &corev1.Node{}
		if err := r.API.Get(ctx, client.ObjectKey{Name: r.Spec.Name}, base); err != nil {
			return false, fmt.Errorf("get node %s: %w", r.Spec.Name, err)
		}
	}
	return false, fmt.Errorf("update status of node %s: too many conflicts", r.Spec.Name)
}

// renew keeps the lease fresh.
func (r *Registrar) renew(ctx context.Context) {
	var lease *coordinationv1.Lease
	wait := firstRetry
	for {
		next, err := r.renewOnce(ctx, lease)
		pause := renewPeriod
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			r.Log.Warn("renew lease", "err", err)
			pause, wait = wait, min(wait*2, lastRetry)
		} else {
			wait = firstRetry
		}
		lease = next
		if r.sleep(ctx, pause) != nil {
			return
		}
	}
}

// renewOnce renews the lease that it is given, or else the one in the API. On an error it returns none, so that the next
// attempt reads it anew.
func (r *Registrar) renewOnce(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	now := metav1.NewMicroTime(r.Clock.Now())
	holder, seconds := r.Spec.Name, int32(leaseSeconds)
	if lease == nil {
		lease = &coordinationv1.Lease{}
		err := r.API.Get(ctx, client.ObjectKey{Namespace: leaseNamespace, Name: r.Spec.Name}, lease)
		if apierrors.IsNotFound(err) {
			lease = &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: r.Spec.Name, OwnerReferences: r.owner()},
				Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now},
			}
			if err := r.API.Create(ctx, lease); err != nil {
				return nil, fmt.Errorf("create lease %s: %w", r.Spec.Name, err)
			}
			return lease, nil
		}
		if err != nil {
			return nil, fmt.Errorf("get lease %s: %w", r.Spec.Name, err)
		}
	}
	lease = lease.DeepCopy()
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime = &holder, &seconds, &now
	if owner := r.owner(); owner != nil {
		lease.OwnerReferences = owner
	}
	if err := r.API.Update(ctx, lease); err != nil {
		return nil, fmt.Errorf("update lease %s: %w", r.Spec.Name, err)
	}
	return lease, nil
}

func (r *Registrar) owner() []metav1.OwnerReference {
	n := r.node()
	if n == nil || n.UID == "" {
		return nil
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}}
}
