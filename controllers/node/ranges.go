package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

var errNoRange = errors.New("all ranges of the cluster's pod range are taken")

// ranges knows which part of the cluster's pod range each node has. It reads the nodes once and is kept
// by events from then on; a range is given again only after its node was seen deleted.
type ranges struct {
	mu     sync.Mutex
	byNode map[string]netip.Prefix
	taken  map[netip.Prefix]string
	next   netip.Prefix // where the search begins
}

func (r *ranges) init() {
	if r.byNode == nil {
		r.byNode, r.taken = map[string]netip.Prefix{}, map[netip.Prefix]string{}
	}
}

// assign returns the node's range, a new one when it has none yet. list is called once in a lifetime.
func (r *ranges) assign(node string, cluster netip.Prefix, bits int, list func() ([]corev1.Node, error)) (netip.Prefix, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byNode == nil {
		nodes, err := list()
		if err != nil {
			return netip.Prefix{}, err
		}
		r.init()
		for i := range nodes {
			r.take(cluster, &nodes[i])
		}
	}
	if have, ok := r.byNode[node]; ok {
		return have, nil // written before, but the write failed or is not seen yet
	}
	if bits == 0 {
		if bits = 24; cluster.Addr().Is6() {
			bits = 64
		}
	}
	got, err := r.search(cluster.Masked(), bits)
	if err != nil {
		return netip.Prefix{}, err
	}
	r.byNode[node], r.taken[got] = got, node
	return got, nil
}

func (r *ranges) search(cluster netip.Prefix, bits int) (netip.Prefix, error) {
	if bits < cluster.Bits() || bits > cluster.Addr().BitLen() {
		return netip.Prefix{}, fmt.Errorf("cut %s into /%d: %w", cluster, bits, errNoRange)
	}
	first := netip.PrefixFrom(cluster.Addr(), bits)
	from := first
	if r.next.IsValid() && r.next.Bits() == bits && cluster.Contains(r.next.Addr()) {
		from = r.next
	}
	for p := from; ; {
		following := after(p)
		if !following.IsValid() || !cluster.Contains(following.Addr()) {
			following = first
		}
		if !r.overlaps(p) {
			r.next = following
			return p, nil
		}
		if p = following; p == from {
			return netip.Prefix{}, errNoRange
		}
	}
}

// overlaps looks for the range itself first; ranges of another size come from another configuration.
func (r *ranges) overlaps(p netip.Prefix) bool {
	if _, ok := r.taken[p]; ok {
		return true
	}
	for have := range r.taken {
		if have.Bits() != p.Bits() && have.Overlaps(p) {
			return true
		}
	}
	return false
}

// after is the range that follows p, invalid at the end of all addresses.
func after(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4() {
		b := a.As4()
		n := uint64(binary.BigEndian.Uint32(b[:])) + 1<<(32-p.Bits())
		if n > 1<<32-1 {
			return netip.Prefix{}
		}
		binary.BigEndian.PutUint32(b[:], uint32(n))
		return netip.PrefixFrom(netip.AddrFrom4(b), p.Bits())
	}
	b := p.Addr().As16()
	for i, carry := (p.Bits()-1)/8, uint16(1)<<(7-(p.Bits()-1)%8); i >= 0 && carry > 0; i-- {
		sum := uint16(b[i]) + carry
		b[i], carry = byte(sum), sum>>8
		if i == 0 && carry > 0 {
			return netip.Prefix{}
		}
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), p.Bits())
}

// note remembers the range that a node has.
func (r *ranges) note(cluster netip.Prefix, node *corev1.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byNode != nil {
		r.take(cluster, node)
	}
}

func (r *ranges) take(cluster netip.Prefix, node *corev1.Node) {
	for _, text := range append([]string{node.Spec.PodCIDR}, node.Spec.PodCIDRs...) {
		p, err := netip.ParsePrefix(text)
		if err != nil || !cluster.Overlaps(p) {
			continue
		}
		p = p.Masked()
		if had, ok := r.byNode[node.Name]; ok && had != p {
			delete(r.taken, had)
		}
		r.byNode[node.Name], r.taken[p] = p, node.Name
	}
}

// release frees the range of a node that was deleted.
func (r *ranges) release(node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.byNode[node]; ok {
		delete(r.byNode, node)
		delete(r.taken, p)
	}
}
