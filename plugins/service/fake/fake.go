// Package fake is a service plugin that remembers what it was told. Hollow nodes and tests run on it.
package fake

import (
	"context"
	"slices"
	"sync"

	"github.com/gantryio/gantry/interfaces/service"
)

// Config is empty: there is nothing to choose.
type Config struct{}

// Proxy is the fake. It is safe for concurrent use.
type Proxy struct {
	mu       sync.Mutex
	last     service.Snapshot
	syncs    int
	failures []error
	changed  chan struct{}
	kept     []service.Affinity
}

var (
	_ service.Proxy  = (*Proxy)(nil)
	_ service.Affine = (*Proxy)(nil)
)

// Open returns a proxy that was told nothing.
func Open(Config) (*Proxy, error) { return &Proxy{changed: make(chan struct{})}, nil }

// Sync implements service.Proxy.
func (p *Proxy) Sync(ctx context.Context, s service.Snapshot) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(p.failures) > 0 {
		err := p.failures[0]
		p.failures = p.failures[1:]
		return err
	}
	p.last, p.syncs = s, p.syncs+1
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

// Affinities implements service.Affine: no client ever connects, so it knows those that it was given.
func (p *Proxy) Affinities(context.Context) ([]service.Affinity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(slices.Clip(p.last.Affinities), p.kept...), nil
}

// Keep makes it know clients.
func (p *Proxy) Keep(clients ...service.Affinity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = append(p.kept, clients...)
}

// Fail lets the next Sync fail with err; several are queued.
func (p *Proxy) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = append(p.failures, err)
}

// Dump returns the last snapshot, how many there were, and a channel that is closed at the next one.
func (p *Proxy) Dump() (service.Snapshot, int, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, p.syncs, p.changed
}
