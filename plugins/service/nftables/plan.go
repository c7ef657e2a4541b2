package nftables

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/gantryio/gantry/interfaces/service"
)

// ruleset is the whole wanted content of one table.
type ruleset struct {
	family family
	name   string
	chains []*chain
	maps   map[string]map[string]string // map → key → chain
	sets   map[string]uint32            // affinity set → seconds
	// origins are what the affinity sets are about, clients what is put into those that are made.
	origins map[string]service.Affinity
	clients map[string][]nftables.SetElement
}

// chain is one chain. The name of a chain without hook contains a digest of its rules: another content is
// another chain, so that a change never shows half.
type chain struct {
	name  string
	hook  *hook
	rules []rule
}

type hook struct {
	kind     nftables.ChainType
	num      *nftables.ChainHook
	priority int32
}

const (
	vips      = "vips"               // address . protocol . port
	nodePorts = "node-ports"         // protocol . port
	noVips    = "refused-vips"       // as vips, without endpoints
	noPorts   = "refused-node-ports" // as node-ports, without endpoints
)

func (r *ruleset) empty() bool {
	return len(r.maps[vips])+len(r.maps[nodePorts])+len(r.maps[noVips])+len(r.maps[noPorts]) == 0
}

func (r *ruleset) table() *nftables.Table {
	return &nftables.Table{Name: r.name, Family: r.family.table}
}

// plan says which rules route a snapshot.
func plan(f family, c Config, s service.Snapshot) *ruleset {
	r := &ruleset{
		family: f, name: c.Table, sets: map[string]uint32{}, origins: map[string]service.Affinity{}, clients: map[string][]nftables.SetElement{},
		maps: map[string]map[string]string{vips: {}, nodePorts: {}, noVips: {}, noPorts: {}},
	}
	b := builder{ruleset: r, pods: of(f, s.PodCIDRs, netip.Prefix.Addr), seen: map[string]bool{}, kept: byOrigin(f, s.Affinities)}
	b.base(c, of(f, s.NodeAddresses, func(a netip.Addr) netip.Addr { return a }))
	for _, svc := range s.Services {
		for _, port := range svc.Ports {
			b.port(svc, port)
		}
	}
	slices.SortStableFunc(r.chains, func(a, b *chain) int { return cmp.Compare(rank(a.name), rank(b.name)) })
	return r
}

// of keeps what belongs to a family.
func of[T any](f family, all []T, addr func(T) netip.Addr) []T {
	var out []T
	for _, x := range all {
		if f.has(addr(x)) {
			out = append(out, x)
		}
	}
	return out
}

// builder collects the chains of a ruleset.
type builder struct {
	*ruleset
	pods []netip.Prefix
	seen map[string]bool
	kept map[service.Affinity][]nftables.SetElement
	// masquerade is the chain that marks what does not come from a pod, "" when pod ranges are unknown.
	masquerade string
	refuse     string
}

// add adds a chain named after its content, once.
func (b *builder) add(kind, subject string, rules ...rule) string {
	text := []string{subject}
	for _, r := range rules {
		text = append(text, r.text)
	}
	sum := sha256.Sum256([]byte(strings.Join(text, "\n")))
	name := kind + "-" + hex.EncodeToString(sum[:10])
	if !b.seen[name] {
		b.seen[name] = true
		b.chains = append(b.chains, &chain{name: name, rules: rules})
	}
	return name
}

// rank orders kinds of chains such that a chain refers only to chains of a higher rank.
func rank(name string) int {
	kind, _, _ := strings.Cut(name, "-")
	return slices.Index([]string{"ext", "svc", "ep", "ports", "masq", "refuse"}, kind)
}

// base adds the chains with hooks and what they need.
func (b *builder) base(c Config, nodes []netip.Addr) {
	f := b.family
	b.refuse = b.add("refuse", "", f.refuseTCP(), f.refuseOther())
	if len(b.pods) > 0 {
		var rules []rule
		for _, p := range b.pods {
			rules = append(rules, f.from(p, "return"))
		}
		b.masquerade = b.add("masq", "", append(rules, markMasquerade())...)
	}
	ports, refused := []rule{f.portMap(nodePorts)}, []rule{f.portMap(noPorts)}
	if len(nodes) > 0 {
		ports, refused = nil, nil
		for _, n := range append(nodes, f.loopback) {
			ports, refused = append(ports, f.portMapAt(n, nodePorts)), append(refused, f.portMapAt(n, noPorts))
		}
	}
	toPorts, toRefused := f.toLocal(b.add("ports", "", ports...)), f.toLocal(b.add("ports", "refused", refused...))
	nat := []rule{f.addrMap(vips), toPorts}
	// Only a connection that begins can go to a service, and it alone costs the look at the maps.
	no := []rule{established(), f.addrMap(noVips), toRefused}
	post := []rule{masqueradeMarked()}
	if c.EgressMasquerade && len(b.pods) > 0 {
		for _, p := range b.pods {
			post = append(post, f.masqueradeLeaving(p, b.pods))
		}
	}
	b.chains = append(b.chains,
		&chain{name: "prerouting", hook: &hook{nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -100}, rules: nat},
		&chain{name: "output", hook: &hook{nftables.ChainTypeNAT, nftables.ChainHookOutput, -100}, rules: nat},
		&chain{name: "postrouting", hook: &hook{nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 100}, rules: post},
		// After the translation, what still goes to a service has no endpoint.
		&chain{name: "refused-in", hook: &hook{nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -90}, rules: no},
		&chain{name: "refused-out", hook: &hook{nftables.ChainTypeFilter, nftables.ChainHookOutput, -90}, rules: no},
	)
	if f.loopbackRange.IsValid() {
		b.chains = append(b.chains, &chain{
			name: "martians", hook: &hook{nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -300},
			rules: []rule{f.dropMartians()},
		})
	}
}

// port adds the chains and map entries of one port of a service.
func (b *builder) port(s service.Service, p service.Port) {
	protocol, ok := protocols[p.Protocol]
	if !ok {
		return
	}
	f := b.family
	cluster, external := of(f, s.ClusterIPs, self), of(f, s.ExternalIPs, self)
	nodePort := p.NodePort
	subject := fmt.Sprintf("%s/%s:%s/%s", s.Namespace, s.Name, p.Name, p.Protocol)
	endpoints := of(f, p.Endpoints, func(e service.Endpoint) netip.Addr { return e.Address })
	if len(cluster) == 0 && len(endpoints) == 0 {
		return // The service is not of this family.
	}
	if len(endpoints) == 0 {
		for _, ip := range append(cluster, external...) {
			b.maps[noVips][f.addrKey(ip, protocol, p.Port)] = b.refuse
		}
		if nodePort != 0 {
			b.maps[noPorts][portKey(protocol, nodePort)] = b.refuse
		}
		return
	}
	svc := b.service(subject, s, p, endpoints)
	for _, ip := range cluster {
		b.maps[vips][f.addrKey(ip, protocol, p.Port)] = svc
	}
	if len(external) == 0 && nodePort == 0 {
		return
	}
	ext := b.external(subject, svc, s, p, endpoints)
	for _, ip := range external {
		b.maps[vips][f.addrKey(ip, protocol, p.Port)] = ext
	}
	if nodePort != 0 {
		b.maps[nodePorts][portKey(protocol, nodePort)] = ext
	}
}

func self(a netip.Addr) netip.Addr { return a }

// service is the chain for traffic from within the cluster.
func (b *builder) service(subject string, s service.Service, p service.Port, endpoints []service.Endpoint) string {
	if s.InternalLocal {
		endpoints = local(endpoints)
	}
	var rules []rule
	if b.masquerade != "" {
		rules = append(rules, jump(b.masquerade))
	}
	return b.add("svc", subject, append(rules, b.balance(subject, s, p, endpoints)...)...)
}

// external is the chain for traffic from outside.
func (b *builder) external(subject, svc string, s service.Service, port service.Port, endpoints []service.Endpoint) string {
	if !s.ExternalLocal {
		return b.add("ext", subject, markMasquerade(), goTo(svc))
	}
	var rules []rule
	for _, p := range b.pods {
		rules = append(rules, b.family.from(p, svc)) // Pods are inside, whatever address they use.
	}
	rules = append(rules, b.family.fromLocal(svc))
	return b.add("ext", subject, append(rules, b.balance(subject, s, port, local(endpoints))...)...)
}

func local(all []service.Endpoint) []service.Endpoint {
	return slices.DeleteFunc(slices.Clone(all), func(e service.Endpoint) bool { return !e.Local })
}

// balance chooses an endpoint: the one that the client had, if the service wants that, else any.
func (b *builder) balance(subject string, s service.Service, p service.Port, endpoints []service.Endpoint) []rule {
	if len(endpoints) == 0 {
		return []rule{drop()}
	}
	var rules []rule
	var targets []string
	for _, e := range endpoints {
		set := ""
		if s.AffinitySeconds > 0 {
			sum := sha256.Sum256(fmt.Appendf(nil, "%s %s:%d %d", subject, e.Address, e.Port, s.AffinitySeconds))
			set = "aff-" + hex.EncodeToString(sum[:10])
			b.sets[set], b.origins[set] = s.AffinitySeconds, origin(s, p, e)
			b.clients[set] = b.kept[b.origins[set]]
		}
		target := b.add("ep", subject, b.family.endpoint(e, set, s.AffinitySeconds)...)
		if set != "" {
			rules = append(rules, b.family.fromSet(set, target))
		}
		targets = append(targets, target)
	}
	return append(rules, random(targets))
}
