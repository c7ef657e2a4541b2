package service

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/service"
)

// Named is a service plugin of the node.
type Named struct {
	Name  string
	Proxy service.Proxy
	// Since is when the plugin last began to answer, which may have lost what it was given before; zero while it does not.
	Since time.Time
}

// Proxies are the node's service plugins, of which one routes.
type Proxies interface {
	// Proxies returns them, the one that is to route first.
	Proxies() []Named
	// Withdraw makes a plugin take its rules away, and leave the connections alone that another one routes now.
	Withdraw(ctx context.Context, name string) error
	// Changed returns a channel that is closed when Proxies may return something else.
	Changed() <-chan struct{}
}

const (
	// tellPatience is how long a change of proxies may wait for what the old ones know.
	tellPatience = 5 * time.Second
	// syncPatience is how long a plugin may take to route a snapshot.
	syncPatience = 2 * time.Minute
)

// handover is who routes, and who is still to take away what it made.
type handover struct {
	mu      sync.Mutex
	serving string
	since   time.Time
	// clean are those that have been told to take away what they had, with the Since that they had then.
	clean map[string]time.Time
}

// Serving is the plugin that routes now; "" as long as none has.
func (c *Controller) Serving() string {
	c.hand.mu.Lock()
	defer c.hand.mu.Unlock()
	return c.hand.serving
}

// due tells that a plugin has to be given all Services, whether they have changed or not.
func (h *handover) due(n Named) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return n.Name != h.serving || !n.Since.IsZero() && !n.Since.Equal(h.since)
}

func (h *handover) turn(n Named) (before string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, h.serving, h.since = h.serving, n.Name, n.Since
	delete(h.clean, n.Name)
	return before
}

// route gives a snapshot to the plugin that is to route, and then lets the others withdraw. As long as that one does
// not take it, the one before stays up to date.
func (c *Controller) route(ctx context.Context, all []Named, now service.Snapshot) error {
	next := all[0]
	full := now
	if c.Serving() != next.Name {
		full.Affinities = affinities(ctx, all[1:])
	}
	if err := give(ctx, next.Proxy, full); err != nil {
		before := c.Serving()
		if i := slices.IndexFunc(all, func(n Named) bool { return n.Name == before }); i > 0 {
			if err := give(ctx, all[i].Proxy, now); err != nil {
				slog.Warn("cannot sync services with the proxy before", "proxy", before, "error", err)
			}
		}
		return err
	}
	if before := c.hand.turn(next); before != next.Name {
		slog.Info("services are routed", "proxy", next.Name, "before", before)
		if c.Served != nil {
			c.Served()
		}
	}
	return nil
}

// give bounds how long a plugin may take over a snapshot, so that one that hangs is told of and asked again.
func give(ctx context.Context, to service.Proxy, s service.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	return to.Sync(ctx, s)
}

// affinities are the clients that proxies keep at endpoints. Those of a proxy that cannot tell them, or does not answer, are lost.
func affinities(ctx context.Context, all []Named) []service.Affinity {
	ctx, cancel := context.WithTimeout(ctx, tellPatience)
	defer cancel()
	var out []service.Affinity
	for _, n := range all {
		affine, ok := n.Proxy.(service.Affine)
		if !ok || n.Since.IsZero() {
			continue
		}
		more, err := affine.Affinities(ctx)
		if err != nil && !errors.Is(err, plugin.ErrUnsupported) {
			slog.Warn("cannot take over where clients go", "from", n.Name, "error", err)
		}
		out = append(out, more...)
	}
	return out
}

// withdraw lets all but the first take their rules away, once.
func (c *Controller) withdraw(ctx context.Context, all []Named) error {
	for _, n := range all[1:] {
		c.hand.mu.Lock()
		since, told := c.hand.clean[n.Name]
		c.hand.mu.Unlock()
		if told && since.Equal(n.Since) {
			continue
		}
		if err := c.Proxies.Withdraw(ctx, n.Name); err != nil {
			return err
		}
		c.hand.mu.Lock()
		if c.hand.clean == nil {
			c.hand.clean = map[string]time.Time{}
		}
		c.hand.clean[n.Name] = n.Since
		c.hand.mu.Unlock()
	}
	return nil
}
