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
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// writers is how many bindings and status patches are under way at most.
const writers = 64

// How many classes are remembered while none of their pods waits: so many that they have not more than
// maxVerdicts on nodes together, which bounds the memory of large clusters.
const (
	minClasses  = 16
	maxClasses  = 128
	maxVerdicts = 200_000
)

// Scheduler places the pods whose schedulerName is that of one of its profiles.
type Scheduler struct {
	Client   client.Client
	Cache    cache.Cache
	Recorder record.EventRecorder
	// Config is kube-scheduler's default unless set.
	Config *Config
	// Plugins finds the plugins that profiles name besides the built-in ones.
	Plugins Plugins
	// Now is time.Now unless set.
	Now func() time.Time
	// Log is slog.Default unless set.
	Log *slog.Logger

	mu        sync.Mutex
	reader    client.Reader
	profiles  map[string]*profile
	extenders []*extender
	cluster   *snapshot.Cluster
	queue     *queue
	owners    *owners
	classes   map[string]*class
	tick      int64
	freed     bool // something changed that may help waiting pods
	recalled  int64
	seenKeys  int64 // what waiting pods' digests were made with
	seenOwn   int64
	wake      chan struct{}
	tasks     tasks
	journeys  journeys
	bindings  bindings
}

func (s *Scheduler) init() error {
	s.bindings = newBindings()
	s.cluster, s.queue, s.classes = snapshot.NewCluster(), newQueue(), map[string]*class{}
	s.wake = make(chan struct{}, 1)
	s.tasks.wake = make(chan struct{}, 1)
	s.reader = s.Client
	if s.Cache != nil {
		s.reader = s.Cache // what it has may be a moment old, and it never waits
	}
	s.owners = newOwners(s.reader)
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	if s.Config == nil {
		s.Config = DefaultConfig()
	}
	return s.configure()
}

// Run schedules until ctx ends. The cache has to be started by somebody else.
func (s *Scheduler) Run(ctx context.Context) error {
	s.mu.Lock()
	err := s.init()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for _, kind := range append(s.volumeKinds(ctx),
		watched{&corev1.Namespace{}, s.namespaceEvents()},
		watched{&corev1.Service{}, s.serviceEvents()},
		watched{&corev1.Node{}, s.nodeEvents()},
		watched{&corev1.Pod{}, s.podEvents()},
	) {
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

func (s *Scheduler) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
