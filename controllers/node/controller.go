// Package node gives nodes their pod ranges and notices when they fall silent: conditions become
// Unknown, taints follow the conditions, and pods on a silent node stop being ready. What happens to
// pods because of taints is the work of the taint controller.
//
// A new node is schedulable as soon as its agent says that it is ready, and has its range as soon as it
// exists: both are one write, made when the event arrives.
package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/workers"
)

const (
	defaultGrace   = 40 * time.Second
	leaseNamespace = "kube-node-lease"
	podsByNode     = "node.pods"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Controller reconciles Nodes.
type Controller struct {
	Client   client.Client
	Recorder record.EventRecorder
	Clock    clock.Clock
	// ClusterCIDR is cut into a range of NodeMaskSize bits for each node. Invalid means that somebody else
	// gives out ranges. A mask size of 0 means 24, or 64 for IPv6.
	ClusterCIDR  netip.Prefix
	NodeMaskSize int
	// Grace is how long a node may be silent, 40 seconds unless set.
	Grace time.Duration

	ranges ranges
	mu     sync.Mutex
	heard  map[string]heartbeat
	up     map[string]bool // the nodes that are ready, by events
}

// heartbeat is when this process saw which sign of life: clocks of nodes are not compared with its own.
type heartbeat struct {
	lease, status time.Time
	at            time.Time
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &corev1.Pod{}, podsByNode, byNode); err != nil {
		return err
	}
	return ctrl.ControllerManagedBy(mgr).Named("node").
		Watches(&corev1.Node{}, c.nodeEvents()).
		Watches(&coordinationv1.Lease{}, c.leaseEvents()).
		WithOptions(workers.Options(8)).
		Complete(c)
}

func byNode(o client.Object) []string {
	if pod := o.(*corev1.Pod); pod.Spec.NodeName != "" {
		return []string{pod.Spec.NodeName}
	}
	return nil
}

func requestOf(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

// nodeEvents queues the node. When the first of all becomes ready or the last ceases to be, the others are
// looked at again, since nodes are not emptied while none is ready.
func (c *Controller) nodeEvents() handler.EventHandler {
	see := func(ctx context.Context, node client.Object, up bool, q queue) {
		q.Add(requestOf(node.GetName()))
		if !c.noteReady(node.GetName(), up) {
			return
		}
		var nodes corev1.NodeList
		if err := c.Client.List(ctx, &nodes); err != nil {
			return
		}
		for i := range nodes.Items {
			if ready(&nodes.Items[i]) != corev1.ConditionTrue {
				q.Add(requestOf(nodes.Items[i].Name))
			}
		}
	}
	isUp := func(o client.Object) bool { return ready(o.(*corev1.Node)) == corev1.ConditionTrue }
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { see(ctx, e.Object, isUp(e.Object), q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { see(ctx, e.ObjectNew, isUp(e.ObjectNew), q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { see(ctx, e.Object, false, q) },
	}
}

// noteReady counts ready nodes and tells whether there are some now and were none, or the other way round.
func (c *Controller) noteReady(node string, up bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up == nil {
		c.up = map[string]bool{}
	}
	before := len(c.up) > 0
	if up {
		c.up[node] = true
	} else {
		delete(c.up, node)
	}
	return before != (len(c.up) > 0)
}

// leaseEvents notes signs of life; nothing has to be computed because of one.
func (c *Controller) leaseEvents() handler.EventHandler {
	note := func(o client.Object) {
		lease := o.(*coordinationv1.Lease)
		if lease.Namespace == leaseNamespace && lease.Spec.RenewTime != nil {
			c.hear(lease.Name, func(h *heartbeat) *time.Time { return &h.lease }, lease.Spec.RenewTime.Time)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) { note(e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) { note(e.ObjectNew) },
	}
}

// hear notes a time that a node wrote, when it is new, and returns when the node was last heard of.
func (c *Controller) hear(node string, field func(*heartbeat) *time.Time, written time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard == nil {
		c.heard = map[string]heartbeat{}
	}
	h, known := c.heard[node]
	if f := field(&h); !known || !f.Equal(written) {
		*f, h.at = written, c.Clock.Now()
		c.heard[node] = h
	}
	return h.at
}

func (c *Controller) forget(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.heard, node)
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	node := &corev1.Node{}
	if err := c.Client.Get(ctx, req.NamespacedName, node); apierrors.IsNotFound(err) {
		c.forget(req.Name)
		c.ranges.release(req.Name)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, err
	}
	heard := c.hear(node.Name, func(h *heartbeat) *time.Time { return &h.status }, reported(node))
	p := decide(node, heard, c.Clock.Now(), c.grace(), c.allSilent)
	err := c.act(ctx, node, p)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil // its event may be behind us already
	}
	return reconcile.Result{RequeueAfter: p.wakeAfter}, err
}

// allSilent tells that no node is ready: then it is likelier that we are cut off than that all are dead.
func (c *Controller) allSilent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.up) == 0
}

func (c *Controller) act(ctx context.Context, node *corev1.Node, p plan) error {
	update := node.DeepCopy()
	update.Spec.Taints = p.taints
	if err := c.assignRange(ctx, update); err != nil {
		return err
	}
	if !equality.Semantic.DeepEqual(update.Spec, node.Spec) {
		patch := client.MergeFromWithOptions(node, client.MergeFromWithOptimisticLock{})
		if err := c.Client.Patch(ctx, update, patch); err != nil {
			return fmt.Errorf("update node %s: %w", node.Name, err)
		}
	}
	if p.conditions != nil {
		silent := update.DeepCopy()
		silent.Status.Conditions = p.conditions
		if err := c.Client.Status().Update(ctx, silent); err != nil {
			return fmt.Errorf("update status of node %s: %w", node.Name, err)
		}
		if ready(node) == corev1.ConditionTrue {
			c.Recorder.Eventf(node, corev1.EventTypeNormal, "NodeNotReady", "Node %s status is now: NodeNotReady", node.Name)
		}
	}
	if p.silent {
		return c.silence(ctx, node.Name)
	}
	return nil
}

// assignRange gives the node a range when it has none.
func (c *Controller) assignRange(ctx context.Context, node *corev1.Node) error {
	if !c.ClusterCIDR.IsValid() || node.DeletionTimestamp != nil {
		return nil
	}
	if node.Spec.PodCIDR != "" {
		c.ranges.note(c.ClusterCIDR, node)
		return nil
	}
	got, err := c.ranges.assign(node.Name, c.ClusterCIDR, c.NodeMaskSize, func() ([]corev1.Node, error) {
		var nodes corev1.NodeList
		err := c.Client.List(ctx, &nodes)
		return nodes.Items, err
	})
	if err != nil {
		if errors.Is(err, errNoRange) {
			c.Recorder.Eventf(node, corev1.EventTypeNormal, "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable", node.Name)
		}
		return fmt.Errorf("find a pod range for node %s: %w", node.Name, err)
	}
	node.Spec.PodCIDR, node.Spec.PodCIDRs = got.String(), []string{got.String()}
	return nil
}

// silence makes the pods of a node that nothing is heard of unready, so that services leave them out.
func (c *Controller) silence(ctx context.Context, node string) error {
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.MatchingFields{podsByNode: node}); err != nil {
		return fmt.Errorf("list pods of node %s: %w", node, err)
	}
	var failed []error
	for i := range pods.Items {
		update := unready(&pods.Items[i], c.Clock.Now())
		if update == nil {
			continue
		}
		err := c.Client.Status().Update(ctx, update)
		if client.IgnoreNotFound(err) != nil {
			failed = append(failed, fmt.Errorf("update status of pod %s/%s: %w", update.Namespace, update.Name, err))
			continue
		}
		c.Recorder.Event(update, corev1.EventTypeWarning, "NodeNotReady", "Node is not ready")
	}
	return errors.Join(failed...)
}

func (c *Controller) grace() time.Duration {
	if c.Grace > 0 {
		return c.Grace
	}
	return defaultGrace
}
