package agent

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Span is a stage of a pod's start: an instant when both times are equal.
type Span struct {
	Stage string    `json:"stage"`
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
}

// The stages that are instants: when the agent learned of the pod, and when it was first ready.
const (
	StageSeen  = "seen"
	StageReady = "ready"
)

// The bounds of what is remembered: pods, the latest ones, and stages of each.
const (
	maxJourneys = 1024
	maxSpans    = 64
)

// journeys remembers how the latest pods started, until each was ready.
type journeys struct {
	mu    sync.Mutex
	by    map[types.UID]*journey
	order []types.UID
}

type journey struct {
	spans []Span
	ready bool
}

func (j *journeys) add(uid types.UID, s Span) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.by == nil {
		j.by = map[types.UID]*journey{}
	}
	have := j.by[uid]
	if have == nil {
		if len(j.order) >= maxJourneys {
			delete(j.by, j.order[0])
			j.order = j.order[1:]
		}
		have = &journey{}
		j.by[uid] = have
		j.order = append(j.order, uid)
	}
	if have.ready || len(have.spans) >= maxSpans {
		return
	}
	have.spans = append(have.spans, s)
	have.ready = s.Stage == StageReady
}

// Note adds a stage that somebody else has seen, such as the attachment to the network.
func (a *Agent) Note(uid types.UID, s Span) { a.journeys.add(uid, s) }

// Journey tells how a pod of this node started, in the order in which the stages ended. It is empty for a
// pod that has been forgotten.
func (a *Agent) Journey(uid types.UID) []Span {
	a.journeys.mu.Lock()
	defer a.journeys.mu.Unlock()
	if have := a.journeys.by[uid]; have != nil {
		return append([]Span(nil), have.spans...)
	}
	return nil
}

// timed makes an action a stage of the pod's journey.
func (w *worker) timed(stage string, do func(context.Context) func()) func(context.Context) func() {
	return func(ctx context.Context) func() {
		began := w.a.Clock.Now()
		then := do(ctx)
		w.a.journeys.add(w.uid, Span{stage, began, w.a.Clock.Now()})
		return then
	}
}

// noteReady ends the journey with the first status that says ready.
func (w *worker) noteReady(s *corev1.PodStatus, now time.Time) {
	if w.arrived {
		return
	}
	for i := range s.Conditions {
		if s.Conditions[i].Type == corev1.PodReady && s.Conditions[i].Status == corev1.ConditionTrue {
			w.arrived = true
			w.a.journeys.add(w.uid, Span{StageReady, now, now})
		}
	}
}
