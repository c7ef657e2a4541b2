package scheduler

import (
	"context"
	"time"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// step places the next pod. When there is none, it returns when the next one's back-off ends.
func (s *Scheduler) step(ctx context.Context) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.freed {
		s.freed = false
		s.recall()
	}
	expire := s.expireBindings(ctx, s.Now())
	next := s.queue.promote(s.Now())
	if next.IsZero() || !expire.IsZero() && expire.Before(next) {
		next = expire
	}
	it := s.queue.pop()
	if it == nil {
		return next, false
	}
	if err := s.reclass(it); err != nil {
		s.Log.Warn("cannot read pod", "pod", it.pod.Name, "namespace", it.pod.Namespace, "err", err)
		s.queue.remove(it.pod.UID)
		return time.Time{}, true
	}
	s.tick++
	it.class.used = s.tick
	it.attempts++
	if !s.consult(ctx, it) {
		return time.Time{}, true // the pod has gone, or has to be tried later
	}
	it.class.Refresh()
	node, why := s.choose(ctx, it)
	switch {
	case s.queue.items[it.pod.UID] != it || it.heap != nil:
		// It went or changed while an extender was asked.
	case node != nil:
		s.assume(ctx, it, node)
	default:
		s.park(ctx, it, why)
	}
	return time.Time{}, true
}

// choose finds the node for a pod, or says by reason why there is none.
func (s *Scheduler) choose(ctx context.Context, it *item) (*snapshot.Node, map[string]int) {
	if len(s.extenders) > 0 && s.extended(it.pod) {
		return s.chooseExtended(ctx, it)
	}
	if n := s.cluster.Node(s.cluster.Nominated(it.pod.UID)); n != nil && it.class.FitsOn(n, it.pod.UID) {
		return n, nil
	}
	if it.pin != "" {
		return it.class.Only(s.cluster.Node(it.pin))
	}
	if n, _ := it.class.Best(); n != nil {
		return n, nil
	}
	return nil, it.class.Refusals()
}

// assume counts the pod on its node, and has that written.
func (s *Scheduler) assume(ctx context.Context, it *item, node *snapshot.Node) {
	pod, name := it.pod, node.Object.Name
	if s.cluster.Nominated(pod.UID) != "" {
		s.cluster.Nominate(&snapshot.Placed{UID: pod.UID})
	}
	s.cluster.Place(it.class.Pod.PlacedAs(pod, name))
	if len(it.class.Pod.Terms) > 0 || len(s.queue.items) > 1 {
		s.freed = true // others may want to be near it
	}
	s.journeys.decided(it, s.Now())
	if !s.bindVolumes(ctx, it, node) {
		s.tasks.add(func() { s.bind(ctx, it, pod, name) })
	}
}

// park leaves a pod that fits nowhere to wait, after it has looked whom to preempt.
func (s *Scheduler) park(ctx context.Context, it *item, why map[string]int) {
	message, outcome := it.class.Message(s.cluster.Len(), why), preemption{}
	if s.cluster.Len() > 0 && it.class.profile.Preempt {
		outcome = s.preempt(ctx, it)
		if outcome.message != "" {
			message += " preemption: " + outcome.message
		}
	}
	it.notBefore = s.Now().Add(s.backoff(it.attempts))
	s.queue.park(it)
	it.class.blocked = it.class.Blocked()
	s.refuse(ctx, it, message, outcome)
}

// recall activates the waiting pods that fit somewhere now.
func (s *Scheduler) recall() {
	if s.seenKeys != s.cluster.KeysVersion || s.seenOwn != s.owners.version {
		s.seenKeys, s.seenOwn = s.cluster.KeysVersion, s.owners.version
		s.retryWaiting() // their digests are out of date
	}
	changed, now, known := s.cluster.Since(s.recalled)
	s.recalled = now
	for _, c := range s.classes {
		if len(c.waiting) == 0 {
			continue
		}
		switch c.Refresh(); {
		case c.Fits():
			s.wakeWaiting(c)
		case c.Blocked() != c.blocked:
			s.activateWaiting(c) // to tell of it
		}
	}
	if !known {
		s.retryWaiting()
		return
	}
	for _, i := range changed {
		if n := s.cluster.Nodes[i]; n != nil {
			s.recallNominated(n)
		}
	}
}

// recallNominated activates the pods for which room was being made on the node and is now.
func (s *Scheduler) recallNominated(n *snapshot.Node) {
	for _, p := range n.Nominated {
		it := s.queue.items[p.UID]
		if it == nil || it.class.waiting[p.UID] == nil {
			continue
		}
		it.class.Refresh()
		if it.class.FitsOn(n, p.UID) {
			s.queue.activate(it)
		}
	}
}

// wakeWaiting activates the pods of a class that fits somewhere now. Those that an extender has a say in
// may still be refused by it, as before, so that their back-off ends first.
func (s *Scheduler) wakeWaiting(c *class) {
	for _, it := range c.waiting {
		if it.pin != "" && !c.FitsAt(s.cluster.Node(it.pin)) {
			continue
		}
		if s.extended(it.pod) {
			s.queue.leave(it)
			s.queue.delay(it)
		} else {
			s.queue.activate(it)
		}
	}
}

func (s *Scheduler) activateWaiting(c *class) {
	for _, it := range c.waiting {
		s.queue.activate(it)
	}
}

func (s *Scheduler) retryWaiting() {
	for _, c := range s.classes {
		s.activateWaiting(c)
	}
}

// retryAll tries all waiting pods, lest a lost event leave one behind.
func (s *Scheduler) retryAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retryWaiting()
}

// backoff is the delay after so many attempts.
func (s *Scheduler) backoff(attempts int) time.Duration {
	d := s.Config.InitialBackoff
	for range attempts - 1 {
		if d *= 2; d >= s.Config.MaxBackoff {
			return s.Config.MaxBackoff
		}
	}
	return d
}
