package scheduler

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/scheduler/place"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// preemption is what came of looking for victims.
type preemption struct {
	// message says why there are none.
	message string
	// node is the one that is nominated now, "" for none; changed tells that it was another before.
	node    string
	changed bool
	evict   func()
}

// preempt looks for the node where the fewest and least important pods have to go, and nominates it.
func (s *Scheduler) preempt(ctx context.Context, it *item) preemption {
	uid := it.pod.UID
	was := s.cluster.Nominated(uid)
	nominated := s.cluster.Node(was)
	if why := it.class.Eligible(nominated); why != "" {
		return preemption{message: why, node: was}
	}
	found, reasons := it.class.Preempt(uid, it.pin, s.budgets(ctx))
	if len(s.extenders) > 0 && len(found) > 0 {
		found = s.extendedVictims(ctx, it, found)
	}
	if len(found) == 0 {
		if was != "" {
			s.cluster.Nominate(&snapshot.Placed{UID: uid})
		}
		return preemption{message: place.Message(s.cluster.Len(), reasons), changed: was != ""}
	}
	best := place.Cheapest(found)
	node := best.Node.Object.Name
	s.cluster.Nominate(it.class.Pod.PlacedAs(it.pod, node))
	s.outbid(ctx, best.Node, it)
	pod, victims := it.pod, best.Pods
	return preemption{node: node, changed: was != node, evict: func() {
		for _, v := range victims {
			s.tasks.add(func() { s.evict(ctx, pod, v, node) })
		}
	}}
}

// outbid takes the node from pods of lower priority for which room was being made there.
func (s *Scheduler) outbid(ctx context.Context, n *snapshot.Node, it *item) {
	for _, p := range append([]*snapshot.Placed(nil), n.Nominated...) {
		other := s.queue.items[p.UID]
		if p.Priority >= it.priority || other == nil {
			continue
		}
		s.cluster.Nominate(&snapshot.Placed{UID: p.UID})
		pod := other.pod
		if other.class.waiting[p.UID] != nil {
			s.queue.activate(other)
		}
		s.tasks.add(func() {
			if err := s.patchStatus(ctx, pod, map[string]any{"nominatedNodeName": nil}); client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
				s.Log.Warn("cannot clear nomination", "pod", pod.Name, "namespace", pod.Namespace, "err", err)
			}
		})
	}
}

// budgets are the disruption budgets as they are now.
func (s *Scheduler) budgets(ctx context.Context) []place.Budget {
	var list policyv1.PodDisruptionBudgetList
	if err := s.reader.List(ctx, &list); err != nil {
		return nil // the kind is not served
	}
	out := make([]place.Budget, 0, len(list.Items))
	for i := range list.Items {
		b := &list.Items[i]
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			continue
		}
		disrupted := make(map[string]bool, len(b.Status.DisruptedPods))
		for name := range b.Status.DisruptedPods {
			disrupted[name] = true
		}
		out = append(out, place.Budget{Namespace: b.Namespace, Selector: selector, Allowed: b.Status.DisruptionsAllowed, Disrupted: disrupted})
	}
	return out
}

// evict deletes a victim gracefully, after its condition says what for.
func (s *Scheduler) evict(ctx context.Context, pod *corev1.Pod, v *snapshot.Placed, node string) {
	victim := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: v.Namespace, Name: v.Name, UID: v.UID}}
	var now corev1.Pod
	if err := s.Client.Get(ctx, client.ObjectKeyFromObject(victim), &now); err != nil || now.UID != v.UID || now.DeletionTimestamp != nil {
		return
	}
	err := s.patchStatus(ctx, &now, map[string]any{"conditions": []corev1.PodCondition{{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler,
		Message:            fmt.Sprintf("%s: preempting to accommodate a higher priority pod", pod.Spec.SchedulerName),
		LastTransitionTime: metav1.NewTime(s.Now()), ObservedGeneration: now.Generation,
	}}})
	if err == nil {
		err = s.Client.Delete(ctx, victim, client.Preconditions{UID: &v.UID})
	}
	if client.IgnoreNotFound(err) != nil {
		if ctx.Err() == nil {
			s.Log.Warn("cannot preempt pod", "pod", v.Name, "namespace", v.Namespace, "err", err)
			s.retryLater(pod)
		}
		return
	}
	s.Recorder.Eventf(&now, corev1.EventTypeNormal, "Preempted", "Preempted by pod %v on node %v", pod.UID, node)
}

// retryLater has a pod tried again after its back-off: nothing else would call for it.
func (s *Scheduler) retryLater(pod *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.queue.items[pod.UID]; it != nil && it.class.waiting[pod.UID] != nil {
		s.queue.leave(it)
		s.queue.delay(it)
		s.rouse()
	}
}

func (s *Scheduler) patchStatus(ctx context.Context, pod *corev1.Pod, status map[string]any) error {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return fmt.Errorf("marshal a status: %w", err)
	}
	return s.Client.Status().Patch(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}},
		client.RawPatch(types.StrategicMergePatchType, data))
}
