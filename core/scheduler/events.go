package scheduler

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
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
				s.changed()
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
	s.changed()
}

// changed makes the waiting pods be looked at: something may help them.
func (s *Scheduler) changed() {
	s.freed = true
	s.rouse()
}

func (s *Scheduler) namespaceEvents() toolscache.ResourceEventHandler {
	set := func(o any) {
		ns := o.(*corev1.Namespace)
		s.mu.Lock()
		defer s.mu.Unlock()
		epoch := s.cluster.Epoch
		s.cluster.SetNamespace(ns.Name, labels.Set(ns.Labels))
		if epoch != s.cluster.Epoch {
			s.changed()
		}
	}
	return toolscache.ResourceEventHandlerFuncs{AddFunc: set, UpdateFunc: func(_, now any) { set(now) }}
}

func (s *Scheduler) serviceEvents() toolscache.ResourceEventHandler {
	set := func(o any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.owners.setService(o.(*corev1.Service))
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: set, UpdateFunc: func(_, now any) { set(now) },
		DeleteFunc: func(o any) {
			if svc, ok := last(o).(*corev1.Service); ok {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.owners.dropService(svc)
			}
		},
	}
}

func (s *Scheduler) podEvents() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { s.setPod(o.(*corev1.Pod)) },
		UpdateFunc: func(old, now any) {
			was, is := old.(*corev1.Pod), now.(*corev1.Pod)
			if was.Status.NominatedNodeName != "" && is.Status.NominatedNodeName == "" {
				s.mu.Lock()
				s.forgetNomination(is)
				s.mu.Unlock()
			}
			if podMatters(was, is) {
				s.setPod(is)
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
		old.Generation != now.Generation || finished(old) != finished(now) || (old.DeletionTimestamp == nil) != (now.DeletionTimestamp == nil) ||
		!maps.Equal(old.Labels, now.Labels) || resized(old, now) || now.DeletionTimestamp != nil && len(old.Status.Conditions) != len(now.Status.Conditions)
}

// resized tells that the sizes of a pod or its containers as they run have changed, or whether they will.
func resized(old, now *corev1.Pod) bool {
	return resourcehelper.IsPodResizeInfeasible(old) != resourcehelper.IsPodResizeInfeasible(now) ||
		differ(requestsOf(old.Status.Resources), requestsOf(now.Status.Resources)) || differ(old.Status.AllocatedResources, now.Status.AllocatedResources) ||
		containersResized(old.Status.ContainerStatuses, now.Status.ContainerStatuses) ||
		containersResized(old.Status.InitContainerStatuses, now.Status.InitContainerStatuses)
}

func containersResized(was, is []corev1.ContainerStatus) bool {
	if len(was) != len(is) {
		was = make([]corev1.ContainerStatus, len(is))
	}
	for i := range is {
		if differ(requestsOf(was[i].Resources), requestsOf(is[i].Resources)) || differ(was[i].AllocatedResources, is[i].AllocatedResources) {
			return true
		}
	}
	return false
}

func requestsOf(r *corev1.ResourceRequirements) corev1.ResourceList {
	if r == nil {
		return nil
	}
	return r.Requests
}

func differ(a, b corev1.ResourceList) bool {
	return (len(a) > 0 || len(b) > 0) && !equality.Semantic.DeepEqual(a, b)
}

func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// gone takes a pod that needs no node any longer out of everything.
func (s *Scheduler) gone(p *corev1.Pod) {
	s.queue.remove(p.UID)
	s.forgetNomination(p)
	if b := s.bindings.pods[p.UID]; b != nil {
		s.forgetBinding(b)
	}
	if s.cluster.Remove(p.UID) != nil {
		s.changed()
	}
}

func (s *Scheduler) forgetNomination(p *corev1.Pod) {
	if s.cluster.Nominated(p.UID) != "" {
		s.cluster.Nominate(&snapshot.Placed{UID: p.UID})
		s.changed()
	}
}

func (s *Scheduler) setPod(p *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case finished(p):
		s.gone(p)
	case p.Spec.NodeName != "":
		s.placed(p)
	case s.cluster.Placed(p.UID) != "":
		// Its binding is under way; whatever comes of it is told by another event.
	case s.profiles[p.Spec.SchedulerName] == nil || p.DeletionTimestamp != nil || len(p.Spec.SchedulingGates) > 0:
		s.queue.remove(p.UID)
		s.forgetNomination(p)
	default:
		s.enqueue(p)
	}
}

// placed notes a pod that has a node. It may help others: those with affinity to it, or those whose
// constraints were about what it was before.
func (s *Scheduler) placed(p *corev1.Pod) {
	s.queue.remove(p.UID)
	s.forgetNomination(p)
	if s.cluster.Place(snapshot.PlacedOf(p, p.Spec.NodeName)) != nil {
		s.changed()
	}
}

func (s *Scheduler) enqueue(p *corev1.Pod) {
	if node := p.Status.NominatedNodeName; node != "" && s.cluster.Nominated(p.UID) == "" {
		s.cluster.Nominate(snapshot.PlacedOf(p, node))
	}
	if it := s.queue.items[p.UID]; it != nil && it.pod.Generation == p.Generation && maps.Equal(it.pod.Labels, p.Labels) {
		it.pod = p // our own condition, or somebody's annotation
		return
	}
	c, err := s.classOf(p)
	if err != nil {
		s.Log.Warn("cannot read pod", "pod", p.Name, "namespace", p.Namespace, "err", err)
		return
	}
	it := s.queue.add(p, c, s.Now())
	it.keys, it.defaults = s.cluster.KeysVersion, s.owners.version
	s.rouse()
}
