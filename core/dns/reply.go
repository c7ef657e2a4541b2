package dns

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Where answers come from, as metrics name it.
const (
	fromCluster = "cluster"
	fromForward = "forward"
	fromMemory  = "cache"
	fromNobody  = "none"
)

// reply makes the whole answer to a message that came over a protocol from an address; nil where none is to be given.
func (s *Server) reply(protocol string, from netip.Addr, q *dns.Msg) (m *dns.Msg, source string) {
	m = new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	opt := q.IsEdns0()
	switch {
	case len(q.Question) != 1:
		m.Rcode = dns.RcodeFormatError
		return m, fromNobody
	case opt != nil && opt.Version() != 0: // RFC 6891, section 6.1.3
		m.SetEdns0(safeSize, opt.Do())
		m.Rcode = dns.RcodeBadVers
		return m, fromNobody
	case !s.mayAsk(from), q.Question[0].Qclass != dns.ClassINET, transfers(q.Question[0].Qtype):
		m.Rcode = dns.RcodeRefused
		return m, fromNobody
	}
	source = s.fill(protocol, m, opt)
	shuffle(m.Answer)
	shuffle(m.Extra)
	size := dns.MaxMsgSize
	if protocol == "udp" {
		size = dns.MinMsgSize
	}
	if opt != nil {
		m.SetEdns0(safeSize, opt.Do())
		if protocol == "udp" {
			size = min(safeSize, max(size, int(opt.UDPSize())))
		}
	}
	m.Truncate(size) // which compresses what would not fit otherwise
	return m, source
}

func transfers(qtype uint16) bool { return qtype == dns.TypeAXFR || qtype == dns.TypeIXFR }

// fill answers a question that is to be answered.
func (s *Server) fill(protocol string, m *dns.Msg, opt *dns.OPT) (source string) {
	name, qtype := m.Question[0].Name, m.Question[0].Qtype
	a := s.index.Answer(name, qtype)
	if a.Ours && a.Elsewhere == "" {
		m.Authoritative = true
		m.Rcode, m.Answer, m.Extra, m.Ns = a.Rcode, a.Records, a.Extra, a.Authority
		return fromCluster
	}
	if !a.Ours && s.forward.caught(name, qtype) {
		m.Rcode = dns.RcodeNameError
		return fromNobody
	}
	if !a.Ours && !m.RecursionDesired {
		m.Rcode = dns.RcodeRefused
		return fromNobody
	}
	asked := name
	if a.Ours {
		asked = a.Elsewhere
	}
	got, remembered, err := s.forward.ask(context.Background(), key{
		name: strings.ToLower(asked), qtype: qtype, do: opt != nil && opt.Do(), cd: m.CheckingDisabled, protocol: protocol,
	})
	source = fromForward
	if remembered {
		source = fromMemory
	}
	switch {
	case err != nil:
		m.Rcode = dns.RcodeRefused
	case a.Ours && got.Rcode == dns.RcodeServerFailure: // not to be known now; the link alone would say that there is no address
		m.Rcode = dns.RcodeServerFailure
	case a.Ours:
		m.Authoritative = true
		m.Answer = append(a.Records, got.Answer...)
		m.Truncated = got.Truncated
	default:
		m.Rcode, m.Truncated, m.AuthenticatedData = got.Rcode, got.Truncated, got.AuthenticatedData
		m.Answer, m.Ns, m.Extra = got.Answer, got.Ns, forClient(got.Extra)
	}
	return source
}

// forClient drops what two servers have said to each other only.
func forClient(in []dns.RR) []dns.RR {
	out := in[:0]
	for _, rr := range in {
		if t := rr.Header().Rrtype; t != dns.TypeOPT && t != dns.TypeTSIG && t != dns.TypeSIG {
			out = append(out, rr)
		}
	}
	return out
}

// shuffle spreads clients that take the first record. Links stay before what they lead to.
func shuffle(all []dns.RR) {
	first := 0
	for first < len(all) && !spreads(all[first]) {
		first++
	}
	last := first
	for last < len(all) && spreads(all[last]) {
		last++
	}
	if part := all[first:last]; len(part) > 1 {
		rand.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
}

func spreads(rr dns.RR) bool {
	t := rr.Header().Rrtype
	return t == dns.TypeA || t == dns.TypeAAAA || t == dns.TypeSRV
}
