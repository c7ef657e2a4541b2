package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/api/quota"
)

// refundPatience is how long giving back what a failed write had been charged for may take.
const refundPatience = 10 * time.Second

// ResourceQuota holds a namespace to its quotas. What an object will use is added to the quotas' status before the object is
// written, each time over the version that was read, so that however many servers and requests there are, no more is let in
// than fits. What was added for a write that failed is taken back; what goes is taken out by the quotas' controller.
//
// It has to be the last of a chain.
type ResourceQuota struct {
	Objects Reader
	// Write replaces the status of a quota, and fails with a conflict when somebody else has meanwhile.
	Write func(ctx context.Context, q *corev1.ResourceQuota) error

	mu      sync.Mutex
	waiting map[string]*turn // by namespace
	charges map[*Attributes][]charge
}

// turn lets requests of a namespace go one by one: they would only make each other start again.
type turn struct {
	sync.Mutex
	users int
}

// charge is what a request has added to a quota, before its write has ended.
type charge struct {
	quota types.NamespacedName
	uid   types.UID
	use   corev1.ResourceList
}

var (
	_ Validator = (*ResourceQuota)(nil)
	_ Finisher  = (*ResourceQuota)(nil)
)

// Name implements [Plugin].
func (*ResourceQuota) Name() string { return "ResourceQuota" }

// Validate implements [Validator].
func (p *ResourceQuota) Validate(ctx context.Context, a *Attributes) error {
	if !adds(a) {
		return nil
	}
	if quotas, err := p.Objects.quotas(ctx, a.Namespace); len(quotas) == 0 {
		return err
	}
	use := use(a)
	if len(use) == 0 {
		return nil
	}
	defer p.enter(a.Namespace)()
	for {
		list, err := p.concerned(ctx, a, use)
		if err != nil {
			p.refund(ctx, a)
			return err
		}
		if len(list) == 0 || a.DryRun {
			return nil
		}
		err = p.charge(ctx, a, list[0], use)
		if err != nil && !apierrors.IsConflict(err) {
			p.refund(ctx, a)
			return err
		}
	}
}

// adds tells whether the write can add to what the namespace uses.
func adds(a *Attributes) bool {
	if !a.Resource.Namespaced || a.Object == nil || a.Subresource != "" && a.Subresource != "resize" {
		return false
	}
	switch a.Object.(type) {
	case *corev1.Service, *corev1.PersistentVolumeClaim, *corev1.Pod:
		return a.Operation == Create || a.Operation == Update
	}
	return a.Operation == Create
}

// use is what the write adds.
func use(a *Attributes) corev1.ResourceList {
	gr := a.Resource.GroupResource()
	if a.Operation == Create {
		return quota.Grown(quota.Usage(gr, a.Object), nil)
	}
	return quota.Grown(quota.Usage(gr, a.Object), quota.Usage(gr, a.Old))
}

// concerned lists the quotas that have still to be charged, when the write exceeds none of them.
func (p *ResourceQuota) concerned(ctx context.Context, a *Attributes, use corev1.ResourceList) ([]*corev1.ResourceQuota, error) {
	refuse := func(format string, args ...any) error {
		return apierrors.NewForbidden(a.Resource.GroupResource(), a.Object.GetName(), fmt.Errorf(format, args...))
	}
	var out []*corev1.ResourceQuota
	quotas, err := p.Objects.quotas(ctx, a.Namespace)
	if err != nil {
		return nil, err
	}
	for _, q := range quotas {
		if p.charged(a, q.UID) || !quota.Matches(q, a.Resource.GroupResource(), a.Object) {
			continue
		}
		if pod, ok := a.Object.(*corev1.Pod); ok && (a.Operation == Create || a.Subresource == "resize") {
			if why := quota.Unspoken(q.Status.Hard, pod); why != "" {
				return nil, refuse("failed quota: %s: %s", q.Name, why)
			}
		}
		wish := quota.Only(use, q.Status.Hard)
		if len(wish) == 0 {
			continue
		}
		if unknown := unknown(q, wish); len(unknown) > 0 {
			return nil, refuse("status unknown for quota: %s, resources: %s", q.Name, strings.Join(unknown, ","))
		}
		if why := quota.Over(q, wish); why != "" {
			return nil, refuse("%s", why)
		}
		out = append(out, q)
	}
	return out, nil
}

// unknown are the resources of which nobody has counted yet how much is used.
func unknown(q *corev1.ResourceQuota, wish corev1.ResourceList) []string {
	var out []string
	for name := range wish {
		if _, ok := q.Status.Used[name]; !ok {
			out = append(out, string(name))
		}
	}
	slices.Sort(out)
	return out
}

// charge adds to a quota. It is known as under way before it is written.
func (p *ResourceQuota) charge(ctx context.Context, a *Attributes, q *corev1.ResourceQuota, use corev1.ResourceList) error {
	c := charge{quota: types.NamespacedName{Namespace: q.Namespace, Name: q.Name}, uid: q.UID, use: quota.Only(use, q.Status.Hard)}
	p.mu.Lock()
	if p.charges == nil {
		p.charges = map[*Attributes][]charge{}
	}
	p.charges[a] = append(p.charges[a], c)
	p.mu.Unlock()
	update := q.DeepCopy()
	update.Status.Used = quota.Add(q.Status.Used, c.use)
	err := p.Write(ctx, update)
	if err != nil {
		p.mu.Lock()
		p.charges[a] = p.charges[a][:len(p.charges[a])-1]
		p.mu.Unlock()
	}
	return err
}

func (p *ResourceQuota) charged(a *Attributes, uid types.UID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.charges[a], func(c charge) bool { return c.uid == uid })
}

// Finish implements [Finisher].
func (p *ResourceQuota) Finish(ctx context.Context, a *Attributes, err error) {
	if err != nil && !apierrors.IsTimeout(err) { // what became of one that timed out, counting will tell
		p.refund(ctx, a)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.charges, a)
}

// refund takes back what the request has added.
func (p *ResourceQuota) refund(ctx context.Context, a *Attributes) {
	p.mu.Lock()
	list := p.charges[a]
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refundPatience)
	defer cancel()
	for _, c := range list {
		for p.takeBack(ctx, &c) && ctx.Err() == nil {
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.charges, a)
}

// takeBack tells whether it has to be tried again.
func (p *ResourceQuota) takeBack(ctx context.Context, c *charge) (again bool) {
	quotas, err := p.Objects.quotas(ctx, c.quota.Namespace)
	if err != nil {
		return true // until the time for it is over; then counting finds out
	}
	for _, q := range quotas {
		if q.UID != c.uid {
			continue
		}
		update := q.DeepCopy()
		for name, amount := range c.use {
			if used, ok := update.Status.Used[name]; ok {
				if used.Sub(amount); used.Sign() < 0 {
					used.Set(0)
				}
				update.Status.Used[name] = used
			}
		}
		return apierrors.IsConflict(p.Write(ctx, update))
	}
	return false
}

// UnderWay are the charges of writes whose outcome may not be seen yet among the objects. Who counts these has to ask before.
func (p *ResourceQuota) UnderWay(of types.NamespacedName) []quota.Charge {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []quota.Charge
	for a, list := range p.charges {
		for _, c := range list {
			if c.quota != of {
				continue
			}
			one := quota.Charge{Use: c.use}
			if a.Operation == Create {
				one.Object = a.Object.GetUID()
			}
			out = append(out, one)
		}
	}
	return out
}

// enter waits for the namespace's turn and returns what ends it.
func (p *ResourceQuota) enter(namespace string) (leave func()) {
	p.mu.Lock()
	if p.waiting == nil {
		p.waiting = map[string]*turn{}
	}
	t := p.waiting[namespace]
	if t == nil {
		t = &turn{}
		p.waiting[namespace] = t
	}
	t.users++
	p.mu.Unlock()
	t.Lock()
	return func() {
		t.Unlock()
		p.mu.Lock()
		defer p.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(p.waiting, namespace)
		}
	}
}
