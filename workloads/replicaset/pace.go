package replicaset

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// pace keeps sets of thousands of pods from being counted anew at each change of one of them: a set
// rests for a time proportional to its size. Up to fifty pods it never rests.
type pace struct {
	mu   sync.Mutex
	next map[types.NamespacedName]time.Time
}

const restPerPod = 20 * time.Microsecond

func (p *pace) wait(set types.NamespacedName, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next[set].Sub(now)
}

func (p *pace) done(set types.NamespacedName, now time.Time, pods int) {
	rest := time.Duration(pods) * restPerPod
	p.mu.Lock()
	defer p.mu.Unlock()
	if rest < time.Millisecond {
		delete(p.next, set)
		return
	}
	if p.next == nil {
		p.next = map[types.NamespacedName]time.Time{}
	}
	p.next[set] = now.Add(rest)
}

func (p *pace) forget(set types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.next, set)
}
