package scheduler

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	toolscache "k8s.io/client-go/tools/cache"
)

func (s *Scheduler) nodeEvents() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { s.setNode(o.(*corev1.Node)) },
		UpdateFunc: func(old, now any) {
			if nodeMatters(old.(*corev1.Node), now.(*corev1.Node)) {
				s.setNode(now.(*corev1.Node))
			}
		},
		DeleteFunc: func(o any) {
			if n, ok := last(o).(*corev1.Node); ok {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.cluster.DropNode(n.Name)
			}
		},
	}
}

// last is the object of a deletion, which may have been missed and found out later.
func last(o any) any {
	if lost, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		return lost.Obj
	}
	return o
}

// nodeMatters tells changes that filters or scores see from mere heartbeats.
func nodeMatters(old, now *corev1.Node) bool {
	return old.UID != now.UID || old.Spec.Unschedulable != now.Spec.Unschedulable ||
		!maps.Equal(old.Labels, now.Labels) ||
		!equality.Semantic.DeepEqual(old.Spec.Taints, now.Spec.Taints) ||
		!equality.Semantic.DeepEqual(old.Status.Allocatable, now.Status.Allocatable) ||
		!equality.Semantic.DeepEqual(old.Status.Images, now.Status.Images)
}

func (s *Scheduler) setNode(n *corev1.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster.SetNode(n)
	s.freed = true
	s.rouse()
}

func (s *Scheduler) podEvents() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { s.setPod(o.(*corev1.Pod)) },
		UpdateFunc: func(old, now any) {
			if podMatters(old.(*corev1.Pod), now.(*corev1.Pod)) {
				s.setPod(now.(*corev1.Pod))
			}
		},
		DeleteFunc: func(o any) {
			if p, ok := last(o).(*corev1.Pod); ok {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.gone(p)
			}
		},
	}
}

// podMatters tells changes that concern placing from those of a running pod's status.
func podMatters(old, now *corev1.Pod) bool {
	return old.UID != now.UID || now.Spec.NodeName == "" || old.Spec.NodeName != now.Spec.NodeName ||
		old.Generation != now.Generation || finished(old) != finished(now)
}

func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// gone takes a pod that needs no node any longer out of everything.
func (s *Scheduler) gone(p *corev1.Pod) {
	s.queue.remove(p.UID)
	if s.cluster.Remove(p.UID) != nil {
		s.freed = true
		s.rouse()
	}
}

func (s *Scheduler) setPod(p *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case finished(p):
		s.gone(p)
	case p.Spec.NodeName != "":
		s.queue.remove(p.UID)
		s.cluster.Place(placed(p))
	case s.cluster.Placed(p.UID) != "":
		// Its binding is under way; whatever comes of it is told by another event.
	case p.Spec.SchedulerName != s.Name || p.DeletionTimestamp != nil || len(p.Spec.SchedulingGates) > 0:
		s.queue.remove(p.UID)
	default:
		s.enqueue(p)
	}
}

func (s *Scheduler) enqueue(p *corev1.Pod) {
	if it := s.queue.items[p.UID]; it != nil && it.pod.Generation == p.Generation {
		it.pod = p // our own condition, or somebody's label
		return
	}
	c, err := s.classOf(p)
	if err != nil {
		s.Log.Warn("cannot read pod", "pod", p.Name, "namespace", p.Namespace, "err", err)
		return
	}
	s.queue.add(p, c)
	s.rouse()
}
