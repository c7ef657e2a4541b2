package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	firstPause = 10 * time.Millisecond
	lastPause  = 5 * time.Second
)

// runRuntimes follows the API's pods, and for as long as a runtime is there, what it runs and its events.
func (a *Agent) runRuntimes(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		select {
		case <-a.registered:
			a.statics.load() // What of these runs is nobody's otherwise.
			a.followPods(ctx)
		case <-ctx.Done():
		}
	})
	following := map[Ref]context.CancelFunc{}
	for {
		instances := a.Runtimes.Instances()
		a.expect(ctx, &wg, instances)
		a.followInstances(ctx, &wg, following, instances)
		if err := a.awaitChange(ctx, len(instances) == 0); err != nil {
			return nil
		}
		a.registrar.Wake()
	}
}

// awaitChange waits until the set of runtimes may have changed.
func (a *Agent) awaitChange(ctx context.Context, soon bool) error {
	var changed <-chan struct{}
	if c, ok := a.Runtimes.(RuntimeChanges); ok {
		changed = c.Changed()
	}
	wait := a.AuditPeriod
	if soon {
		wait = firstPause
	}
	t := a.Clock.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-t.C():
	}
	return nil
}

func (a *Agent) followInstances(ctx context.Context, wg *sync.WaitGroup, following map[Ref]context.CancelFunc, instances []Instance) {
	present := map[Ref]bool{}
	for _, i := range instances {
		present[i.Ref] = true
		if following[i.Ref] != nil {
			continue
		}
		sub, cancel := context.WithCancel(ctx)
		following[i.Ref] = cancel
		wg.Go(func() { a.follow(sub, i.Ref) })
		wg.Go(func() { a.audit(sub, i.Ref) })
	}
	for ref, cancel := range following {
		if !present[ref] {
			cancel()
			delete(following, ref)
		}
	}
}

// learnName asks a runtime for the name that stands before its containers' ids.
func (a *Agent) learnName(ctx context.Context, i Instance) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	v, err := i.Runtime.Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil || v.GetRuntimeName() == "" {
		return
	}
	a.mu.Lock()
	a.names[i.Plugin] = v.GetRuntimeName()
	a.names[i.Plugin+" version"] = v.GetRuntimeVersion()
	a.mu.Unlock()
}

func (a *Agent) prefix(ref Ref) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := a.names[ref.Plugin]; n != "" {
		return n
	}
	return "containerd"
}

// follow reads a runtime's event stream. Whenever it had to start over, what may have been missed is read by a listing.
func (a *Agent) follow(ctx context.Context, ref Ref) {
	for wait := firstPause; ctx.Err() == nil; wait = min(2*wait, lastPause) {
		got, err := a.stream(ctx, ref)
		if got {
			wait = firstPause
		}
		if ctx.Err() != nil {
			return
		}
		a.Log.Debug("runtime event stream ended", "plugin", ref.Plugin, "err", err)
		a.registrar.Wake()
		t := a.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C():
		}
		t.Stop()
	}
}

func (a *Agent) stream(ctx context.Context, ref Ref) (got bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rt, err := a.runtimeOf(ref)
	if err != nil {
		return false, err
	}
	s, err := rt.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		return false, fmt.Errorf("get events of %s: %w", ref.Plugin, err)
	}
	if err := a.auditOnce(ctx, ref); err != nil {
		return false, err
	}
	a.registrar.Wake()
	for {
		e, err := s.Recv()
		if err != nil {
			return got, fmt.Errorf("read events of %s: %w", ref.Plugin, err)
		}
		got = true
		a.route(e)
	}
}

// route hands an event to the pod that it is about. What the agent itself makes it knows already; only ends are news.
func (a *Agent) route(e *runtimeapi.ContainerEventResponse) {
	switch e.GetContainerEventType() {
	case runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT:
	default:
		return
	}
	a.mu.Lock()
	w := a.owners[e.GetContainerId()]
	if w == nil {
		w = a.workers[types.UID(e.GetPodSandboxStatus().GetMetadata().GetUid())]
	}
	a.mu.Unlock()
	if w != nil {
		w.mark(e.GetContainerId())
	}
}

// audit compares what runs with what is known from time to time, in case an event was lost.
func (a *Agent) audit(ctx context.Context, ref Ref) {
	t := a.Clock.NewTicker(a.AuditPeriod)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C():
			if err := a.auditOnce(ctx, ref); err != nil && ctx.Err() == nil {
				a.Log.Warn("audit runtime", "plugin", ref.Plugin, "err", err)
			}
		}
	}
}

func (a *Agent) auditOnce(ctx context.Context, ref Ref) error {
	for _, i := range a.Runtimes.Instances() {
		if i.Ref != ref {
			continue
		}
		all, err := a.listAll(ctx, i)
		if err != nil {
			return err
		}
		a.learnName(ctx, i)
		a.offer(ref, all)
	}
	return nil
}

// offer hands each pod its part of a listing, and ends what belongs to no pod.
func (a *Agent) offer(ref Ref, all map[string]*listing) {
	freed, listed := a.counted(ref, all)
	for _, p := range freed {
		a.begin(p, false)
	}
	for uid, w := range a.snapshot() {
		l := all[string(uid)]
		w.post(func() { w.absorb(ref, l) })
	}
	if !listed {
		return
	}
	for _, p := range a.ghosts(all) {
		a.begin(p, true)
	}
}

// relist reads what one pod runs, after an action whose outcome is not known.
func (a *Agent) relist(w *worker) {
	instances, ctx := a.Runtimes.Instances(), w.ctx
	go func() {
		for _, i := range instances {
			all, err := a.listAll(ctx, i)
			if err != nil {
				continue
			}
			l := all[string(w.uid)]
			w.post(func() { w.absorb(i.Ref, l) })
		}
	}()
}
