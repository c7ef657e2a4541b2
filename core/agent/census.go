package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// census is what is known of who runs what since the agent started. A pod must not be started twice because the runtime
// that runs it answers late, nor may one runtime that is away hold up the pods of the others.
type census struct {
	// asked are the runtimes that are listed, with what ends that; answered are those that have said what they run, and
	// silent is why others have not.
	asked    map[string]context.CancelFunc
	answered map[string]bool
	silent   map[string]error
	// parked are the pods that a runtime may run which has not answered yet.
	parked map[types.UID]parked
}

type parked struct {
	pod    *corev1.Pod
	plugin string
}

func newCensus() census {
	return census{
		asked: map[string]context.CancelFunc{}, answered: map[string]bool{}, silent: map[string]error{}, parked: map[types.UID]parked{},
	}
}

// expect begins to list the runtimes that are new, and waits no more for those that are gone.
func (a *Agent) expect(ctx context.Context, wg *sync.WaitGroup, instances []Instance) {
	present := map[string]bool{}
	var freed []*corev1.Pod
	a.mu.Lock()
	for _, i := range instances {
		present[i.Plugin] = true
		if a.census.asked[i.Plugin] != nil {
			continue
		}
		sub, cancel := context.WithCancel(ctx)
		a.census.asked[i.Plugin] = cancel
		wg.Go(func() { a.count(sub, i.Plugin) })
	}
	for name, cancel := range a.census.asked {
		if !present[name] {
			cancel()
			delete(a.census.asked, name)
			delete(a.census.answered, name)
			delete(a.census.silent, name)
			freed = append(freed, a.free(name)...)
		}
	}
	a.mu.Unlock()
	for _, p := range freed {
		a.begin(p, false)
	}
}

// count lists a runtime until it has answered once.
func (a *Agent) count(ctx context.Context, plugin string) {
	for wait := firstPause; ctx.Err() == nil; wait = min(2*wait, lastPause) {
		err := a.listPlugin(ctx, plugin)
		if err == nil || ctx.Err() != nil {
			return
		}
		a.missed(plugin, err, wait == lastPause)
		t := a.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C():
		}
		t.Stop()
	}
}

func (a *Agent) listPlugin(ctx context.Context, plugin string) error {
	for _, i := range a.Runtimes.Instances() {
		if i.Plugin == plugin {
			return a.auditOnce(ctx, i.Ref)
		}
	}
	return nil
}

// missed tells the pods that wait, once, and the log from time to time.
func (a *Agent) missed(plugin string, err error, long bool) {
	a.mu.Lock()
	var waiting []*corev1.Pod
	first := a.census.silent[plugin] == nil
	a.census.silent[plugin] = err
	if first {
		for _, p := range a.census.parked {
			if p.plugin == plugin {
				waiting = append(waiting, p.pod)
			}
		}
	}
	a.mu.Unlock()
	for _, p := range waiting {
		a.tellParked(p, plugin, err)
	}
	if long {
		a.Log.Warn("wait for runtime", "plugin", plugin, "err", err)
	}
}

func (a *Agent) tellParked(p *corev1.Pod, plugin string, err error) {
	a.event(p, "", corev1.EventTypeWarning, "RuntimeNotReady",
		fmt.Sprintf("Runtime plugin %s, which may run the pod, does not answer: %s", plugin, message(err)))
}

// counted takes a runtime's listing, and returns the pods that waited for it and whether the API's pods are known.
func (a *Agent) counted(ref Ref, all map[string]*listing) (freed []*corev1.Pod, listed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid, l := range all {
		if a.workers[types.UID(uid)] != nil {
			continue
		}
		if a.starting[types.UID(uid)] == nil {
			a.starting[types.UID(uid)] = &found{}
		}
		a.starting[types.UID(uid)].put(l)
	}
	if !a.census.answered[ref.Plugin] {
		a.census.answered[ref.Plugin] = true
		delete(a.census.silent, ref.Plugin)
		freed = a.free(ref.Plugin)
		if a.listed && !a.Hollow {
			ctx := a.ctx
			a.pods.Go(func() { a.clearLater(ctx) })
		}
	}
	return freed, a.listed
}

// free returns the pods that wait for a runtime; they wait until they begin, so that there is no moment in which the
// runtime seems to be without them. It is called with the lock held.
func (a *Agent) free(plugin string) []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range a.census.parked {
		if p.plugin == plugin {
			out = append(out, p.pod)
		}
	}
	return out
}

// ghosts are those of a listing that are nobody's. Static pods may begin later than the API's pods are known.
func (a *Agent) ghosts(all map[string]*listing) []*corev1.Pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*corev1.Pod
	for uid := range all {
		_, waits := a.census.parked[types.UID(uid)]
		if f := a.starting[types.UID(uid)]; f != nil && !waits && a.workers[types.UID(uid)] == nil && !a.statics.has(types.UID(uid)) {
			out = append(out, f.ghost())
		}
	}
	return out
}

// park keeps a pod waiting that a runtime may run which has not answered yet.
func (a *Agent) park(p *corev1.Pod) bool {
	if !a.waiting() {
		return false
	}
	plugin := a.home(p)
	a.mu.Lock()
	if a.census.asked[plugin] == nil || a.census.answered[plugin] {
		a.mu.Unlock()
		return false
	}
	_, known := a.census.parked[p.UID]
	a.census.parked[p.UID] = parked{p, plugin}
	err := a.census.silent[plugin]
	a.mu.Unlock()
	if err != nil && !known {
		a.tellParked(p, plugin, err)
	}
	if !known {
		a.usesChanged()
	}
	return true
}

// waiting tells that some runtime has not answered yet.
func (a *Agent) waiting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.census.asked) > len(a.census.answered)
}

// home is the runtime that may run a pod; "" when none does. A pod that was never started here is nowhere; of hollow
// nodes' pods that is not known.
func (a *Agent) home(p *corev1.Pod) string {
	if name := a.marked(p.UID); name != "" || fresh(p) && !a.Hollow {
		return name
	}
	handler, err := a.handlerOf(a.ctx, p)
	if err != nil {
		return ""
	}
	_, ref, _, err := a.Runtimes.Runtime(handler)
	if err != nil {
		return ""
	}
	return ref.Plugin
}

// unpark forgets a pod that the API has no more. What of it is known to run is returned, to be ended.
func (a *Agent) unpark(uid types.UID) *corev1.Pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.census.parked, uid)
	if f := a.starting[uid]; f != nil {
		return f.ghost()
	}
	return nil
}

func (a *Agent) unparkUnknown(known map[types.UID]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid := range a.census.parked {
		if !known[uid] {
			delete(a.census.parked, uid)
		}
	}
}

// waitsFor is the runtime that a pod waits for; "" for none.
func (a *Agent) waitsFor(namespace, name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.census.parked {
		if p.pod.Namespace == namespace && p.pod.Name == name {
			return p.plugin
		}
	}
	return ""
}

// hidden tells that a pod which nobody knows may still run on a runtime that has not answered.
func (a *Agent) hidden(uid types.UID) bool {
	if !a.waiting() {
		return false
	}
	plugin := a.marked(uid)
	a.mu.Lock()
	defer a.mu.Unlock()
	return plugin == "" || a.census.asked[plugin] != nil && !a.census.answered[plugin]
}

// markFile names, in the pod's directory, the runtime that was last asked to run the pod.
const markFile = "runtime"

// mark notes which runtime is about to be asked to run a pod, so that the next agent knows whom to ask.
func (a *Agent) mark(uid types.UID, plugin string) error {
	if a.marked(uid) == plugin {
		return nil
	}
	dir := a.volumes.PodDir(string(uid))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make pod directory: %w", err)
	}
	file := filepath.Join(dir, markFile)
	err := os.WriteFile(file+".new", []byte(plugin), 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return fmt.Errorf("note the pod's runtime: %w", err)
	}
	return nil
}

func (a *Agent) marked(uid types.UID) string {
	if a.Hollow {
		return ""
	}
	raw, err := os.ReadFile(filepath.Join(a.volumes.PodDir(string(uid)), markFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.Log.Warn("read the pod's runtime", "uid", uid, "err", err)
	}
	return string(raw)
}
