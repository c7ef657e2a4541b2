package nftables

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"

	"github.com/gantryio/gantry/interfaces/service"
)

var _ service.Affine = (*Proxy)(nil)

// Affinities implements service.Affine: it reads the sets of the table, whose entries leave by themselves.
func (p *Proxy) Affinities(ctx context.Context) ([]service.Affinity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	conn, err := dial()
	if err != nil {
		return nil, fmt.Errorf("read affinities: %w", err)
	}
	defer func() { _ = conn.CloseLasting() }()
	var out []service.Affinity
	for _, f := range []family{v4, v6} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		table := &nftables.Table{Name: p.config.Table, Family: f.table}
		sets, err := conn.GetSets(table)
		if err != nil {
			continue // There is no such table.
		}
		for _, s := range sets {
			origin, known := p.origins[s.Name]
			if !known {
				continue
			}
			elements, err := conn.GetSetElements(s)
			if err != nil {
				return nil, fmt.Errorf("read affinities of %s/%s: %w", origin.Namespace, origin.Name, err)
			}
			for _, e := range elements {
				if client, ok := netip.AddrFromSlice(e.Key); ok {
					a := origin
					a.Client, a.Left = client, e.Expires
					out = append(out, a)
				}
			}
		}
	}
	return out, nil
}

// origin is an affinity without a client, by which those of a set are known.
func origin(s service.Service, p service.Port, e service.Endpoint) service.Affinity {
	return service.Affinity{
		Namespace: s.Namespace, Name: s.Name, Port: p.Name, Protocol: p.Protocol, Endpoint: netip.AddrPortFrom(e.Address.Unmap(), e.Port),
	}
}

// byOrigin are the clients that another proxy has kept.
func byOrigin(f family, all []service.Affinity) map[service.Affinity][]nftables.SetElement {
	out := map[service.Affinity][]nftables.SetElement{}
	for _, a := range all {
		left := max(a.Left, time.Second)
		client := a.Client.Unmap()
		a.Client, a.Left, a.Endpoint = netip.Addr{}, 0, netip.AddrPortFrom(a.Endpoint.Addr().Unmap(), a.Endpoint.Port())
		if f.has(client) {
			out[a] = append(out[a], nftables.SetElement{Key: client.AsSlice(), Timeout: left})
		}
	}
	return out
}
