// Package scheduler gives every pod a node. It exists as its own part, not as a controller, because its
// decisions depend on each other: each one is made on a snapshot that includes all earlier ones, those
// not yet written too.
//
// One goroutine decides; many write. Any other scheduler may run beside it under another name.
package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// writers is how many bindings and status patches are under way at most; maxClasses how many classes are
// remembered while none of their pods waits.
const (
	writers    = 64
	maxClasses = 128
)

// Scheduler places the pods whose schedulerName is its name.
type Scheduler struct {
	Client   client.Client
	Cache    cache.Cache
	Recorder record.EventRecorder
	// Name is "default-scheduler" unless set.
	Name string
	// Now is time.Now unless set.
	Now func() time.Time
	// Log is slog.Default unless set.
	Log *slog.Logger

	mu      sync.Mutex
	cluster *snapshot.Cluster
	queue   *queue
	classes map[string]*class
	tick    int64
	freed   bool // something changed that may help waiting pods
	wake    chan struct{}
	tasks   tasks
}

func (s *Scheduler) init() {
	s.cluster, s.queue, s.classes = snapshot.NewCluster(), newQueue(), map[string]*class{}
	s.wake = make(chan struct{}, 1)
	s.tasks.wake = make(chan struct{}, 1)
	if s.Name == "" {
		s.Name = corev1.DefaultSchedulerName
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
}

// Run schedules until ctx ends. The cache has to be started by somebody else.
func (s *Scheduler) Run(ctx context.Context) error {
	s.init()
	for _, kind := range []struct {
		obj     client.Object
		handler toolscache.ResourceEventHandler
	}{{&corev1.Node{}, s.nodeEvents()}, {&corev1.Pod{}, s.podEvents()}} {
		informer, err := s.Cache.GetInformer(ctx, kind.obj)
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind.obj, err)
		}
		registration, err := informer.AddEventHandler(kind.handler)
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind.obj, err)
		}
		defer func() { _ = informer.RemoveEventHandler(registration) }()
		select {
		case <-registration.HasSyncedChecker().Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() { s.tasks.work(ctx) })
	}
	s.decide(ctx)
	wg.Wait()
	return ctx.Err()
}

// decide places one pod after the other.
func (s *Scheduler) decide(ctx context.Context) {
	audit := time.NewTicker(auditPeriod)
	defer audit.Stop()
	timer := time.NewTimer(auditPeriod)
	defer timer.Stop()
	for ctx.Err() == nil {
		next, worked := s.step(ctx)
		if worked {
			continue
		}
		wait := auditPeriod
		if !next.IsZero() {
			wait = next.Sub(s.Now())
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		case <-audit.C:
			s.retryAll()
		}
	}
}

// step places the next pod. When there is none, it returns when the next one's back-off ends.
func (s *Scheduler) step(ctx context.Context) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.freed {
		s.freed = false
		s.recall()
	}
	next := s.queue.promote(s.Now())
	it := s.queue.pop()
	if it == nil {
		return next, false
	}
	if c := s.classes[it.class.pod.Key]; c != nil {
		it.class = c
	} else {
		s.classes[it.class.pod.Key] = it.class // it was dropped while the binding was under way
	}
	s.tick++
	it.class.used = s.tick
	it.class.refresh(s.cluster)
	it.attempts++
	pod, node := it.pod, it.class.best()
	if node == nil {
		it.notBefore = s.Now().Add(backoff(it.attempts))
		s.queue.park(it)
		s.refuse(ctx, it)
		return time.Time{}, true
	}
	p := it.class.pod
	s.cluster.Place(&snapshot.Placed{UID: pod.UID, Node: node.Object.Name, Requests: p.Requests, Load: p.Load, Ports: p.Ports, Owner: p.Owner})
	name := node.Object.Name
	s.tasks.add(func() { s.bind(ctx, it, pod, name) })
	return time.Time{}, true
}

// recall activates the waiting pods of classes that fit somewhere now.
func (s *Scheduler) recall() {
	for _, c := range s.classes {
		if len(c.waiting) == 0 {
			continue
		}
		c.refresh(s.cluster)
		if c.best() != nil {
			s.activateWaiting(c)
		}
	}
}

func (s *Scheduler) activateWaiting(c *class) {
	for _, it := range c.waiting {
		s.queue.activate(it)
	}
}

// retryAll tries all waiting pods, lest a lost event leave one behind.
func (s *Scheduler) retryAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.classes {
		s.activateWaiting(c)
	}
}

// classOf finds or makes the class of a pod.
func (s *Scheduler) classOf(pod *corev1.Pod) (*class, error) {
	p, err := snapshot.PodOf(pod)
	if err != nil {
		return nil, err
	}
	if c := s.classes[p.Key]; c != nil {
		return c, nil
	}
	if len(s.classes) >= maxClasses {
		s.dropClass()
	}
	c := newClass(p)
	s.tick++
	c.used = s.tick
	s.classes[p.Key] = c
	return c, nil
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
		delete(s.classes, oldest.pod.Key)
	}
}

func (s *Scheduler) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
