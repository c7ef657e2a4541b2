package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
)

// started is a server on loopback with the index of town, and the resolvers of a file.
func started(t *testing.T, resolvConf string) *Server {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Cache:  &informertest.FakeInformers{Scheme: scheme.Scheme, Synced: new(true)},
		Domain: "cluster.local", Address: netip.MustParseAddrPort(tcp.Addr().String()), UDP: udp, TCP: tcp, ResolvConf: resolvConf,
		Pods: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
	}
	s.Init()
	s.index = town()
	s.forward = newForwarder(resolvConf, s.own, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && err != context.Canceled {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("the server is not ready")
	}
	return s
}

func ask(t *testing.T, s *Server, protocol, name string, qtype uint16, edit ...func(*dns.Msg)) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	for _, e := range edit {
		e(q)
	}
	m, _, err := (&dns.Client{Net: protocol, Timeout: 10 * time.Second}).Exchange(q, s.Address.String())
	if err != nil {
		t.Fatalf("ask for %s: %v", name, err)
	}
	return m
}

func size(n uint16) func(*dns.Msg) { return func(q *dns.Msg) { q.SetEdns0(n, false) } }

func TestServe(t *testing.T) {
	s := started(t, "")
	for _, protocol := range []string{"udp", "tcp"} {
		m := ask(t, s, protocol, "wEb.default.svc.cluster.local.", dns.TypeA, size(4096))
		if diff := cmp.Diff([]string{"wEb.default.svc.cluster.local. 5 A 10.96.0.2"}, lines(m.Answer)); diff != "" {
			t.Error(diff)
		}
		if !m.Authoritative || !m.RecursionAvailable || m.Truncated || m.Rcode != dns.RcodeSuccess || m.Question[0].Name != "wEb.default.svc.cluster.local." {
			t.Errorf("%s: the answer's head is %v", protocol, m.MsgHdr)
		}
		if opt := m.IsEdns0(); opt == nil || opt.UDPSize() != safeSize {
			t.Errorf("%s: the answer's EDNS is %v", protocol, opt)
		}
		m = ask(t, s, protocol, "gone.default.svc.cluster.local.", dns.TypeA)
		if m.Rcode != dns.RcodeNameError || !slices.Equal(lines(m.Ns), []string{soa}) || m.IsEdns0() != nil {
			t.Errorf("%s: %v", protocol, m)
		}
	}
	for name, edit := range map[string]struct {
		edit func(*dns.Msg)
		want int
	}{
		"another version of EDNS": {func(q *dns.Msg) { q.SetEdns0(4096, false); q.IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
		"another class":           {func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		"a transfer":              {func(q *dns.Msg) { q.Question[0].Qtype = dns.TypeAXFR }, dns.RcodeRefused},
		"an update":               {func(q *dns.Msg) { q.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		"two questions":           {func(q *dns.Msg) { q.Question = append(q.Question, q.Question[0]) }, dns.RcodeFormatError},
		"no recursion":            {func(q *dns.Msg) { q.Question[0].Name, q.RecursionDesired = "www.example.com.", false }, dns.RcodeRefused},
	} {
		if m := ask(t, s, "udp", "cluster.local.", dns.TypeA, edit.edit); m.Rcode != edit.want {
			t.Errorf("%s is answered with %s", name, dns.RcodeToString[m.Rcode])
		}
	}
}

func TestLargeAnswers(t *testing.T) {
	s := started(t, "")
	var all []discoveryv1.Endpoint
	for i := range 200 {
		all = append(all, end(fmt.Sprintf("10.2.0.%d", i), "", nil))
	}
	s.index.PutService(svc("default", "crowd", func(s *corev1.ServiceSpec) { s.ClusterIP = corev1.ClusterIPNone }))
	s.index.PutSlice(sliceOf("default", "crowd", "crowd-1", http, all...))
	const name = "crowd.default.svc.cluster.local."
	if m := ask(t, s, "tcp", name, dns.TypeA); len(m.Answer) != 200 || m.Truncated {
		t.Errorf("over TCP there are %d records, truncated %t", len(m.Answer), m.Truncated)
	}
	for _, test := range []struct {
		edit         []func(*dns.Msg)
		least, bytes int
	}{{nil, 25, 512}, {[]func(*dns.Msg){size(100)}, 25, 512}, {[]func(*dns.Msg){size(1000)}, 50, 1000}, {[]func(*dns.Msg){size(65000)}, 65, safeSize}} {
		first := map[string]bool{}
		for range 20 {
			q := new(dns.Msg)
			q.SetQuestion(name, dns.TypeA)
			for _, e := range test.edit {
				e(q)
			}
			m, _ := s.reply("udp", netip.MustParseAddr("127.0.0.1"), q)
			raw, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if len(raw) > test.bytes || !m.Truncated || len(m.Answer) < test.least {
				t.Fatalf("%d bytes with %d records, truncated %t; want at most %d bytes", len(raw), len(m.Answer), m.Truncated, test.bytes)
			}
			first[m.Answer[0].String()] = true
		}
		if len(first) < 2 {
			t.Error("the first record is always the same")
		}
	}
}

func TestWhoMayAsk(t *testing.T) {
	s := started(t, "")
	s.index.PutNode(&corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Address: "203.0.113.5"}}}})
	for from, want := range map[string]bool{
		"10.1.2.3": true, "192.168.1.1": true, "127.0.0.1": true, "100.64.0.1": true, "fd00::1": true, "198.51.100.7": true, "203.0.113.5": true,
		"8.8.8.8": false, "203.0.113.6": false, "2001:db8::1": false,
	} {
		q := new(dns.Msg)
		q.SetQuestion("web.default.svc.cluster.local.", dns.TypeA)
		m, _ := s.reply("udp", netip.MustParseAddr(from), q)
		if got := m.Rcode == dns.RcodeSuccess; got != want {
			t.Errorf("%s is answered: %t, want %t", from, got, want)
		}
	}
}

func TestFollow(t *testing.T) {
	f := &informertest.FakeInformers{Scheme: scheme.Scheme}
	x := NewIndex("cluster.local", time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- x.Follow(ctx, f) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{}
	ns.Name = "default"
	web := svc("default", "web", at("10.96.0.2"))
	informer, err := f.FakeInformerFor(ctx, ns)
	if err != nil {
		t.Fatal(err)
	}
	informer.Add(ns)
	if informer, err = f.FakeInformerFor(ctx, web); err != nil {
		t.Fatal(err)
	}
	informer.Add(web)
	moved := svc("default", "web", at("10.96.0.3"))
	informer.Update(web, moved)
	if got := lines(x.Answer("web.default.svc.cluster.local.", dns.TypeA).Records); len(got) != 1 || !strings.HasSuffix(got[0], " 10.96.0.3") {
		t.Errorf("got %v", got)
	}
	informer.Delete(moved)
	if x.Answer("web.default.svc.cluster.local.", dns.TypeA).Rcode != dns.RcodeNameError {
		t.Error("the service is there still")
	}
}

// FuzzServe reads what anybody may send, and what comes of it must be a message.
func FuzzServe(f *testing.F) {
	for _, name := range []string{"web.default.svc.cluster.local.", "out.default.svc.cluster.local.", "2.0.96.10.in-addr.arpa.", `a\.b\000.svc.cluster.local.`, "."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypePTR, dns.TypeHINFO, dns.TypeOPT} {
			q := new(dns.Msg)
			q.SetQuestion(name, qtype)
			q.SetEdns0(512, true)
			raw, err := q.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	s := &Server{Domain: "cluster.local", Address: netip.MustParseAddrPort("192.0.2.1:53"), ResolvConf: filepath.Join(f.TempDir(), "none")}
	s.Init()
	s.index = town()
	f.Fuzz(func(t *testing.T, raw []byte) {
		q := new(dns.Msg)
		if q.Unpack(raw) != nil {
			return
		}
		for _, protocol := range []string{"udp", "tcp"} {
			m, _ := s.reply(protocol, netip.MustParseAddr("127.0.0.1"), q)
			out, err := m.Pack()
			if err != nil {
				t.Fatalf("%v\nis answered by what is no message: %v\n%v", q, err, m)
			}
			if protocol == "udp" && len(out) > safeSize {
				t.Fatalf("%d bytes", len(out))
			}
		}
	})
}

// nowhere takes answers and drops them.
type nowhere struct{ dns.ResponseWriter }

func (nowhere) RemoteAddr() net.Addr      { return &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1)} }
func (nowhere) WriteMsg(m *dns.Msg) error { _, err := m.Pack(); return err }

// BenchmarkServe is the way of a question, but for the kernel: read, answered, counted and written.
func BenchmarkServe(b *testing.B) {
	s := &Server{Domain: "cluster.local", Address: netip.MustParseAddrPort("192.0.2.1:53")}
	s.Init()
	s.index = town()
	for i := range 1000 {
		s.index.PutService(svc("default", fmt.Sprintf("s%d", i), at(fmt.Sprintf("10.97.%d.%d", i/250, i%250))))
	}
	for _, name := range []string{"s500.default.svc.cluster.local.", "gone.default.svc.cluster.local.", "db.default.svc.cluster.local."} {
		b.Run(strings.Split(name, ".")[0], func(b *testing.B) {
			q := new(dns.Msg)
			q.SetQuestion(name, dns.TypeA)
			q.SetEdns0(1232, false)
			raw, err := q.Pack()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				q := new(dns.Msg)
				if err := q.Unpack(raw); err != nil {
					b.Fatal(err)
				}
				s.ServeDNS(nowhere{}, q)
			}
		})
	}
}

// BenchmarkAnswer is what the index alone takes.
func BenchmarkAnswer(b *testing.B) {
	x := town()
	b.ReportAllocs()
	for b.Loop() {
		x.Answer("web.default.svc.cluster.local.", dns.TypeA)
	}
}
