package agent

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/apiwatch"
	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/pod"
	"github.com/gantryio/gantry/core/agent/static"
)

// followPods watches the pods that are assigned to the node.
func (a *Agent) followPods(ctx context.Context) {
	apiwatch.Run(ctx, apiwatch.Source{
		API: a.API, Name: "pods of " + a.NodeName, Object: &corev1.Pod{},
		List: func() client.ObjectList { return &corev1.PodList{} },
		Options: []client.ListOption{
			client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("spec.nodeName", a.NodeName)},
		},
	}, podHandler{a})
}

type podHandler struct{ a *Agent }

var _ apiwatch.Handler = podHandler{}

// Replace implements apiwatch.Handler. Pods that the runtimes run and the API does not know are ended.
func (h podHandler) Replace(objs []client.Object) {
	known := map[types.UID]bool{}
	for _, o := range objs {
		known[o.GetUID()] = true
		h.Put(o)
	}
	h.a.statics.keepMirrors(known)
	h.a.statics.know(known)
	for uid, w := range h.a.snapshot() {
		if !known[uid] {
			w.gone()
		}
	}
	h.a.unparkUnknown(known)
	first := h.a.adoptOrphans(known)
	h.a.settle()
	if first {
		close(h.a.ready)
		h.a.usesChanged()
	}
}

// Put implements apiwatch.Handler.
func (h podHandler) Put(o client.Object) {
	p, ok := o.(*corev1.Pod)
	if !ok || p.Spec.NodeName != h.a.NodeName {
		return
	}
	if static.IsMirror(p) {
		h.a.statics.put(p)
		return
	}
	if w := h.a.worker(p.UID); w != nil {
		w.set(p)
		return
	}
	if !h.a.park(p) {
		h.a.begin(p, false)
	}
}

// Remove implements apiwatch.Handler.
func (h podHandler) Remove(o client.Object) {
	if p, ok := o.(*corev1.Pod); ok && static.IsMirror(p) {
		h.a.statics.remove(p)
		return
	}
	if w := h.a.worker(o.GetUID()); w != nil {
		w.gone()
		return
	}
	if ghost := h.a.unpark(o.GetUID()); ghost != nil {
		h.a.begin(ghost, true)
	}
}

func (a *Agent) worker(uid types.UID) *worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.workers[uid]
}

func (a *Agent) snapshot() map[types.UID]*worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.workers)
}

// begin starts the goroutine of a pod. A pod that is new here must first be admitted.
func (a *Agent) begin(p *corev1.Pod, gone bool) *worker {
	w := a.newWorker(p)
	w.obs.Gone = gone
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.census.parked, p.UID)
	if a.closing || a.ctx.Err() != nil || a.workers[p.UID] != nil {
		return a.workers[p.UID]
	}
	f := a.starting[p.UID]
	if !fresh(p) && !gone {
		w.recall(p, f)
	}
	if f != nil {
		w.found(f)
		delete(a.starting, p.UID)
	} else if fresh(p) && !gone {
		if w.obs.Verdict = pod.Admit(p, a.active(), a.nodeObj); w.obs.Verdict != nil {
			v := w.obs.Verdict
			a.event(p, "", corev1.EventTypeWarning, v.Reason, v.Message)
		}
	}
	w.admitted, w.known = w.obs.Verdict == nil, w.granted.Load()
	a.workers[p.UID] = w
	ctx := a.ctx
	a.pods.Go(func() { w.run(ctx) })
	return w
}

// fresh tells whether no agent has accepted the pod yet.
func fresh(p *corev1.Pod) bool {
	return p.Status.StartTime == nil && p.DeletionTimestamp == nil &&
		(p.Status.Phase == corev1.PodPending || p.Status.Phase == "")
}

// active lists the pods that take up resources. It is called with the lock held.
func (a *Agent) active() []*corev1.Pod { return a.activeBut(nil) }

// activeBut leaves one pod out. The pods have what they were granted. It is called with the lock held.
func (a *Agent) activeBut(but *worker) []*corev1.Pod {
	out := make([]*corev1.Pod, 0, len(a.workers))
	for _, w := range a.workers {
		if p := w.pod.Load(); w != but && w.admitted && !ended(p) && !w.left.Load() {
			out = append(out, pod.Granted(p, w.granted.Load()))
		}
	}
	for _, p := range a.census.parked {
		out = append(out, p.pod)
	}
	return out
}

// forget is called by a goroutine that ends.
func (a *Agent) forget(w *worker) {
	defer a.freed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.workers[w.uid] == w {
		delete(a.workers, w.uid)
	}
	for id, o := range a.owners {
		if o == w {
			delete(a.owners, id)
		}
	}
	a.statics.poke()
}

// own notes which goroutine an event about an id is for.
func (a *Agent) own(id string, w *worker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owners[id] = w
}

func (a *Agent) disown(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.owners, id)
}

// adoptOrphans ends what runs here without a pod in the API, and clears what such pods have left behind. From then on, who counts what
// a runtime runs does so; first tells that this was not so before.
func (a *Agent) adoptOrphans(known map[types.UID]bool) (first bool) {
	for {
		a.mu.Lock()
		var orphans []*corev1.Pod
		for uid, f := range a.starting {
			if !known[uid] {
				orphans = append(orphans, f.ghost())
			}
		}
		if len(orphans) == 0 || a.closing || a.ctx.Err() != nil {
			// No runtime may be counted between the last look and this, for nobody would look at what it runs.
			first, a.listed = !a.listed, true
			a.mu.Unlock()
			break
		}
		a.mu.Unlock()
		for _, p := range orphans {
			a.Log.Info("end pod that the API does not know", "pod", p.Namespace+"/"+p.Name, "uid", p.UID)
			a.begin(p, true)
		}
	}
	if first && !a.Hollow {
		go a.clearLeftovers(known)
	}
	return first
}

// clearLater does what clearLeftovers has left to do until a runtime answered.
func (a *Agent) clearLater(ctx context.Context) {
	var list corev1.PodList
	if err := a.API.List(ctx, &list, client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("spec.nodeName", a.NodeName)}); err != nil {
		a.Log.Warn("list pods to clear what others have left", "err", err)
		return
	}
	known := map[types.UID]bool{}
	for i := range list.Items {
		known[list.Items[i].UID] = true
	}
	a.statics.know(known)
	a.clearLeftovers(known)
}

// clearLeftovers removes directories, mounts, cgroups and logs of pods that are neither in the API nor running. What a
// runtime that has not answered yet may run is left.
func (a *Agent) clearLeftovers(known map[types.UID]bool) {
	alive := func(uid string) bool {
		return known[types.UID(uid)] || a.worker(types.UID(uid)) != nil || a.hidden(types.UID(uid))
	}
	for _, uid := range a.volumes.Pods() {
		if alive(uid) {
			continue
		}
		if err := a.volumes.Release(uid); err != nil {
			a.Log.Warn("clear volumes of a pod that is gone", "uid", uid, "err", err)
		}
	}
	for uid, path := range a.cgroups.Pods() {
		if alive(uid) {
			continue
		}
		if err := a.cgroups.Remove(path); err != nil {
			a.Log.Warn("clear cgroup of a pod that is gone", "uid", uid, "err", err)
		}
	}
	a.clearLogs(alive)
}

// found is what the runtimes ran of a pod when the agent started.
type found struct {
	listings []*listing
}

// put takes the newest listing of a runtime.
func (f *found) put(l *listing) {
	for i := range f.listings {
		if f.listings[i].ref.Plugin == l.ref.Plugin {
			f.listings[i] = l
			return
		}
	}
	f.listings = append(f.listings, l)
}

// ghost makes as much of a pod as is needed to end it.
func (f *found) ghost() *corev1.Pod {
	p := &corev1.Pod{}
	for _, l := range f.listings {
		if len(l.sandboxes) == 0 {
			continue
		}
		ns, name, uid := criconfig.PodOf(l.sandboxes[0].GetLabels())
		p.ObjectMeta = metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID(uid)}
		for _, c := range f.containers() {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c})
		}
		break
	}
	return p
}

func (f *found) containers() []string {
	var out []string
	for _, l := range f.listings {
		for _, c := range l.containers {
			out = append(out, c.GetMetadata().GetName())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// found takes over what the runtimes ran at start; the first refresh reads it.
func (w *worker) found(f *found) {
	var newest *runtimeapi.PodSandbox
	for _, l := range f.listings {
		w.absorb(l.ref, l)
		for _, sb := range l.sandboxes {
			if newest == nil || later(sb, newest) {
				newest = sb
				w.runtime.Store(&l.ref.Plugin)
			}
		}
	}
}

// later goes by the attempts: not every runtime remembers times when it starts anew.
func later(a, b *runtimeapi.PodSandbox) bool {
	return cmp.Or(cmp.Compare(a.GetMetadata().GetAttempt(), b.GetMetadata().GetAttempt()), cmp.Compare(a.GetCreatedAt(), b.GetCreatedAt())) > 0
}

// podOfLogDirectory reads the uid out of NAMESPACE_NAME_UID.
func podOfLogDirectory(name string) (string, bool) {
	i := strings.LastIndexByte(name, '_')
	return name[i+1:], i > 0
}
