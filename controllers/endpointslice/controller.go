// Package endpointslice tells which addresses stand behind each Service: in EndpointSlices of at most a
// hundred endpoints, and in an Endpoints object for clients that know nothing newer.
//
// Only Services with a selector are served; slices that others manage are never touched.
package endpointslice

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/endpointslices"
	"github.com/gantryio/gantry/core/client/owner"
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

// The indexes that reconciles read by. Pods are found by each of their labels, Services by the first
// requirement of their selector, slices by their Service.
const (
	podsByLabel        = "endpointslice.label"
	servicesBySelector = "endpointslice.selector"
	slicesByService    = "endpointslice.service"
)

// Controller reconciles Services.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
	Clock    clock.Clock

	mu   sync.Mutex
	rest map[types.NamespacedName]time.Time
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	ctx, x := context.Background(), mgr.GetFieldIndexer()
	if err := errors.Join(
		x.IndexField(ctx, &corev1.Pod{}, podsByLabel, byLabels),
		x.IndexField(ctx, &corev1.Service{}, servicesBySelector, bySelector),
		x.IndexField(ctx, &discoveryv1.EndpointSlice{}, slicesByService, byService),
	); err != nil {
		return err
	}
	return ctrl.ControllerManagedBy(mgr).Named("endpointslice").
		For(&corev1.Service{}).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Pod{}, c.podEvents())).
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(serviceOf)).
		WithOptions(workers.Options(8)).
		Complete(c)
}

func pair(namespace, key, value string) string { return namespace + "/" + key + "=" + value }

func byLabels(o client.Object) []string {
	var out []string
	for k, v := range o.GetLabels() {
		out = append(out, pair(o.GetNamespace(), k, v))
	}
	return out
}

// firstPair is what a selector is indexed by: the requirement whose key is the first in alphabetic order.
func firstPair(namespace string, selector map[string]string) string {
	keys := slices.Sorted(maps.Keys(selector))
	return pair(namespace, keys[0], selector[keys[0]])
}

// bySelector are also the namespaces in which there are Services with selectors at all.
func bySelector(o client.Object) []string {
	svc := o.(*corev1.Service)
	if len(svc.Spec.Selector) == 0 {
		return nil
	}
	return []string{svc.Namespace, firstPair(svc.Namespace, svc.Spec.Selector)}
}

func byService(o client.Object) []string {
	if name := o.GetLabels()[discoveryv1.LabelServiceName]; name != "" {
		return []string{pair(o.GetNamespace(), "service", name)}
	}
	return nil
}

func serviceOf(_ context.Context, o client.Object) []reconcile.Request {
	if !ours(o.(*discoveryv1.EndpointSlice)) {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetLabels()[discoveryv1.LabelServiceName]}}}
}

// servicesOf finds the Services that select the pod.
func (c *Controller) servicesOf(ctx context.Context, o client.Object) []reconcile.Request {
	var list corev1.ServiceList
	if owner.NoneBy(c.Client, &list, servicesBySelector, o.GetNamespace()) {
		return nil
	}
	find := func(value string) error {
		selected := client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector(servicesBySelector, value)} // sooner made than MatchingFields
		return c.Client.List(ctx, &list, client.InNamespace(o.GetNamespace()), selected)
	}
	var out []reconcile.Request
	for _, p := range byLabels(o) {
		if find(p) != nil {
			continue
		}
		for i := range list.Items {
			if labels.SelectorFromValidatedSet(list.Items[i].Spec.Selector).Matches(labels.Set(o.GetLabels())) {
				out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
			}
		}
	}
	return out
}

// podEvents queues the Services of pods that come or go, or change in what shows in endpoints.
func (c *Controller) podEvents() owner.Func {
	enqueue := owner.Enqueue(c.servicesOf)
	return func(ctx context.Context, old, now client.Object, q source.Queue[reconcile.Request]) {
		if old == nil || now == nil || podMatters(old.(*corev1.Pod), now.(*corev1.Pod)) {
			enqueue(ctx, old, now, q)
		}
	}
}

// podMatters tells changes that show in endpoints.
func podMatters(old, now *corev1.Pod) bool {
	return old.UID != now.UID || old.Status.Phase != now.Status.Phase || ready(old) != ready(now) ||
		(old.DeletionTimestamp == nil) != (now.DeletionTimestamp == nil) ||
		old.Spec.NodeName != now.Spec.NodeName || old.Spec.Hostname != now.Spec.Hostname || old.Spec.Subdomain != now.Spec.Subdomain ||
		!slices.Equal(old.Status.PodIPs, now.Status.PodIPs) || old.Status.PodIP != now.Status.PodIP || !maps.Equal(old.Labels, now.Labels)
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if wait := c.resting(req.NamespacedName); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	svc := &corev1.Service{}
	if err := c.Client.Get(ctx, req.NamespacedName, svc); apierrors.IsNotFound(err) {
		return reconcile.Result{}, c.dropEndpoints(ctx, req.NamespacedName) // slices go with their owner
	} else if err != nil {
		return reconcile.Result{}, err
	}
	if len(svc.Spec.Selector) == 0 || svc.Spec.Type == corev1.ServiceTypeExternalName || svc.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	pods, err := c.pods(ctx, svc)
	if err != nil {
		return reconcile.Result{}, err
	}
	zones, err := c.zones(ctx, pods)
	if err != nil {
		return reconcile.Result{}, err
	}
	groups := groupsOf(svc, pods, zones)
	err = errors.Join(c.writeSlices(ctx, svc, groups), c.writeEndpoints(ctx, svc, groups))
	c.restFor(req.NamespacedName, len(pods))
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	return reconcile.Result{}, err
}

func (c *Controller) pods(ctx context.Context, svc *corev1.Service) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, client.InNamespace(svc.Namespace), client.MatchingLabels(svc.Spec.Selector),
		client.MatchingFields{podsByLabel: firstPair(svc.Namespace, svc.Spec.Selector)}); err != nil {
		return nil, fmt.Errorf("list pods of service %s: %w", svc.Name, err)
	}
	out := make([]*corev1.Pod, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, &list.Items[i])
	}
	slices.SortFunc(out, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// zones are those of the pods' nodes.
func (c *Controller) zones(ctx context.Context, pods []*corev1.Pod) (map[string]string, error) {
	out := map[string]string{}
	for _, pod := range pods {
		name := pod.Spec.NodeName
		if _, known := out[name]; known || name == "" {
			continue
		}
		node := &corev1.Node{}
		if err := c.Client.Get(ctx, types.NamespacedName{Name: name}, node); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("get node %s: %w", name, err)
		}
		out[name] = node.Labels[corev1.LabelTopologyZone]
	}
	return out, nil
}

// writeSlices makes the slices say what the groups say.
func (c *Controller) writeSlices(ctx context.Context, svc *corev1.Service, groups []group) error {
	w := endpointslices.Writer{Client: c.Client, Live: c.Live, Recorder: c.Recorder, Ours: ours}
	index := client.MatchingFields{slicesByService: pair(svc.Namespace, "service", svc.Name)}
	return w.Settle(ctx, client.ObjectKeyFromObject(svc), index, svc, "Service", func(have []*discoveryv1.EndpointSlice) endpointslices.Changes {
		return endpointslices.Changes(decide(svc, have, groups))
	})
}

// resting keeps a Service of hundreds of pods from being computed at each change of one of them.
func (c *Controller) resting(key types.NamespacedName) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rest[key].Sub(c.Clock.Now())
}

const restPerPod = 50 * time.Microsecond

func (c *Controller) restFor(key types.NamespacedName, pods int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rest == nil {
		c.rest = map[types.NamespacedName]time.Time{}
	}
	if rest := time.Duration(pods) * restPerPod; rest > 2*time.Millisecond {
		c.rest[key] = c.Clock.Now().Add(rest)
	} else {
		delete(c.rest, key)
	}
}
