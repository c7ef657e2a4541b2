package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	// schemaVersion is that of Kubernetes' DNS-Based Service Discovery, for the record dns-version.
	schemaVersion = "1.1.0"
	schemaTTL     = 28800
	// ttl is that of all other records, CoreDNS' default: answers cost little, and what they say may change soon.
	ttl = 5
	// links is how many external names may lead to each other.
	links = 8
)

// Answer is what the index knows of a question.
type Answer struct {
	// Ours is false for names that others know.
	Ours    bool
	Rcode   int
	Records []dns.RR
	Extra   []dns.RR
	// Authority says in negative answers for how long they hold (RFC 2308).
	Authority []dns.RR
	// Elsewhere is a name outside the zone that Records lead to, and whose records belong behind them.
	Elsewhere string
}

// Answer answers a question of the class IN, whose name may be in any case. It does what CoreDNS does with `pods insecure`
// and `fallthrough in-addr.arpa ip6.arpa`, to the point of which names do not exist (NXDOMAIN) and which only have no record of the type.
func (x *Index) Answer(name string, qtype uint16) Answer {
	lower := strings.ToLower(name)
	x.mu.RLock()
	defer x.mu.RUnlock()
	if lower == x.zone {
		return x.finish(x.apex(name, qtype))
	}
	if rest, in := strings.CutSuffix(lower, x.tail); in {
		return x.finish(x.below(name, rest, qtype))
	}
	if qtype == dns.TypePTR {
		if ip, ok := reversed(lower); ok {
			if found := x.pointers(name, ip); len(found) > 0 {
				return Answer{Ours: true, Records: found}
			}
		}
	}
	return Answer{}
}

func (x *Index) finish(records, extra []dns.RR, elsewhere string, exists bool) Answer {
	a := Answer{Ours: true, Records: records, Extra: extra, Elsewhere: elsewhere}
	if !exists {
		a.Rcode = dns.RcodeNameError
	}
	if len(records) == 0 {
		a.Authority = []dns.RR{x.authority()}
	}
	return a
}

func (x *Index) authority() *dns.SOA {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: x.zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  "ns.dns" + x.tail, Mbox: "hostmaster" + x.tail, Serial: x.serial, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl,
	}
}

// apex answers for the zone itself.
func (x *Index) apex(name string, qtype uint16) (records, extra []dns.RR, elsewhere string, exists bool) {
	switch qtype {
	case dns.TypeSOA:
		return []dns.RR{x.authority()}, nil, "", true
	case dns.TypeNS:
		server, ips := "ns.dns"+x.tail, x.servers
		if s := x.services[ServiceName+"."+ServiceNamespace]; s != nil && s.kind == clusterIP {
			server, ips = s.domain, s.ips
		}
		records = append(records, &dns.NS{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: ttl}, Ns: server})
		for _, ip := range ips {
			extra = append(extra, address(server, ip))
		}
	}
	return records, extra, "", true
}

// below answers for a name in the zone, of which rest is what stands before it, in lower case.
func (x *Index) below(name, rest string, qtype uint16) (records, extra []dns.RR, elsewhere string, exists bool) {
	switch qtype {
	case dns.TypeTXT:
		if rest == "dns-version" {
			records = append(records, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: schemaTTL}, Txt: []string{schemaVersion}})
		}
		return records, nil, "", true
	case dns.TypeSOA:
		return nil, nil, "", true
	}
	if rest == "ns.dns" {
		for _, ip := range x.servers {
			records = appendAddress(records, name, qtype, ip)
		}
		return records, nil, "", true
	}
	p, ok := parse(rest)
	if !ok {
		return nil, nil, "", false
	}
	if p.namespace != "" {
		if _, ok := x.namespaces[p.namespace]; !ok {
			return nil, nil, "", false
		}
	}
	if p.service == "" {
		return nil, nil, "", true
	}
	if p.tree == "pod" {
		ip, ok := podIP(p.service)
		if ok {
			records = appendAddress(records, name, qtype, ip)
		}
		return records, nil, "", ok
	}
	return x.ofService(name, p, qtype, 0)
}

// ofService answers for a service or something of it; depth is how many external names have led to it.
func (x *Index) ofService(name string, p path, qtype uint16, depth int) (records, extra []dns.RR, elsewhere string, exists bool) {
	s := x.services[p.key]
	switch {
	case s == nil || s.kind == absent:
		return nil, nil, "", false
	case s.kind == external:
		if p.host != "" || s.target == "" {
			return nil, nil, "", false
		}
		records, elsewhere = x.follow(name, s, qtype, depth)
		return records, nil, elsewhere, true
	case qtype == dns.TypeSRV:
		records, extra, exists = s.places(name, p)
		return records, extra, "", exists
	}
	records, exists = s.addresses(name, p, qtype)
	return records, nil, "", exists
}

// addresses are the records of the type A or AAAA, and whether the name exists.
func (s *service) addresses(name string, p path, qtype uint16) (records []dns.RR, exists bool) {
	if s.kind == clusterIP && p.host == "" {
		if !anyPort(s.ports, p, false) {
			return nil, false
		}
		for _, ip := range s.ips {
			records = appendAddress(records, name, qtype, ip)
		}
		return records, true
	}
	var seen set
	for _, sl := range s.slices {
		if !anyPort(sl.ports, p, true) {
			continue
		}
		for i := range sl.endpoints {
			e := &sl.endpoints[i]
			if p.host != "" && p.host != e.host {
				continue
			}
			exists = true
			if wanted(qtype, e.ip) && seen.add(e.ip) { // pods on the host network share addresses
				records = appendAddress(records, name, qtype, e.ip)
			}
		}
	}
	return records, exists
}

// places are the records of the type SRV with the addresses of what they name. Their weights are CoreDNS'.
func (s *service) places(name string, p path) (records, extra []dns.RR, exists bool) {
	type place struct {
		target string
		ip     netip.Addr
		port   uint16
	}
	var all []place
	if s.kind == clusterIP && p.host == "" {
		for _, one := range s.ports {
			if !one.fits(p) {
				continue
			}
			exists = true
			for _, ip := range s.ips {
				all = append(all, place{s.domain, ip, one.number})
			}
		}
	} else {
		for _, sl := range s.slices {
			for i := range sl.endpoints {
				e := &sl.endpoints[i]
				if p.host != "" && p.host != e.host {
					continue
				}
				exists = exists || anyPort(sl.ports, p, true)
				for _, one := range sl.ports {
					if one.fits(p) {
						all = append(all, place{e.host + "." + s.domain, e.ip, one.number})
					}
				}
			}
		}
	}
	weight := uint16(max(1, 100/max(1, len(all))))
	seen := map[place]struct{}{}
	fresh := func(one place) bool {
		_, have := seen[one]
		seen[one] = struct{}{}
		return !have
	}
	for _, one := range all {
		if fresh(place{target: one.target, port: one.port}) {
			records = append(records, &dns.SRV{
				Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: ttl},
				Weight: weight, Port: one.port, Target: one.target,
			})
		}
		if fresh(place{target: one.target, ip: one.ip}) {
			extra = append(extra, address(one.target, one.ip))
		}
	}
	return records, extra, exists
}

// follow leads an external name to its end, or to where it leaves the zone.
func (x *Index) follow(name string, s *service, qtype uint16, depth int) (records []dns.RR, elsewhere string) {
	link := &dns.CNAME{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: ttl}, Target: s.target}
	switch {
	case qtype == dns.TypeCNAME:
		return []dns.RR{link}, ""
	case qtype != dns.TypeA && qtype != dns.TypeAAAA, depth >= links, strings.EqualFold(s.target, name):
		return nil, ""
	}
	lower := strings.ToLower(s.target)
	rest, in := strings.CutSuffix(lower, x.tail)
	if !in && lower != x.zone {
		return []dns.RR{link}, s.target
	}
	p, ok := parse(rest)
	if !ok || !in {
		return nil, ""
	}
	var more []dns.RR
	if p.tree == "svc" && p.service != "" {
		more, _, elsewhere, _ = x.ofService(s.target, p, qtype, depth+1)
	} else {
		more, _, _, _ = x.below(s.target, rest, qtype)
	}
	if len(more) == 0 {
		return nil, ""
	}
	return append([]dns.RR{link}, more...), elsewhere
}

// pointers are the names of an address: that of the service that has it, or else those of all endpoints that have it.
func (x *Index) pointers(name string, ip netip.Addr) []dns.RR {
	pointer := func(target string) dns.RR {
		return &dns.PTR{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}, Ptr: target}
	}
	if s := x.clusterIPs[ip]; s != nil {
		return []dns.RR{pointer(s.domain)}
	}
	var out []dns.RR
	seen := map[string]struct{}{}
	for _, sl := range x.endpoints[ip] {
		for _, e := range sl.endpoints {
			target := e.host + "." + sl.service.domain
			if _, have := seen[target]; e.ip == ip && !have {
				seen[target] = struct{}{}
				out = append(out, pointer(target))
			}
		}
	}
	return out
}

// fits tells that the name asks for this port, or for any.
func (o *port) fits(p path) bool {
	return (p.port == "" || p.port == o.name) && (p.protocol == "" || p.protocol == o.protocol)
}

// anyPort tells that one of the ports is asked for. Endpoints may have none, services not.
func anyPort(ports []port, p path, none bool) bool {
	for i := range ports {
		if ports[i].fits(p) {
			return true
		}
	}
	return none && len(ports) == 0 && p.port == "" && p.protocol == ""
}

func wanted(qtype uint16, ip netip.Addr) bool {
	return qtype == dns.TypeA && ip.Is4() || qtype == dns.TypeAAAA && ip.Is6()
}

func appendAddress(to []dns.RR, name string, qtype uint16, ip netip.Addr) []dns.RR {
	if wanted(qtype, ip) {
		to = append(to, address(name, ip))
	}
	return to
}

func address(name string, ip netip.Addr) dns.RR {
	if ip.Is4() {
		return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: ip.AsSlice()}
	}
	return &dns.AAAA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: ttl}, AAAA: ip.AsSlice()}
}

// set is a set of addresses that is empty until it is needed.
type set map[netip.Addr]struct{}

func (s *set) add(ip netip.Addr) (fresh bool) {
	if *s == nil {
		*s = set{}
	}
	_, have := (*s)[ip]
	(*s)[ip] = struct{}{}
	return !have
}
