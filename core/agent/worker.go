package agent

import (
	"context"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/agent/objects"
	"github.com/gantryio/gantry/core/agent/pod"
)

// worker is the goroutine of one pod. It alone changes what is observed of the pod; whatever else happens reaches it as
// a function in its inbox. Actions run beside it, at most one on a subject, and report through the inbox too.
type worker struct {
	a    *Agent
	uid  types.UID
	log  *slog.Logger
	wake chan struct{}
	done chan struct{}
	// pod is the newest version for readers elsewhere; admitted tells that the pod counts against the node's resources.
	pod atomic.Pointer[corev1.Pod]
	// granted is the version of the pod whose size the node has accepted, and pending says why not that of the newest one. Both
	// are decided for all pods together, under the agent's lock.
	granted atomic.Pointer[corev1.Pod]
	pending atomic.Pointer[pod.Pending]
	// left tells that the API has the pod no more: the scheduler has given away what it took.
	left atomic.Bool
	// runtime is the plugin that has the pod's sandboxes; nil for none.
	runtime  atomic.Pointer[string]
	admitted bool

	mu    sync.Mutex
	inbox []func()

	// The rest belongs to the goroutine.
	ctx      context.Context
	ending   context.Context
	end      context.CancelFunc
	cur      *corev1.Pod
	obs      *pod.Observed
	refs     map[string]Ref
	dirty    map[string]bool
	inflight map[pod.Subject]int
	probes   map[string]*prober
	missing  *objects.Set
	writing  bool
	retry    bool
	ends     map[string]chan struct{}
	// sandboxes tells which sandbox a container is in; early are events of what a start in flight has not told of yet.
	sandboxes map[string]string
	early     map[string]bool
	volumesAt time.Time
	// backOffs is what was last told of each container that has to wait before it may start again.
	backOffs map[string]string
	// isStatic tells that the pod is of the node's folder; mirror is its copy in the API, nil as long as there is none.
	isStatic bool
	mirror   *corev1.Pod
	// arrived tells that the pod has been ready.
	arrived bool
	// known is what was granted when the goroutine looked last, sizedPod what sized has made of sizedFrom, and given are the
	// sizes that running containers have got since they were started.
	known     *corev1.Pod
	sizedPod  *corev1.Pod
	sizedFrom [2]*corev1.Pod
	given     map[string]pod.Size
}

func (a *Agent) newWorker(p *corev1.Pod) *worker {
	w := &worker{
		a: a, uid: p.UID, cur: p, wake: make(chan struct{}, 1), done: make(chan struct{}),
		log: a.Log.With("pod", p.Namespace+"/"+p.Name, "uid", p.UID),
		obs: pod.NewObserved(a.Clock.Now()), refs: map[string]Ref{}, dirty: map[string]bool{},
		inflight: map[pod.Subject]int{}, probes: map[string]*prober{}, sandboxes: map[string]string{}, early: map[string]bool{},
		backOffs: map[string]string{}, isStatic: a.statics.has(p.UID), given: map[string]pod.Size{},
	}
	w.pod.Store(p)
	w.granted.Store(p)
	if w.isStatic {
		a.statics.poke() // It gets its mirror, whoever has begun it.
	}
	now := a.Clock.Now()
	a.journeys.add(p.UID, Span{StageSeen, now, now})
	return w
}

// post hands a function to the goroutine.
func (w *worker) post(f func()) {
	w.mu.Lock()
	w.inbox = append(w.inbox, f)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) take() []func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := w.inbox
	w.inbox = nil
	return in
}

// run lives as long as the pod does on this node.
func (w *worker) run(ctx context.Context) {
	w.ctx = ctx
	w.ending, w.end = context.WithCancel(ctx)
	defer w.close()
	timer := w.a.Clock.NewTimer(0)
	defer timer.Stop()
	if w.waits() {
		w.a.settle()
	}
	for {
		for _, f := range w.take() {
			f()
		}
		w.refresh()
		plan := w.step()
		if plan.Done || ctx.Err() != nil {
			return
		}
		if !timer.Stop() {
			select {
			case <-timer.C():
			default:
			}
		}
		if !plan.Wake.IsZero() {
			timer.Reset(max(0, plan.Wake.Sub(w.a.Clock.Now())))
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C():
		}
	}
}

// step plans, acts and reports once.
func (w *worker) step() pod.Plan {
	now := w.a.Clock.Now()
	w.hearSizes()
	if w.cur.DeletionTimestamp != nil && len(w.cur.Finalizers) > 0 {
		w.report(now) // Whoever holds the pod must see its last status before it is told that the pod has ended.
	}
	plan := pod.Make(w.sized(), w.obs, now)
	if plan.Ending {
		w.end()
	}
	for _, act := range plan.Actions {
		w.act(act)
	}
	w.probe(plan.Ending)
	w.report(now)
	w.tellEnds(false)
	w.tellRuntime()
	if w.retry {
		w.retry = false
		if at := now.Add(retryAfter); plan.Wake.IsZero() || at.Before(plan.Wake) {
			plan.Wake = at
		}
	}
	return plan
}

func (w *worker) close() {
	w.end()
	for _, p := range w.probes {
		p.stop()
	}
	if w.missing != nil {
		w.missing.Close()
	}
	w.tellEnds(w.ctx.Err() == nil) // when the agent stops, the container has not ended
	w.a.forget(w)
	w.a.usesChanged()
	close(w.done)
}

// op runs an action beside the goroutine. What it returns is run by the goroutine when the action is over.
func (w *worker) op(s pod.Subject, ctx context.Context, f func(ctx context.Context) func()) {
	w.inflight[s]++
	w.obs.Busy[s] = true
	go func() {
		after := f(ctx)
		w.post(func() {
			if w.inflight[s]--; w.inflight[s] == 0 {
				delete(w.inflight, s)
				delete(w.obs.Busy, s)
			}
			if after != nil {
				after()
			}
		})
	}()
}

// mark makes a sandbox or container be read again, because an event says that it changed.
func (w *worker) mark(id string) {
	w.post(func() {
		if _, ok := w.refs[id]; ok {
			w.dirty[id] = true
		} else if len(w.inflight) > 0 {
			w.early[id] = true
		}
	})
}

// made takes note of a sandbox or container that this worker has just made.
func (w *worker) made(id, sandboxID string, ref Ref) {
	w.refs[id] = ref
	if sandboxID != "" {
		w.sandboxes[id] = sandboxID
	}
	if w.early[id] {
		delete(w.early, id)
		w.dirty[id] = true
	}
	w.a.own(id, w)
}

// adopt takes a version of the pod unless a newer one is known.
func (w *worker) adopt(p *corev1.Pod) {
	if p.UID != w.uid || older(p.ResourceVersion, w.cur.ResourceVersion) {
		return
	}
	before := w.cur
	w.cur = p
	w.pod.Store(p)
	switch {
	case before.Generation != p.Generation && !pod.SameSize(before, p):
		w.a.settle()
	case ended(p) && !ended(before):
		w.a.freed()
	}
}

// set is what the API's watch says of the pod.
func (w *worker) set(p *corev1.Pod) {
	w.post(func() {
		before := w.cur
		w.adopt(p)
		if w.cur != before && metadataChanged(before, w.cur) {
			w.stale()
		}
	})
}

// gone tells that the API has the pod no more.
func (w *worker) gone() {
	w.left.Store(true)
	w.post(func() { w.obs.Gone = true })
	w.a.freed()
}

// stale makes the volumes be written again.
func (w *worker) stale() {
	w.obs.VolumesReady, w.obs.Volumes = w.obs.VolumesReady && len(w.cur.Spec.Volumes) == 0, nil
}

func metadataChanged(a, b *corev1.Pod) bool {
	return !maps.Equal(a.Labels, b.Labels) || !maps.Equal(a.Annotations, b.Annotations)
}

// older compares resource versions, which are numbers that grow. What is not a number is never older.
func older(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX == nil && errY == nil && x < y
}
