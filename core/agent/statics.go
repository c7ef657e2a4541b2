package agent

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/static"
)

// statics runs the pods of a folder of manifests. Each has a worker like any other pod, under the identity that its file
// gives it; its mirror, a pod of another identity in the API, shows it and takes its status. One goroutine compares what
// is wanted, what runs and the mirrors that there are, whenever one of them may have changed.
type statics struct {
	a    *Agent
	wake chan struct{}

	mu sync.Mutex
	// wanted are the pods of the folder, running the versions that have a worker, and mirrors the API's pods, by
	// NAMESPACE/NAME. uids are those of wanted and running.
	wanted, running, mirrors map[string]*corev1.Pod
	uids                     map[types.UID]bool
	// moving are those that are to begin anew, because somebody evicted their mirror.
	moving map[string]bool
	// said is what was last wrong with the folder.
	said string
}

// rereadAfter is how often the folder is read though nothing was told of it, as the kubelet does.
const rereadAfter = 20 * time.Second

func newStatics(a *Agent) *statics {
	return &statics{
		a: a, wake: make(chan struct{}, 1), wanted: map[string]*corev1.Pod{}, running: map[string]*corev1.Pod{},
		mirrors: map[string]*corev1.Pod{}, uids: map[types.UID]bool{}, moving: map[string]bool{},
	}
}

func keyOf(p *corev1.Pod) string { return p.Namespace + "/" + p.Name }

func (s *statics) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// has tells that a pod is of the folder.
func (s *statics) has(uid types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uids[uid]
}

// know adds the pods of the folder to those that may run here.
func (s *statics) know(known map[types.UID]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for uid := range s.uids {
		known[uid] = true
	}
}

// put takes a mirror as the API has it, remove its end.
func (s *statics) put(mirror *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mirrors[keyOf(mirror)] = mirror
	s.poke()
}

// written takes a mirror as this agent has written it, unless the watch has told of a later one or of its end meanwhile.
func (s *statics) written(mirror *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.mirrors[keyOf(mirror)]; m != nil && m.UID == mirror.UID && !older(mirror.ResourceVersion, m.ResourceVersion) {
		s.mirrors[keyOf(mirror)] = mirror
		s.poke()
	}
}

func (s *statics) remove(mirror *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.mirrors[keyOf(mirror)]; m != nil && m.UID == mirror.UID {
		delete(s.mirrors, keyOf(mirror))
		if evicted(mirror) || evicted(m) {
			s.moving[keyOf(mirror)] = true
		}
	}
	s.poke()
}

// keepMirrors forgets those that the API does not list.
func (s *statics) keepMirrors(listed map[types.UID]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, m := range s.mirrors {
		if !listed[m.UID] {
			delete(s.mirrors, key)
		}
	}
	s.poke()
}

// evicted tells that the eviction API has ended a pod. A static pod cannot be taken away by that, but is made anew, so that
// who swaps plugins can move it.
func evicted(p *corev1.Pod) bool {
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && c.Reason == "EvictionByEvictionAPI" {
			return true
		}
	}
	return false
}

// load reads the folder.
func (s *statics) load() {
	pods, err := static.Read(s.a.StaticPodPath, s.a.NodeName, s.a.Clock.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	said := ""
	if err != nil {
		said = err.Error()
		if said != s.said {
			s.a.Log.Warn("static pods", "err", err)
		}
	}
	s.said = said
	before := s.wanted
	s.wanted = map[string]*corev1.Pod{}
	for _, p := range pods {
		if old := before[keyOf(p)]; old != nil && old.UID == p.UID {
			p = old // It was seen then.
		}
		s.wanted[keyOf(p)] = p
	}
	s.index()
}

// index is called with the lock held.
func (s *statics) index() {
	clear(s.uids)
	for _, set := range []map[string]*corev1.Pod{s.wanted, s.running} {
		for _, p := range set {
			s.uids[p.UID] = true
		}
	}
}

// run follows the folder until ctx ends.
func (s *statics) run(ctx context.Context) error {
	if s.a.StaticPodPath == "" {
		<-ctx.Done()
		return nil
	}
	if err := os.MkdirAll(s.a.StaticPodPath, 0o700); err != nil {
		return fmt.Errorf("make the folder of static pods: %w", err)
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch static pods: %w", err)
	}
	defer func() { _ = w.Close() }()
	if err := w.Add(s.a.StaticPodPath); err != nil {
		return fmt.Errorf("watch static pods: %w", err)
	}
	select {
	case <-s.a.Ready():
	case <-ctx.Done():
		return nil
	}
	tick := s.a.Clock.NewTicker(rereadAfter)
	defer tick.Stop()
	for {
		s.load()
		again := s.reconcile(ctx)
		var retry <-chan time.Time
		if again {
			retry = s.a.Clock.After(retryAfter)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.Events:
		case err := <-w.Errors:
			s.a.Log.Warn("watch static pods", "err", err)
		case <-s.wake:
		case <-tick.C():
		case <-retry:
		}
	}
}

// reconcile does what is to be done now, and tells whether something failed.
func (s *statics) reconcile(ctx context.Context) (again bool) {
	s.mu.Lock()
	keys := map[string]bool{}
	for _, set := range []map[string]*corev1.Pod{s.wanted, s.running, s.mirrors} {
		for key := range set {
			keys[key] = true
		}
	}
	s.mu.Unlock()
	for key := range keys {
		if err := s.settle(ctx, key); err != nil && ctx.Err() == nil {
			s.a.Log.Warn("static pod", "pod", key, "err", err)
			again = true
		}
	}
	return again
}

// step is what has to happen to one static pod next.
type step struct {
	// end its worker, begin one, delete its mirror, or create one. tell gives the worker its mirror.
	end, begin, remove, create, tell bool
}

// next is pure. worked tells that the version in running still has a worker.
func next(wanted, running, mirror *corev1.Pod, worked, moving bool) step {
	current := wanted != nil && running != nil && wanted.UID == running.UID
	leaving := mirror != nil && mirror.DeletionTimestamp != nil && evicted(mirror)
	unended := leaving && !moving
	moving = moving || leaving
	stale := mirror != nil && (wanted == nil || mirror.DeletionTimestamp != nil || mirror.Annotations[static.MirrorOf] != wanted.Annotations[static.Hash])
	switch {
	case worked && (!current || moving): // A new version begins when the old one has ended.
		return step{end: true} // Its mirror shows it until it has ended.
	case unended && wanted != nil: // It was evicted before this agent began it, and what the one before left has to end first.
		return step{begin: true}
	case stale:
		return step{remove: true}
	case wanted == nil:
		return step{}
	}
	return step{begin: !worked, create: mirror == nil, tell: mirror != nil}
}

func (s *statics) settle(ctx context.Context, key string) error {
	s.mu.Lock()
	wanted, running, mirror, moving := s.wanted[key], s.running[key], s.mirrors[key], s.moving[key]
	s.mu.Unlock()
	var w *worker
	if running != nil {
		if w = s.a.worker(running.UID); w == nil {
			s.ended(key)
		}
	}
	do := next(wanted, running, mirror, w != nil, moving)
	switch {
	case do.end:
		s.mu.Lock()
		s.moving[key] = moving || mirror != nil && evicted(mirror)
		s.mu.Unlock()
		w.post(func() { w.obs.Gone, w.obs.Graceful = true, true })
		return nil // Its end wakes.
	case do.remove:
		return s.removeMirror(ctx, mirror)
	}
	if do.begin && !s.a.park(wanted) {
		s.begun(key, wanted)
		w = s.a.begin(wanted, false)
	}
	if do.create {
		return s.createMirror(ctx, wanted)
	}
	if do.tell && w != nil {
		w.setMirror(mirror)
	}
	return nil
}

func (s *statics) begun(key string, p *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[key] = p
	delete(s.moving, key)
	s.index()
}

func (s *statics) ended(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, key)
	s.index()
}

func (s *statics) createMirror(ctx context.Context, p *corev1.Pod) error {
	mirror := static.Mirror(p, s.a.theNode())
	err := s.a.API.Create(ctx, mirror)
	if err == nil {
		s.put(mirror)
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create mirror: %w", err)
	}
	return nil // The watch brings it, or another pod of that name goes some time.
}

func (s *statics) removeMirror(ctx context.Context, mirror *corev1.Pod) error {
	err := s.a.API.Delete(ctx, mirror, client.GracePeriodSeconds(0), client.Preconditions{UID: &mirror.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete mirror: %w", err)
	}
	return nil
}

// setMirror gives the worker of a static pod what the API knows of it.
func (w *worker) setMirror(mirror *corev1.Pod) {
	w.post(func() {
		if w.mirror != nil && w.mirror.UID == mirror.UID && older(mirror.ResourceVersion, w.mirror.ResourceVersion) {
			return
		}
		w.mirror = mirror
		w.cur = static.Merge(w.cur, mirror)
		w.pod.Store(w.cur)
	})
}

// writeMirror stores the status of a static pod, and returns what the goroutine is to learn from it.
func (w *worker) writeMirror(ctx context.Context, mirror *corev1.Pod, status corev1.PodStatus) func() {
	obj := mirror.DeepCopy()
	obj.Status = status
	switch err := w.a.API.Status().Update(ctx, obj); {
	case err == nil:
		return func() { w.a.statics.written(obj); w.setMirror(obj) }
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		w.hold(ctx) // The watch brings what there is now.
	default:
		w.log.Warn("write pod status", "err", fmt.Errorf("update status of %s/%s: %w", obj.Namespace, obj.Name, err))
		w.hold(ctx)
	}
	return func() {}
}
