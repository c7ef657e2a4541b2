package dns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// other is a resolver of somebody else, which counts what it is asked.
type other struct {
	address netip.AddrPort
	mu      sync.Mutex
	asked   map[string]int
	answer  func(q *dns.Msg, protocol string) *dns.Msg
}

func newOther(t *testing.T, answer func(q *dns.Msg, protocol string) *dns.Msg) *other {
	t.Helper()
	o := &other{asked: map[string]int{}, answer: answer}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	o.address = netip.MustParseAddrPort(tcp.Addr().String())
	for _, s := range []*dns.Server{{Listener: tcp, Handler: o}, {PacketConn: udp, Handler: o}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return o
}

func (o *other) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	protocol := w.RemoteAddr().Network()
	o.mu.Lock()
	o.asked[protocol+" "+q.Question[0].Name+" "+dns.TypeToString[q.Question[0].Qtype]]++
	o.mu.Unlock()
	if m := o.answer(q, protocol); m != nil {
		_ = w.WriteMsg(m)
	}
}

func (o *other) times(what string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[what]
}

// use makes resolvers on any port those of the forwarder, which a file can name on port 53 only.
func (s *Server) use(all ...netip.AddrPort) {
	u := &s.forward.upstreams
	u.mu.Lock()
	defer u.mu.Unlock()
	u.looked = time.Now().Add(time.Hour)
	u.all = nil
	for _, a := range all {
		u.all = append(u.all, &upstream{address: a})
	}
}

// world answers with one address for every name, and has none below nowhere.test.
func world(q *dns.Msg, protocol string) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	name := q.Question[0].Name
	switch {
	case strings.HasSuffix(name, "nowhere.test."):
		m.Rcode = dns.RcodeNameError
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 300}, Ns: "a.", Mbox: "b.", Minttl: 20}}
	case strings.HasPrefix(name, "big.") && protocol == "udp":
		m.Truncated = true
	case q.Question[0].Qtype == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: net.IPv4(192, 0, 2, 80)}}
	}
	m.SetEdns0(512, false)
	return m
}

func TestForward(t *testing.T) {
	s := started(t, "")
	o := newOther(t, world)
	s.use(o.address)
	for range 3 {
		m := ask(t, s, "udp", "www.EXAMPLE.com.", dns.TypeA)
		if diff := cmp.Diff([]string{"192.0.2.80"}, addresses(m)); diff != "" || m.Authoritative || m.IsEdns0() != nil || m.Question[0].Name != "www.EXAMPLE.com." {
			t.Errorf("%s\n%v", diff, m)
		}
	}
	if n := o.times("udp www.example.com. A"); n != 1 {
		t.Errorf("the resolver was asked %d times for what it has said", n)
	}
	for range 2 {
		m := ask(t, s, "udp", "x.nowhere.test.", dns.TypeA)
		if m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 {
			t.Errorf("%v", m)
		}
	}
	if n := o.times("udp x.nowhere.test. A"); n != 1 {
		t.Errorf("the resolver was asked %d times for what it does not have", n)
	}
	if m := ask(t, s, "udp", "big.example.com.", dns.TypeA); !m.Truncated || len(m.Answer) > 0 {
		t.Errorf("%v", m)
	}
	if m := ask(t, s, "tcp", "big.example.com.", dns.TypeA); m.Truncated || len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
	m := ask(t, s, "udp", "out.default.svc.cluster.local.", dns.TypeA)
	if diff := cmp.Diff([]string{"out.default.svc.cluster.local. 5 CNAME www.example.com.", "www.example.com. 300 A 192.0.2.80"}, lines(m.Answer)); diff != "" || !m.Authoritative {
		t.Error(diff)
	}
	if m := ask(t, s, "udp", "9.9.9.10.in-addr.arpa.", dns.TypePTR); m.Rcode != dns.RcodeSuccess || o.times("udp 9.9.9.10.in-addr.arpa. PTR") != 1 {
		t.Errorf("an unknown address is not asked for: %v", m)
	}
}

func addresses(m *dns.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	return out
}

func TestTheNextResolverIsAsked(t *testing.T) {
	s := started(t, "")
	lame := newOther(t, func(q *dns.Msg, _ string) *dns.Msg {
		m := new(dns.Msg)
		m.SetRcode(q, dns.RcodeServerFailure)
		return m
	})
	gone := netip.MustParseAddrPort("127.0.0.1:1") // refuses
	good := newOther(t, world)
	s.use(gone, lame.address, good.address)
	if m := ask(t, s, "udp", "a.test.", dns.TypeA); len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
	u := &s.forward.upstreams
	if order, _ := u.order(); order[2] != gone {
		t.Errorf("who has not answered is not asked last: %v", order)
	}
	s.use(lame.address)
	if m := ask(t, s, "udp", "b.test.", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", m)
	}
	if m := ask(t, s, "udp", "out.default.svc.cluster.local.", dns.TypeA); m.Rcode != dns.RcodeServerFailure || len(m.Answer) > 0 {
		t.Errorf("an external name that is not to be known now: %v", m)
	}
	s.use()
	if m := ask(t, s, "udp", "c.test.", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", m)
	}
}

// A resolver that asks the cluster's DNS is found out, and questions end until then.
func TestLoop(t *testing.T) {
	s := started(t, "")
	back := newOther(t, func(q *dns.Msg, protocol string) *dns.Msg {
		m, _, err := (&dns.Client{Net: protocol, Timeout: 10 * time.Second}).Exchange(q.Copy(), s.Address.String())
		if err != nil {
			return nil
		}
		m.Id = q.Id
		return m
	})
	good := newOther(t, world)
	s.use(back.address, good.address)
	if m := ask(t, s, "udp", "a.test.", dns.TypeA); len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
	limit := time.After(10 * time.Second)
	for {
		if order, _ := s.forward.upstreams.order(); slices.Equal(order, []netip.AddrPort{good.address}) {
			break
		}
		select {
		case <-time.After(time.Millisecond):
		case <-limit:
			t.Fatal("the loop is not found")
		}
	}
	if m := ask(t, s, "udp", "b.test.", dns.TypeA); len(m.Answer) != 1 || back.times("udp b.test. A") > 0 {
		t.Errorf("the resolver that leads back is asked: %v", m)
	}
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	now := time.Unix(1000, 0)
	u := &upstreams{path: path, own: func(a netip.AddrPort) bool { return a.String() == "10.96.0.10:53" }, now: func() time.Time { return now }}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(probes int, all ...string) {
		t.Helper()
		got, probe := u.order()
		var texts []string
		for _, a := range got {
			texts = append(texts, a.String())
		}
		if diff := cmp.Diff(all, texts); diff != "" || len(probe) != probes {
			t.Errorf("%d probes\n%s", len(probe), diff)
		}
	}
	want(0) // there is no file
	write("# x\nnameserver 192.0.2.1\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver\nsearch a\nnameserver 192.0.2.1\n")
	want(0) // nobody looks twice a second
	now = now.Add(statPause)
	want(2, "192.0.2.1:53", "[fe80::1%eth0]:53")
	want(0, "192.0.2.1:53", "[fe80::1%eth0]:53")
	u.note(netip.MustParseAddrPort("192.0.2.1:53"), false)
	want(0, "[fe80::1%eth0]:53", "192.0.2.1:53")
	write("nameserver 192.0.2.1\nnameserver 192.0.2.22\n")
	now = now.Add(statPause)
	want(2, "192.0.2.22:53", "192.0.2.1:53")
	now = now.Add(restPause)
	want(0, "192.0.2.1:53", "192.0.2.22:53")
	u.noteLoop(netip.MustParseAddrPort("192.0.2.1:53"), true)
	want(0, "192.0.2.22:53")
	now = now.Add(probePause)
	want(2, "192.0.2.22:53")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(statPause)
	want(0)
}

func TestMemory(t *testing.T) {
	now := time.Unix(1000, 0)
	m := &memory{now: func() time.Time { return now }}
	k := key{name: "a.test.", qtype: dns.TypeA, protocol: "udp"}
	q := new(dns.Msg)
	q.SetQuestion(k.name, k.qtype)
	m.put(k, world(q, "udp"))
	now = now.Add(29 * time.Second)
	k.protocol = "tcp"
	got := m.get(k)
	if got == nil || got.Answer[0].Header().Ttl != 271 {
		t.Fatalf("after 29 seconds there is %v", got)
	}
	got.Answer[0].Header().Ttl = 1 // a copy
	now = now.Add(time.Second)
	if got := m.get(k); got != nil || m.size() > 0 {
		t.Errorf("after 30 seconds there is %v", got)
	}
	for i := range kept + 10 {
		k.name = fmt.Sprintf("n%d.test.", i)
		m.put(k, world(q, "udp"))
		m.get(key{name: "n0.test.", qtype: dns.TypeA})
	}
	if m.size() != kept {
		t.Errorf("%d answers are kept", m.size())
	}
	if m.get(key{name: "n0.test.", qtype: dns.TypeA}) == nil || m.get(key{name: "n1.test.", qtype: dns.TypeA}) != nil {
		t.Error("not the one that was not used has gone")
	}
}

func TestLifetime(t *testing.T) {
	a := func(ttl uint32) dns.RR { return &dns.A{Hdr: dns.RR_Header{Rrtype: dns.TypeA, Ttl: ttl}} }
	authority := func(ttl, least uint32) []dns.RR {
		return []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Rrtype: dns.TypeSOA, Ttl: ttl}, Minttl: least}}
	}
	for name, test := range map[string]struct {
		m    dns.Msg
		want uint32
	}{
		"long":                  {dns.Msg{Answer: []dns.RR{a(300)}}, longest},
		"the least counts":      {dns.Msg{Answer: []dns.RR{a(20), a(7)}}, 7},
		"not at all":            {dns.Msg{Answer: []dns.RR{a(0)}}, 0},
		"truncated":             {dns.Msg{MsgHdr: dns.MsgHdr{Truncated: true}, Answer: []dns.RR{a(20)}}, 0},
		"missing":               {dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNameError}, Ns: authority(300, 11)}, 11},
		"no record of the type": {dns.Msg{Ns: authority(9, 300)}, 9},
		"nobody says how long":  {dns.Msg{}, 0},
		"failed":                {dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}, failing},
		"refused":               {dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeRefused}}, 0},
	} {
		if got := lifetime(&test.m); got != test.want {
			t.Errorf("%s: %d seconds, want %d", name, got, test.want)
		}
	}
}

// What cannot be asked at once is refused, not queued.
func TestTooManyAtOnce(t *testing.T) {
	s := started(t, "")
	s.forward.waiting = make(chan struct{}, 1)
	s.forward.waiting <- struct{}{}
	if m := ask(t, s, "udp", "a.test.", dns.TypeA); m.Rcode != dns.RcodeRefused {
		t.Errorf("%v", m)
	}
	if m := ask(t, s, "udp", "web.default.svc.cluster.local.", dns.TypeA); m.Rcode != dns.RcodeSuccess {
		t.Errorf("%v", m)
	}
}
