// Package horizontalpodautoscaler gives workloads the number of replicas that their metrics ask for, as
// HorizontalPodAutoscalers say. It looks at the metrics every 15 seconds; what follows from them is decided by pure
// functions: plan.go puts it together, evaluate.go and pods.go turn metrics into sizes, limit.go holds these back.
package horizontalpodautoscaler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/workers"
)

// concurrency is how many autoscalers are looked at at the same time: reading metrics is mostly waiting.
const concurrency = 4

// Controller reconciles HorizontalPodAutoscalers.
type Controller struct {
	Client   client.Client
	Recorder record.EventRecorder
	Metrics  Metrics
	Settings Settings
	Clock    clock.Clock

	mapper meta.RESTMapper

	mu        sync.Mutex
	histories map[types.NamespacedName]history
	selectors map[string]map[string]labels.Selector // of the targets, by the autoscalers' namespaces and names
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	c.mapper = mgr.GetRESTMapper()
	// Its own reports are no news.
	news := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		old, ok := e.ObjectOld.(*autoscalingv2.HorizontalPodAutoscaler)
		now, also := e.ObjectNew.(*autoscalingv2.HorizontalPodAutoscaler)
		return !ok || !also || !equality.Semantic.DeepEqual(&old.Spec, &now.Spec)
	}}
	return ctrl.ControllerManagedBy(mgr).Named("horizontalpodautoscaler").
		For(&autoscalingv2.HorizontalPodAutoscaler{}, ctrl.WithPredicates(news)).
		WithOptions(workers.Options(concurrency)).
		Complete(c)
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	hpa := &autoscalingv2.HorizontalPodAutoscaler{}
	if err := c.Client.Get(ctx, req.NamespacedName, hpa); err != nil {
		if apierrors.IsNotFound(err) {
			c.forget(req.NamespacedName)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	// What fails is tried again with the next look: the conditions and events tell of it, and metrics do not come sooner.
	if err := c.sync(ctx, hpa); err != nil && ctx.Err() == nil {
		slog.Debug("cannot autoscale", "autoscaler", req.NamespacedName, "err", err)
	}
	return reconcile.Result{RequeueAfter: c.Settings.withDefaults().Sync}, nil
}

func (c *Controller) sync(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler) error {
	key := client.ObjectKeyFromObject(hpa)
	obj, scale, err := c.scaleOf(ctx, hpa)
	if err != nil {
		c.unselect(key)
		p := unscalable(hpa, c.remember(key), err, c.Clock.Now())
		return errors.Join(p.err, c.report(ctx, hpa, &p))
	}
	s, err := c.observe(ctx, hpa, scale)
	if err != nil {
		return err
	}
	p := decide(s)
	if p.rescale {
		p.scaled(hpa, c.rescale(ctx, obj, scale, p.status.DesiredReplicas))
	}
	c.keep(key, p.history)
	return errors.Join(p.err, c.report(ctx, hpa, &p))
}

// rescale fails when somebody else has written the target since it was read.
func (c *Controller) rescale(ctx context.Context, obj target, scale *autoscalingv1.Scale, replicas int32) error {
	scale = scale.DeepCopy()
	scale.Spec.Replicas = replicas
	return c.Client.SubResource("scale").Update(ctx, obj, client.WithSubResourceBody(scale))
}

// report tells people, and writes the status when it differs from the stored one.
func (c *Controller) report(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, p *plan) error {
	for _, e := range p.events {
		c.Recorder.Event(hpa, e.kind, e.reason, e.text)
	}
	if equality.Semantic.DeepEqual(&hpa.Status, &p.status) {
		return nil
	}
	update := hpa.DeepCopy()
	for {
		update.Status = p.status
		err := c.Client.Status().Update(ctx, update)
		if apierrors.IsConflict(err) && c.Client.Get(ctx, client.ObjectKeyFromObject(hpa), update) == nil && update.UID == hpa.UID {
			update = update.DeepCopy() // somebody wrote the rest while the metrics were read
			continue
		}
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("update status of %s: %w", client.ObjectKeyFromObject(hpa), err)
		}
		return nil
	}
}

func (c *Controller) remember(key types.NamespacedName) history {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.histories[key]
}

func (c *Controller) keep(key types.NamespacedName, h history) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.histories == nil {
		c.histories = map[types.NamespacedName]history{}
	}
	c.histories[key] = h
}

func (c *Controller) forget(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.histories, key)
	c.unselectLocked(key)
}

// unselect is for an autoscaler that scales nothing: it is in nobody's way.
func (c *Controller) unselect(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unselectLocked(key)
}

func (c *Controller) unselectLocked(key types.NamespacedName) {
	if delete(c.selectors[key.Namespace], key.Name); len(c.selectors[key.Namespace]) == 0 {
		delete(c.selectors, key.Namespace)
	}
}
