package daemonset

import (
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	firstHold = time.Second
	lastHold  = 15 * time.Minute
)

// backoff delays the replacement of pods that fail again and again on one node.
type backoff struct {
	mu    sync.Mutex
	nodes map[string]*hold // by owner and node
}

type hold struct {
	period time.Duration
	since  time.Time
}

func holdKey(owner types.UID, node string) string { return string(owner) + "/" + node }

// left is how long the failed pod still stays.
func (b *backoff) left(owner types.UID, node string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.nodes[holdKey(owner, node)]
	if h == nil {
		return 0
	}
	return max(0, h.since.Add(h.period).Sub(now))
}

// failed notes that a failed pod was removed: the next one stays twice as long, unless it ran for twice
// the longest time.
func (b *backoff) failed(owner types.UID, node string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nodes == nil {
		b.nodes = map[string]*hold{}
	}
	key := holdKey(owner, node)
	h := b.nodes[key]
	if h == nil || now.Sub(h.since) > 2*lastHold {
		b.nodes[key] = &hold{firstHold, now}
		return
	}
	h.period, h.since = min(2*h.period, lastHold), now
}

func (b *backoff) forget(owner types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.nodes {
		if strings.HasPrefix(key, string(owner)+"/") {
			delete(b.nodes, key)
		}
	}
}
