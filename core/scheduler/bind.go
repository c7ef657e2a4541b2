package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// placed digests a pod with a node.
func placed(p *corev1.Pod) *snapshot.Placed { return snapshot.PlacedOf(p, p.Spec.NodeName) }

// tasks is an unbounded list of writes and the goroutines that work on it.
type tasks struct {
	mu   sync.Mutex
	list []func()
	wake chan struct{}
}

func (t *tasks) add(do func()) {
	t.mu.Lock()
	t.list = append(t.list, do)
	t.mu.Unlock()
	t.signal()
}

func (t *tasks) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *tasks) take() (do func(), more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == 0 {
		t.list = nil
		return nil, false
	}
	do, t.list = t.list[0], t.list[1:]
	return do, len(t.list) > 0
}

func (t *tasks) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		do, more := t.take()
		if more {
			t.signal() // another goroutine takes the next one meanwhile
		}
		for do != nil && ctx.Err() == nil {
			do()
			do, _ = t.take()
		}
	}
}

// bind writes a decision. When that fails, the pod is as before the decision and tried again later,
// unless it is gone or has a node.
func (s *Scheduler) bind(ctx context.Context, it *item, pod *corev1.Pod, node string) {
	err := s.Client.SubResource("binding").Create(ctx, pod, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	})
	if err == nil {
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
			s.cluster.Place(placed(&now))
		}
		s.rouse()
		return
	}
	s.Log.Warn("cannot bind pod", "pod", pod.Name, "namespace", pod.Namespace, "node", node, "err", err)
	s.Recorder.Eventf(pod, corev1.EventTypeWarning, "FailedScheduling", "binding rejected: %v", err)
	it.notBefore = s.Now().Add(backoff(it.attempts))
	s.queue.delay(it)
	s.rouse()
}

// refuse tells that the pod fits nowhere, once for each reason.
func (s *Scheduler) refuse(ctx context.Context, it *item) {
	message := it.class.message(s.cluster.Len())
	if it.message == message {
		return
	}
	it.message = message
	pod := it.pod
	s.tasks.add(func() {
		s.Recorder.Event(pod, corev1.EventTypeWarning, "FailedScheduling", message)
		if err := s.markUnschedulable(ctx, pod, message); client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
			s.Log.Warn("cannot mark pod", "pod", pod.Name, "namespace", pod.Namespace, "err", err)
		}
	})
}

func (s *Scheduler) markUnschedulable(ctx context.Context, pod *corev1.Pod, message string) error {
	c := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message,
		LastTransitionTime: metav1.NewTime(s.Now()), ObservedGeneration: pod.Generation,
	}
	for _, have := range pod.Status.Conditions {
		if have.Type != c.Type {
			continue
		}
		if have.Status == c.Status && have.Reason == c.Reason && have.Message == message {
			return nil
		}
		if have.Status == c.Status {
			c.LastTransitionTime = have.LastTransitionTime
		}
	}
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   map[string]any{"conditions": []corev1.PodCondition{c}},
	})
	if err != nil {
		return fmt.Errorf("marshal a condition: %w", err)
	}
	return s.Client.Status().Patch(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}},
		client.RawPatch(types.StrategicMergePatchType, data))
}
