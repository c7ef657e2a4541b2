// Package usage measures what nodes and pods use at this time, by asking the agents. Nobody is asked before somebody wants to
// know: a cluster without autoscalers and without `kubectl top` pays nothing.
package usage

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

const (
	// fresh is how long figures are given again.
	fresh = 10 * time.Second
	// oldest is the age at which a sample says nothing about the present any more. Then two are taken, a short time apart.
	oldest = time.Minute
	// deadline is how long an agent may take; the figures of its node are left out then.
	deadline = 5 * time.Second
	// forgotten is when the samples of a node that nobody asks about are dropped.
	forgotten = 10 * time.Minute
)

// Meter asks agents. It is safe for concurrent use; its zero value with the exported fields set works.
type Meter struct {
	Agents http.RoundTripper
	// Address returns the host and port of a node's agent.
	Address func(node *corev1.Node) (string, error)
	// Now and Sleep are the clock; the real one when nil.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error

	mu     sync.Mutex
	gauges map[string]*gauge // by the node's UID
}

// gauge is what is known of a node. Who holds its turn may read and change it.
type gauge struct {
	turn    chan struct{}
	last    *sample
	figures *Figures

	asked time.Time // under the meter's mutex
}

// Read returns the figures of those of the nodes whose agents answer in time, by the nodes' names.
func (m *Meter) Read(ctx context.Context, nodes []*corev1.Node) map[string]*Figures {
	var mu sync.Mutex
	out := map[string]*Figures{}
	var g sync.WaitGroup
	for _, n := range nodes {
		g.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			figures, err := m.read(ctx, n)
			if err != nil {
				slog.Debug("no figures of a node", "node", n.Name, "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[n.Name] = figures
		})
	}
	g.Wait()
	return out
}

func (m *Meter) read(ctx context.Context, n *corev1.Node) (*Figures, error) {
	g := m.gauge(string(n.UID))
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := m.now()
	if g.figures != nil && now.Sub(g.last.at) < fresh {
		return g.figures, nil
	}
	if g.last == nil || now.Sub(g.last.at) > oldest {
		first, err := m.ask(ctx, n)
		if err != nil {
			return nil, err
		}
		g.last, g.figures = first, nil
	}
	if wait := shortest - m.now().Sub(g.last.at); wait > 0 {
		if err := m.sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
	next, err := m.ask(ctx, n)
	if err != nil {
		return nil, err
	}
	g.last, g.figures = next, rates(g.last, next)
	return g.figures, nil
}

func (m *Meter) gauge(uid string) *gauge {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for other, g := range m.gauges {
		if now.Sub(g.asked) > forgotten {
			delete(m.gauges, other)
		}
	}
	if m.gauges == nil {
		m.gauges = map[string]*gauge{}
	}
	g := m.gauges[uid]
	if g == nil {
		g = &gauge{turn: make(chan struct{}, 1)}
		m.gauges[uid] = g
	}
	g.asked = now
	return g
}

// ask reads an agent's summary.
func (m *Meter) ask(ctx context.Context, n *corev1.Node) (*sample, error) {
	host, err := m.Address(n)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/stats/summary", nil)
	if err != nil {
		return nil, err
	}
	resp, err := m.Agents.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask the agent of %s: %w", n.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the agent of %s: %s", n.Name, resp.Status)
	}
	var sum statsv1alpha1.Summary
	if err := json.NewDecoder(resp.Body).Decode(&sum); err != nil {
		return nil, fmt.Errorf("read the summary of %s: %w", n.Name, err)
	}
	return newSample(&sum, m.now()), nil
}

func (m *Meter) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

func (m *Meter) sleep(ctx context.Context, d time.Duration) error {
	if m.Sleep != nil {
		return m.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
