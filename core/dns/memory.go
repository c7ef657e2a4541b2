package dns

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// kept is how many answers of others are remembered.
	kept = 2048
	// longest is for how many seconds they are at most, whatever they say: what CoreDNS is configured to in most clusters.
	longest = 30
	// failing is for how many seconds it is remembered that nobody could be asked.
	failing = 2
)

// key is what makes two questions to others the same.
type key struct {
	name     string // in lower case
	qtype    uint16
	do, cd   bool
	protocol string
}

// memory remembers answers of others, those that say no as well. Those that have not been asked for longest go first.
type memory struct {
	now func() time.Time

	mu    sync.Mutex
	byKey map[key]*list.Element
	used  list.List // of *remembered, the last used first
}

type remembered struct {
	key
	answer *dns.Msg
	since  time.Time
	until  time.Time
}

// get returns a copy that may be changed, with what is left of its times to live; nil when nothing is known.
func (m *memory) get(k key) *dns.Msg {
	k.protocol = ""
	m.mu.Lock()
	e := m.byKey[k]
	if e == nil {
		m.mu.Unlock()
		return nil
	}
	have, now := e.Value.(*remembered), m.now()
	if !now.Before(have.until) {
		m.remove(e)
		m.mu.Unlock()
		return nil
	}
	m.used.MoveToFront(e)
	m.mu.Unlock()
	out := have.answer.Copy()
	age := uint32(now.Sub(have.since) / time.Second)
	for _, section := range [][]dns.RR{out.Answer, out.Ns, out.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				h.Ttl = max(h.Ttl, age) - age
			}
		}
	}
	return out
}

// put remembers an answer, which must not be changed afterwards.
func (m *memory) put(k key, answer *dns.Msg) {
	seconds := lifetime(answer)
	if seconds == 0 {
		return
	}
	k.protocol = ""
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.byKey[k]; e != nil {
		m.remove(e)
	}
	if m.byKey == nil {
		m.byKey = map[key]*list.Element{}
	}
	now := m.now()
	m.byKey[k] = m.used.PushFront(&remembered{key: k, answer: answer, since: now, until: now.Add(time.Duration(seconds) * time.Second)})
	for m.used.Len() > kept {
		m.remove(m.used.Back())
	}
}

func (m *memory) remove(e *list.Element) {
	delete(m.byKey, e.Value.(*remembered).key)
	m.used.Remove(e)
}

func (m *memory) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used.Len()
}

// lifetime is for how many seconds an answer may be given again (RFC 2181, section 5.2; RFC 2308, section 5).
func lifetime(m *dns.Msg) uint32 {
	if m.Truncated {
		return 0
	}
	least := uint32(longest)
	switch m.Rcode {
	case dns.RcodeServerFailure:
		return failing
	case dns.RcodeSuccess, dns.RcodeNameError:
	default:
		return 0
	}
	if len(m.Answer) == 0 || m.Rcode == dns.RcodeNameError {
		known := false
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				least, known = min(least, soa.Minttl, soa.Hdr.Ttl), true
			}
		}
		if !known {
			return 0
		}
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				least = min(least, h.Ttl)
			}
		}
	}
	return least
}
