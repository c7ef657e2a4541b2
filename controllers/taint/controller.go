// Package taint removes the pods that a node no longer keeps: those that do not tolerate a taint
// NoExecute, or no longer, those of nodes that are gone, and the oldest of too many that have ended. Those that are deleted before they
// had a node it notes as failed, which nobody else would for whom a finalizer waits.
//
// When a pod has to go follows from the times in the API objects alone, so that a restart of this process
// neither shortens nor prolongs it.
package taint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

const (
	podsByNode = "taint.node"
	endedPods  = "taint.ended"

	// quarantine is how long the pods of a node that is gone may wait for it to come back.
	quarantine = 40 * time.Second
	// defaultEnded is how many pods that have ended are kept; sweepDelay is how long such ones are gathered
	// before they are counted.
	defaultEnded = 12500
	sweepDelay   = 5 * time.Second
)

// sweep is the request to count the pods that have ended. No node has this name.
var sweep = reconcile.Request{NamespacedName: types.NamespacedName{Name: "/ended"}}

type queue = source.Queue[reconcile.Request]

// Controller reconciles the pods of each Node.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
	Clock    clock.Clock
	// MaxEnded is how many pods that have ended are kept, 12,500 unless set.
	MaxEnded int

	mu      sync.Mutex
	missing map[string]time.Time // since when nodes are known to be gone
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	ctx, x := context.Background(), mgr.GetFieldIndexer()
	if err := errors.Join(
		x.IndexField(ctx, &corev1.Pod{}, podsByNode, byNode),
		x.IndexField(ctx, &corev1.Pod{}, endedPods, byEnd),
	); err != nil {
		return err
	}
	return ctrl.ControllerManagedBy(mgr).Named("taint").
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Node{}, nodeEvents)).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Pod{}, podEvents)).
		WithOptions(workers.Options(8)).
		Complete(c)
}

func byNode(o client.Object) []string {
	if name := o.(*corev1.Pod).Spec.NodeName; name != "" {
		return []string{name}
	}
	return nil
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func byEnd(o client.Object) []string {
	if ended(o.(*corev1.Pod)) {
		return []string{"true"}
	}
	return nil
}

func requestOf(node string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: node}}
}

func evicting(n *corev1.Node) []corev1.Taint {
	return slices.DeleteFunc(slices.Clone(n.Spec.Taints), func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectNoExecute })
}

func evicts(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute })
}

// nodeEvents queues nodes that begin or cease to evict, or that come or go.
func nodeEvents(_ context.Context, old, now client.Object, q queue) {
	switch {
	case now == nil:
		q.Add(requestOf(old.GetName()))
	case old == nil || evicts(old.(*corev1.Node)) || evicts(now.(*corev1.Node)):
		q.Add(requestOf(now.GetName()))
	}
}

// unborn is what a pod was before it was new.
var unborn = &corev1.Pod{}

// lost tells a pod that is being deleted and never had a node, which would have told how it ended.
func lost(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil && p.Spec.NodeName == "" && !ended(p)
}

// podEvents queues the nodes of pods that are new there or whose tolerations changed, and pods that are lost.
func podEvents(_ context.Context, before, after client.Object, q queue) {
	if after == nil {
		return
	}
	old, now := unborn, after.(*corev1.Pod)
	if before != nil {
		old = before.(*corev1.Pod)
	}
	if now.Spec.NodeName != "" && (old.Spec.NodeName != now.Spec.NodeName || old.Generation != now.Generation) {
		q.Add(requestOf(now.Spec.NodeName))
	}
	if lost(now) && !lost(old) {
		q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(now)})
	}
	if ended(now) && !ended(old) {
		q.AddAfter(sweep, sweepDelay)
	}
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if req == sweep {
		return reconcile.Result{}, c.sweep(ctx)
	}
	if req.Namespace != "" { // which nodes have none of
		return reconcile.Result{}, c.giveUp(ctx, req.NamespacedName)
	}
	node := &corev1.Node{}
	err := c.Client.Get(ctx, req.NamespacedName, node)
	if apierrors.IsNotFound(err) {
		return c.abandoned(ctx, req.Name)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	c.mu.Lock()
	delete(c.missing, req.Name)
	c.mu.Unlock()
	taints := evicting(node)
	if len(taints) == 0 {
		return reconcile.Result{}, nil
	}
	pods, err := c.pods(ctx, req.Name)
	if err != nil {
		return reconcile.Result{}, err
	}
	doomed, wake := decide(taints, pods, c.Clock.Now())
	var failed []error
	if outOfService(node) {
		failed = append(failed, c.release(ctx, pods))
	}
	for _, pod := range doomed {
		failed = append(failed, c.evict(ctx, pod))
	}
	return reconcile.Result{RequeueAfter: wake}, errors.Join(failed...)
}

func (c *Controller) pods(ctx context.Context, node string) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, client.MatchingFields{podsByNode: node}); err != nil {
		return nil, fmt.Errorf("list pods of node %s: %w", node, err)
	}
	out := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

func (c *Controller) evict(ctx context.Context, pod *corev1.Pod) error {
	c.Recorder.Eventf(pod, corev1.EventTypeNormal, "TaintManagerEviction", "Marking for deletion Pod %s/%s", pod.Namespace, pod.Name)
	if err := c.disrupt(ctx, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", ""); err != nil {
		return err
	}
	return c.remove(ctx, pod)
}

// disrupt notes in the pod why it is deleted, and the phase unless that is "".
func (c *Controller) disrupt(ctx context.Context, pod *corev1.Pod, reason, message string, phase corev1.PodPhase) error {
	update := pod.DeepCopy()
	cond := corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: message,
		LastTransitionTime: metav1.NewTime(c.Clock.Now()), ObservedGeneration: pod.Generation,
	}
	update.Status.Conditions = slices.DeleteFunc(update.Status.Conditions, func(have corev1.PodCondition) bool { return have.Type == cond.Type })
	update.Status.Conditions = append(update.Status.Conditions, cond)
	if phase != "" {
		update.Status.Phase = phase
	}
	err := c.Client.Status().Patch(ctx, update, client.StrategicMergeFrom(pod))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("update status of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func (c *Controller) remove(ctx context.Context, pod *corev1.Pod, opts ...client.DeleteOption) error {
	err := c.Client.Delete(ctx, pod, append(opts, client.Preconditions{UID: &pod.UID})...)
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// abandoned removes the pods of a node that has been gone for a while, at once: nobody is there to stop
// them.
func (c *Controller) abandoned(ctx context.Context, node string) (reconcile.Result, error) {
	pods, err := c.pods(ctx, node)
	if err != nil || len(pods) == 0 {
		c.mu.Lock()
		delete(c.missing, node)
		c.mu.Unlock()
		return reconcile.Result{}, err
	}
	if left := c.quarantine(node); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	if c.Live != nil {
		if err := c.Live.Get(ctx, types.NamespacedName{Name: node}, &corev1.Node{}); !apierrors.IsNotFound(err) {
			return reconcile.Result{RequeueAfter: quarantine}, err
		}
	}
	var failed []error
	for _, pod := range pods {
		phase := corev1.PodPhase("")
		if !ended(pod) {
			phase = corev1.PodFailed
		}
		err := c.disrupt(ctx, pod, "DeletionByPodGC", "PodGC: node no longer exists", phase)
		if err == nil {
			err = c.remove(ctx, pod, client.GracePeriodSeconds(0))
		}
		failed = append(failed, err)
	}
	return reconcile.Result{}, errors.Join(failed...)
}

// quarantine is how long the node's pods are still left alone.
func (c *Controller) quarantine(node string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	since, known := c.missing[node]
	if !known {
		if c.missing == nil {
			c.missing = map[string]time.Time{}
		}
		since = c.Clock.Now()
		c.missing[node] = since
	}
	return since.Add(quarantine).Sub(c.Clock.Now())
}

// giveUp notes that a pod has failed that is lost. The finalizer of a Job that replaces only what has failed waits for that.
func (c *Controller) giveUp(ctx context.Context, name types.NamespacedName) error {
	pod := &corev1.Pod{}
	if err := c.Client.Get(ctx, name, pod); err != nil || !lost(pod) {
		return client.IgnoreNotFound(err)
	}
	return c.fail(ctx, pod)
}

// sweep removes the oldest of the pods that have ended, when there are too many.
func (c *Controller) sweep(ctx context.Context) error {
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, client.MatchingFields{endedPods: "true"}); err != nil {
		return fmt.Errorf("list pods that have ended: %w", err)
	}
	most := c.MaxEnded
	if most == 0 {
		most = defaultEnded
	}
	if len(list.Items) <= most {
		return nil
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int {
		if d := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); d != 0 {
			return d
		}
		return cmp.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	var failed []error
	for i := range list.Items[:len(list.Items)-most] {
		failed = append(failed, c.remove(ctx, &list.Items[i], client.GracePeriodSeconds(0)))
	}
	return errors.Join(failed...)
}
