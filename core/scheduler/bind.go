package scheduler

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// bind writes a decision. When that fails, the pod is as before the decision and tried again later,
// unless it is gone or has a node.
func (s *Scheduler) bind(ctx context.Context, it *item, pod *corev1.Pod, node string) {
	err := s.writeBinding(ctx, pod, node)
	if err == nil {
		s.journeys.bound(pod.UID, s.Now())
		s.Recorder.Eventf(pod, corev1.EventTypeNormal, "Scheduled", "Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, node)
		s.mu.Lock()
		s.queue.remove(pod.UID)
		s.mu.Unlock()
		return
	}
	if ctx.Err() != nil {
		return
	}
	var now corev1.Pod
	var lookup error
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		lookup = s.Client.Get(ctx, client.ObjectKeyFromObject(pod), &now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue.items[pod.UID] != it {
		return // an event has told already that the pod is gone or has a node
	}
	if s.cluster.Placed(pod.UID) == node && s.cluster.Remove(pod.UID) != nil {
		s.freed = true
	}
	settled := apierrors.IsNotFound(lookup) || lookup == nil && now.UID != "" && (now.UID != pod.UID || now.DeletionTimestamp != nil || now.Spec.NodeName != "")
	if settled {
		s.queue.remove(pod.UID)
		if now.UID == pod.UID && now.Spec.NodeName != "" && !finished(&now) {
			s.cluster.Place(snapshot.PlacedOf(&now, now.Spec.NodeName))
		}
		s.rouse()
		return
	}
	s.Log.Warn("cannot bind pod", "pod", pod.Name, "namespace", pod.Namespace, "node", node, "err", err)
	s.Recorder.Eventf(pod, corev1.EventTypeWarning, "FailedScheduling", "binding rejected: %v", err)
	it.notBefore = s.Now().Add(s.backoff(it.attempts))
	s.queue.delay(it)
	s.rouse()
}

func (s *Scheduler) writeBinding(ctx context.Context, pod *corev1.Pod, node string) error {
	for _, e := range s.extenders {
		if e.BindVerb != "" && e.concerns(pod) {
			return e.bind(ctx, pod, node)
		}
	}
	return s.Client.SubResource("binding").Create(ctx, pod, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	})
}

// refuse tells that the pod fits nowhere, once for each reason, and then evicts its victims.
func (s *Scheduler) refuse(ctx context.Context, it *item, message string, outcome preemption) {
	told := it.message == message
	it.message = message
	if told && !outcome.changed {
		if outcome.evict != nil {
			outcome.evict()
		}
		return
	}
	pod := it.pod
	s.tasks.add(func() {
		if !told {
			s.Recorder.Event(pod, corev1.EventTypeWarning, "FailedScheduling", message)
		}
		if err := s.markUnschedulable(ctx, pod, message, outcome); client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
			s.Log.Warn("cannot mark pod", "pod", pod.Name, "namespace", pod.Namespace, "err", err)
		}
		if outcome.evict != nil {
			outcome.evict()
		}
	})
}

func (s *Scheduler) markUnschedulable(ctx context.Context, pod *corev1.Pod, message string, outcome preemption) error {
	c := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message,
		LastTransitionTime: metav1.NewTime(s.Now()), ObservedGeneration: pod.Generation,
	}
	for _, have := range pod.Status.Conditions {
		if have.Type != c.Type {
			continue
		}
		if have.Status == c.Status && have.Reason == c.Reason && have.Message == message && !outcome.changed {
			return nil
		}
		if have.Status == c.Status {
			c.LastTransitionTime = have.LastTransitionTime
		}
	}
	status := map[string]any{"conditions": []corev1.PodCondition{c}}
	if outcome.changed {
		status["nominatedNodeName"] = nil
		if outcome.node != "" {
			status["nominatedNodeName"] = outcome.node
		}
	}
	return s.patchStatus(ctx, pod, status)
}
