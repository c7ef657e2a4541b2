// Package fake is a network plugin that hands out addresses in memory and touches no interface. Hollow
// nodes and tests of the host run on it.
package fake

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Config shapes the fake.
type Config struct {
	// PodCIDR is used for sandboxes that bring no range; 10.244.0.0/16 when empty.
	PodCIDR string
}

// Network is the fake. It is safe for concurrent use.
type Network struct {
	fallback netip.Prefix

	mu       sync.Mutex
	attached map[string]network.Attachment
	taken    map[netip.Addr]string
	failures []error
}

var _ network.Network = (*Network)(nil)

// Open returns a network without sandboxes.
func Open(c Config) (*Network, error) {
	if c.PodCIDR == "" {
		c.PodCIDR = "10.244.0.0/16"
	}
	p, err := netip.ParsePrefix(c.PodCIDR)
	if err != nil {
		return nil, fmt.Errorf("open fake network: %w: %w", err, plugin.ErrInvalid)
	}
	return &Network{fallback: p, attached: map[string]network.Attachment{}, taken: map[netip.Addr]string{}}, nil
}

// Fail lets the next call fail with err; several are queued.
func (n *Network) Fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failures = append(n.failures, err)
}

// Dump returns what is attached now.
func (n *Network) Dump() map[string]network.Attachment {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string]network.Attachment{}
	for id, a := range n.attached {
		out[id] = a
	}
	return out
}

func (n *Network) failure() error {
	if len(n.failures) == 0 {
		return nil
	}
	err := n.failures[0]
	n.failures = n.failures[1:]
	return err
}

// Attach implements network.Network.
func (n *Network) Attach(ctx context.Context, s network.Sandbox) (network.Attachment, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.failure(); err != nil {
		return network.Attachment{}, err
	}
	if err := ctx.Err(); err != nil {
		return network.Attachment{}, err
	}
	if a, ok := n.attached[s.ID]; ok {
		return a, nil
	}
	ranges := s.PodCIDRs
	if len(ranges) == 0 {
		ranges = []netip.Prefix{n.fallback}
	}
	a := network.Attachment{Interfaces: []network.Interface{{
		Name: "eth0", MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", len(n.taken)>>8&0xff, len(n.taken)&0xff), NetNS: s.NetNS,
	}}}
	for _, r := range ranges {
		gateway := r.Masked().Addr().Next()
		ip, ok := n.free(r, gateway.Next())
		if !ok {
			return network.Attachment{}, fmt.Errorf("attach %s: no address left in %s: %w", s.ID, r, plugin.ErrExhausted)
		}
		a.Addresses = append(a.Addresses, network.Address{Prefix: netip.PrefixFrom(ip, r.Bits()), Gateway: gateway})
	}
	for _, d := range a.Addresses {
		n.taken[d.Prefix.Addr()] = s.ID
	}
	n.attached[s.ID] = a
	return a, nil
}

func (n *Network) free(r netip.Prefix, from netip.Addr) (netip.Addr, bool) {
	for ip := from; r.Contains(ip); ip = ip.Next() {
		if _, taken := n.taken[ip]; !taken {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// Detach implements network.Network.
func (n *Network) Detach(_ context.Context, s network.Sandbox) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.failure(); err != nil {
		return err
	}
	for _, d := range n.attached[s.ID].Addresses {
		delete(n.taken, d.Prefix.Addr())
	}
	delete(n.attached, s.ID)
	return nil
}

// Check implements network.Network.
func (n *Network) Check(_ context.Context, s network.Sandbox) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.attached[s.ID]; !ok {
		return fmt.Errorf("check %s: %w", s.ID, plugin.ErrNotFound)
	}
	return nil
}

// Status implements network.Network.
func (n *Network) Status(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failure()
}

// List implements network.Network.
func (n *Network) List(context.Context) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ids []string
	for id := range n.attached {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, n.failure()
}
