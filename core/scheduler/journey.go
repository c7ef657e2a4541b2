package scheduler

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Journey is when a pod passed the scheduler's stations; zero times were not reached.
type Journey struct {
	Queued   time.Time `json:"queued,omitzero"`
	Decided  time.Time `json:"decided,omitzero"`
	Bound    time.Time `json:"bound,omitzero"`
	Attempts int       `json:"attempts,omitempty"`
}

// maxJourneys is how many pods' journeys are remembered, the latest ones.
const maxJourneys = 4096

// journeys remembers the latest journeys.
type journeys struct {
	mu    sync.Mutex
	by    map[types.UID]*Journey
	order []types.UID
}

func (j *journeys) decided(it *item, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.by == nil {
		j.by = map[types.UID]*Journey{}
	}
	uid := it.pod.UID
	if j.by[uid] == nil {
		if len(j.order) >= maxJourneys {
			delete(j.by, j.order[0])
			j.order = j.order[1:]
		}
		j.order = append(j.order, uid)
	}
	j.by[uid] = &Journey{Queued: it.queued, Decided: now, Attempts: it.attempts}
}

func (j *journeys) bound(uid types.UID, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if have := j.by[uid]; have != nil {
		have.Bound = now
	}
}

func (j *journeys) of(uid types.UID) (Journey, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if have := j.by[uid]; have != nil {
		return *have, true
	}
	return Journey{}, false
}
