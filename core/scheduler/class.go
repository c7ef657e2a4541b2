package scheduler

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/scheduler/place"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// class is all pods that are placed alike.
type class struct {
	*place.Class
	profile *profile
	// waiting are the pods that fit nowhere.
	waiting map[types.UID]*item
	queued  int // pods in the active queue
	// blocked is why no node at all could take the pods when one was parked last.
	blocked string
	used    int64
}

// digest reads a pod as its profile wants.
func (s *Scheduler) digest(pod *corev1.Pod) (*snapshot.Pod, *profile, error) {
	p := s.profiles[pod.Spec.SchedulerName]
	if p == nil {
		return nil, nil, fmt.Errorf("no profile is named %q", pod.Spec.SchedulerName)
	}
	d := snapshot.Digest{Alone: s.extended(pod), Whole: len(p.plugins) > 0}
	if p.Spread != nil && len(p.Spread.Constraints) > 0 && len(pod.Spec.TopologySpreadConstraints) == 0 {
		d.Defaults, d.Owner = p.Spread, s.owners.selector(pod)
	}
	out, err := s.cluster.PodOf(pod, d)
	return out, p, err
}

// classOf finds or makes the class of a pod.
func (s *Scheduler) classOf(pod *corev1.Pod) (*class, error) {
	digest, profile, err := s.digest(pod)
	if err != nil {
		return nil, err
	}
	if c := s.classes[digest.Key]; c != nil {
		return c, nil
	}
	if len(s.classes) >= max(minClasses, min(maxClasses, maxVerdicts/max(1, s.cluster.Len()))) {
		s.dropClass()
	}
	c := &class{Class: place.NewClass(digest, profile.Profile, s.cluster), profile: profile, waiting: map[types.UID]*item{}}
	c.Ask(profile.judges())
	s.tick++
	c.used = s.tick
	s.classes[digest.Key] = c
	return c, nil
}

// reclass reads the pod anew when what digests depend on has changed.
func (s *Scheduler) reclass(it *item) error {
	if it.keys == s.cluster.KeysVersion && it.defaults == s.owners.version {
		if s.classes[it.class.Pod.Key] == nil {
			s.classes[it.class.Pod.Key] = it.class // it was dropped while a binding was under way
		}
		it.class = s.classes[it.class.Pod.Key]
		return nil
	}
	c, err := s.classOf(it.pod)
	if err != nil {
		return err
	}
	it.class, it.keys, it.defaults = c, s.cluster.KeysVersion, s.owners.version
	return nil
}

// dropClass forgets the class that was used least recently of those without pods in the queue.
func (s *Scheduler) dropClass() {
	var oldest *class
	for _, c := range s.classes {
		if len(c.waiting) == 0 && c.queued == 0 && (oldest == nil || c.used < oldest.used) {
			oldest = c
		}
	}
	if oldest != nil {
		delete(s.classes, oldest.Pod.Key)
	}
}
