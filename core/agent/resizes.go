package agent

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/agent/pod"
)

// settle decides about the resizes that wait: whether the node accepts them now. Whoever frees something calls it, too.
func (a *Agent) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.listed || a.nodeObj == nil || a.closing {
		return
	}
	var waiting []*worker
	for _, w := range a.workers {
		if w.waits() {
			waiting = append(waiting, w)
		} else if w.pending.Swap(nil) != nil {
			w.post(func() {})
		}
	}
	slices.SortStableFunc(waiting, func(x, y *worker) int {
		return pod.Urgency(pod.Waiting{Wish: x.pod.Load(), Granted: x.granted.Load()}, pod.Waiting{Wish: y.pod.Load(), Granted: y.granted.Load()})
	})
	a.deferred = 0
	for _, w := range waiting {
		p := w.pod.Load()
		why := pod.Fit(p, a.activeBut(w), a.nodeObj)
		before := w.pending.Swap(why)
		if why == nil {
			w.granted.Store(p)
		} else {
			a.deferred++
		}
		if why == nil || before == nil || *why != *before {
			w.post(func() {})
		}
	}
}

// freed decides anew about resizes that wait, if there are any.
func (a *Agent) freed() {
	a.mu.Lock()
	waits := a.deferred > 0
	a.mu.Unlock()
	if waits {
		a.settle()
	}
}

// waits tells whether the pod asks for something else than it was granted.
func (w *worker) waits() bool {
	p := w.pod.Load()
	return w.admitted && p.DeletionTimestamp == nil && !ended(p) && !pod.SameSize(p, w.granted.Load())
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// sized is the pod with what the node has granted it.
func (w *worker) sized() *corev1.Pod {
	if granted := w.granted.Load(); w.sizedFrom[0] != w.cur || w.sizedFrom[1] != granted {
		w.sizedPod, w.sizedFrom = pod.Granted(w.cur, granted), [2]*corev1.Pod{w.cur, granted}
	}
	return w.sizedPod
}

// hearSizes takes what was decided about the pod's size, and tells of it and of what has been done.
func (w *worker) hearSizes() {
	r := &w.obs.Resize
	if granted := w.granted.Load(); granted != w.known {
		if !sameWhole(w.known, granted) && r.Before == nil {
			if r.Before = w.known.Spec.Resources; r.Before == nil {
				r.Before = &corev1.ResourceRequirements{}
			}
		}
		w.known, r.Outdated, r.Generation, r.Failure = granted, true, granted.Generation, nil
		w.tellResize(granted, corev1.EventTypeNormal, "ResizeStarted", "Pod resize started", granted.Generation, "")
	}
	if why := w.pending.Load(); why != r.Pending {
		before := r.Pending
		if before == nil {
			before = w.pendingInAPI()
		}
		if r.Pending = why; why != nil && (before == nil || before.Reason != why.Reason || before.Generation != why.Generation) {
			w.tellResize(w.cur, corev1.EventTypeWarning, "Resize"+why.Reason, "Pod resize "+why.Reason, why.Generation, why.Message)
		}
	}
	if p := w.sized(); r.Generation != 0 && !pod.Resizing(p, w.obs) {
		w.tellResize(p, corev1.EventTypeNormal, "ResizeCompleted", "Pod resize completed", r.Generation, "")
		r.Generation, r.Failure = 0, nil
	}
}

func sameWhole(a, b *corev1.Pod) bool {
	return pod.SameSize(&corev1.Pod{Spec: corev1.PodSpec{Resources: a.Spec.Resources}}, &corev1.Pod{Spec: corev1.PodSpec{Resources: b.Spec.Resources}})
}

// pendingInAPI is what the pod's status says, so that an agent that starts again does not tell it twice.
func (w *worker) pendingInAPI() *pod.Pending {
	for i := range w.cur.Status.Conditions {
		if c := &w.cur.Status.Conditions[i]; c.Type == corev1.PodResizePending {
			return &pod.Pending{Reason: c.Reason, Message: c.Message, Generation: c.ObservedGeneration}
		}
	}
	return nil
}

// resizeSummary is what events say of a resize.
type resizeSummary struct {
	InitContainers []containerSummary `json:"initContainers,omitempty"`
	Containers     []containerSummary `json:"containers,omitempty"`
	Generation     int64              `json:"generation"`
	Error          string             `json:"error,omitempty"`
}

type containerSummary struct {
	Name      string                      `json:"name"`
	Resources corev1.ResourceRequirements `json:"resources"`
}

func (w *worker) tellResize(p *corev1.Pod, kind, reason, text string, generation int64, failure string) {
	summary := resizeSummary{Generation: generation, Error: failure}
	for i := range p.Spec.InitContainers {
		summary.InitContainers = append(summary.InitContainers, containerSummary{p.Spec.InitContainers[i].Name, p.Spec.InitContainers[i].Resources})
	}
	for i := range p.Spec.Containers {
		summary.Containers = append(summary.Containers, containerSummary{p.Spec.Containers[i].Name, p.Spec.Containers[i].Resources})
	}
	if raw, err := json.Marshal(summary); err == nil {
		text = fmt.Sprintf("%s: %s", text, raw)
	}
	w.a.event(w.cur, "", kind, reason, text)
}
