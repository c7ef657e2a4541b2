package dns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func clock() time.Time { return time.Unix(1700000000, 0) }

func svc(namespace, name string, edit func(*corev1.ServiceSpec)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	s.Spec.Type = corev1.ServiceTypeClusterIP
	edit(&s.Spec)
	return s
}

func at(ips ...string) func(*corev1.ServiceSpec) {
	return func(s *corev1.ServiceSpec) {
		s.ClusterIP, s.ClusterIPs = ips[0], ips
		s.Ports = []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}
	}
}

func external1(name string) func(*corev1.ServiceSpec) {
	return func(s *corev1.ServiceSpec) { s.Type, s.ExternalName = corev1.ServiceTypeExternalName, name }
}

func sliceOf(namespace, service, name string, ports []discoveryv1.EndpointPort, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		Ports:      ports, Endpoints: endpoints,
	}
}

func end(ip, host string, ready *bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: ready}}
	if host != "" {
		e.Hostname = &host
	}
	return e
}

var http = []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}}

// town is an index with some of everything.
func town() *Index {
	x := NewIndex("cluster.local", clock, netip.MustParseAddr("192.0.2.1"))
	for _, ns := range []string{"default", "kube-system", "empty"} {
		x.PutNamespace(ns)
	}
	for _, s := range []*corev1.Service{
		svc("default", "web", at("10.96.0.2")),
		svc("default", "both", at("10.96.0.3", "fd00::3")),
		svc("default", "six", at("fd00::6")),
		svc("default", "many", func(s *corev1.ServiceSpec) {
			at("10.96.0.4")(s)
			s.Ports = append(s.Ports, corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}, corev1.ServicePort{Port: 9, Protocol: corev1.ProtocolTCP})
		}),
		svc("default", "db", func(s *corev1.ServiceSpec) { s.ClusterIP = corev1.ClusterIPNone }),
		svc("default", "bare", func(s *corev1.ServiceSpec) { s.ClusterIP = corev1.ClusterIPNone }),
		svc("default", "idle", func(s *corev1.ServiceSpec) { s.ClusterIP = corev1.ClusterIPNone }),
		svc("default", "out", external1("www.example.com")),
		svc("default", "in", external1("web.default.svc.cluster.local.")),
		svc("default", "inout", external1("out.default.svc.cluster.local")),
		svc("default", "nowhere", external1("gone.default.svc.cluster.local")),
		svc("default", "self", external1("self.default.svc.cluster.local")),
		svc("default", "ping", external1("pong.default.svc.cluster.local")),
		svc("default", "pong", external1("ping.default.svc.cluster.local")),
		svc("default", "number", external1("192.0.2.7")),
		svc("kube-system", "kube-dns", at("10.96.0.10")),
	} {
		x.PutService(s)
	}
	x.PutSlice(sliceOf("default", "db", "db-1", http, end("10.1.0.1", "db-0", nil), end("10.1.0.2", "", new(true)), end("10.1.0.9", "", new(false)), end("10.1.0.1", "db-1", nil)))
	x.PutSlice(sliceOf("default", "db", "db-2", http, end("fd01::1", "", new(true)), end("10.1.0.2", "", new(true))))
	x.PutSlice(sliceOf("default", "bare", "bare-1", nil, end("10.1.0.3", "", new(true))))
	x.PutSlice(sliceOf("default", "idle", "idle-1", http, end("10.1.0.4", "", new(false))))
	x.PutSlice(sliceOf("default", "web", "web-1", http, end("10.1.0.5", "web-0", new(true)), end("10.1.0.1", "", new(true))))
	x.PutSlice(sliceOf("default", "orphan", "orphan-1", http, end("10.1.0.6", "", new(true))))
	return x
}

// lines are records in the form of a zone file, without the class.
func lines(all []dns.RR) []string {
	var out []string
	for _, rr := range all {
		out = append(out, strings.Join(slices.DeleteFunc(strings.Fields(rr.String()), func(w string) bool { return w == "IN" }), " "))
	}
	slices.Sort(out)
	return out
}

const soa = "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1700000000 7200 1800 86400 5"

func TestAnswer(t *testing.T) {
	type result struct {
		Records, Extra, Authority []string
		Rcode                     int
		Elsewhere                 string
		Others                    bool
	}
	yes := func(records ...string) result { return result{Records: records} }
	nodata := result{Authority: []string{soa}}
	missing := result{Authority: []string{soa}, Rcode: dns.RcodeNameError}
	for _, test := range []struct {
		name  string
		qtype string
		want  result
	}{
		{"dns-version.cluster.local.", "TXT", yes(`dns-version.cluster.local. 28800 TXT "1.1.0"`)},
		{"web.default.svc.cluster.local.", "TXT", nodata},
		{"cluster.local.", "SOA", yes(soa)},
		{"cluster.local.", "A", nodata},
		{"cluster.local.", "NS", result{
			Records: []string{"cluster.local. 5 NS kube-dns.kube-system.svc.cluster.local."}, Extra: []string{"kube-dns.kube-system.svc.cluster.local. 5 A 10.96.0.10"},
		}},
		{"ns.dns.cluster.local.", "A", yes("ns.dns.cluster.local. 5 A 192.0.2.1")},
		{"ns.dns.cluster.local.", "AAAA", nodata},
		{"dns.cluster.local.", "A", missing},
		{"svc.cluster.local.", "A", nodata},
		{"pod.cluster.local.", "A", nodata},
		{"default.svc.cluster.local.", "A", nodata},
		{"empty.svc.cluster.local.", "NS", nodata},
		{"none.svc.cluster.local.", "A", missing},
		{"none.pod.cluster.local.", "A", missing},
		{"elsewhere.cluster.local.", "A", missing},

		// Services with an address.
		{"web.default.svc.cluster.local.", "A", yes("web.default.svc.cluster.local. 5 A 10.96.0.2")},
		{"WeB.Default.svc.Cluster.Local.", "A", yes("WeB.Default.svc.Cluster.Local. 5 A 10.96.0.2")},
		{"web.default.svc.cluster.local.", "AAAA", nodata},
		{"web.default.svc.cluster.local.", "MX", nodata},
		{"web.default.svc.cluster.local.", "CNAME", nodata},
		{"web.default.svc.cluster.local.", "PTR", nodata},
		{"web.default.svc.cluster.local.", "ANY", nodata},
		{"six.default.svc.cluster.local.", "A", nodata},
		{"six.default.svc.cluster.local.", "AAAA", yes("six.default.svc.cluster.local. 5 AAAA fd00::6")},
		{"both.default.svc.cluster.local.", "A", yes("both.default.svc.cluster.local. 5 A 10.96.0.3")},
		{"both.default.svc.cluster.local.", "AAAA", yes("both.default.svc.cluster.local. 5 AAAA fd00::3")},
		{"gone.default.svc.cluster.local.", "A", missing},
		{"gone.default.svc.cluster.local.", "AAAA", missing},
		{"gone.default.svc.cluster.local.", "MX", missing},
		{"web.none.svc.cluster.local.", "A", missing},
		{`web\.default.svc.cluster.local.`, "A", missing},
		{"web-0.web.default.svc.cluster.local.", "A", yes("web-0.web.default.svc.cluster.local. 5 A 10.1.0.5")},
		{"web-1.web.default.svc.cluster.local.", "A", missing},
		{"a.b.c.web.default.svc.cluster.local.", "A", missing},

		// Ports.
		{"_http._tcp.web.default.svc.cluster.local.", "SRV", result{
			Records: []string{"_http._tcp.web.default.svc.cluster.local. 5 SRV 0 100 80 web.default.svc.cluster.local."},
			Extra:   []string{"web.default.svc.cluster.local. 5 A 10.96.0.2"},
		}},
		{"_http._udp.web.default.svc.cluster.local.", "SRV", missing},
		{"_https._tcp.web.default.svc.cluster.local.", "SRV", missing},
		{"_http._tcp.web.default.svc.cluster.local.", "A", yes("_http._tcp.web.default.svc.cluster.local. 5 A 10.96.0.2")},
		{"_dns._udp.many.default.svc.cluster.local.", "SRV", result{
			Records: []string{"_dns._udp.many.default.svc.cluster.local. 5 SRV 0 100 53 many.default.svc.cluster.local."},
			Extra:   []string{"many.default.svc.cluster.local. 5 A 10.96.0.4"},
		}},
		{"many.default.svc.cluster.local.", "SRV", result{
			Records: []string{
				"many.default.svc.cluster.local. 5 SRV 0 33 53 many.default.svc.cluster.local.", "many.default.svc.cluster.local. 5 SRV 0 33 80 many.default.svc.cluster.local.",
				"many.default.svc.cluster.local. 5 SRV 0 33 9 many.default.svc.cluster.local.",
			},
			Extra: []string{"many.default.svc.cluster.local. 5 A 10.96.0.4"},
		}},
		{"both.default.svc.cluster.local.", "SRV", result{
			Records: []string{"both.default.svc.cluster.local. 5 SRV 0 50 80 both.default.svc.cluster.local."},
			Extra:   []string{"both.default.svc.cluster.local. 5 A 10.96.0.3", "both.default.svc.cluster.local. 5 AAAA fd00::3"},
		}},

		// Services without an address.
		{"db.default.svc.cluster.local.", "A", yes("db.default.svc.cluster.local. 5 A 10.1.0.1", "db.default.svc.cluster.local. 5 A 10.1.0.2")},
		{"db.default.svc.cluster.local.", "AAAA", yes("db.default.svc.cluster.local. 5 AAAA fd01::1")},
		{"db-0.db.default.svc.cluster.local.", "A", yes("db-0.db.default.svc.cluster.local. 5 A 10.1.0.1")},
		{"DB-0.db.default.svc.cluster.local.", "AAAA", nodata},
		{"10-1-0-2.db.default.svc.cluster.local.", "A", yes("10-1-0-2.db.default.svc.cluster.local. 5 A 10.1.0.2")},
		{"10-1-0-9.db.default.svc.cluster.local.", "A", missing},
		{"fd01--1.db.default.svc.cluster.local.", "AAAA", yes("fd01--1.db.default.svc.cluster.local. 5 AAAA fd01::1")},
		{"_http._tcp.db.default.svc.cluster.local.", "SRV", result{
			Records: []string{
				"_http._tcp.db.default.svc.cluster.local. 5 SRV 0 20 8080 10-1-0-2.db.default.svc.cluster.local.",
				"_http._tcp.db.default.svc.cluster.local. 5 SRV 0 20 8080 db-0.db.default.svc.cluster.local.",
				"_http._tcp.db.default.svc.cluster.local. 5 SRV 0 20 8080 db-1.db.default.svc.cluster.local.",
				"_http._tcp.db.default.svc.cluster.local. 5 SRV 0 20 8080 fd01--1.db.default.svc.cluster.local.",
			},
			Extra: []string{
				"10-1-0-2.db.default.svc.cluster.local. 5 A 10.1.0.2", "db-0.db.default.svc.cluster.local. 5 A 10.1.0.1",
				"db-1.db.default.svc.cluster.local. 5 A 10.1.0.1", "fd01--1.db.default.svc.cluster.local. 5 AAAA fd01::1",
			},
		}},
		{"_grpc._tcp.db.default.svc.cluster.local.", "SRV", missing},
		{"bare.default.svc.cluster.local.", "A", yes("bare.default.svc.cluster.local. 5 A 10.1.0.3")},
		{"bare.default.svc.cluster.local.", "SRV", nodata},
		{"_http._tcp.bare.default.svc.cluster.local.", "A", missing},
		{"idle.default.svc.cluster.local.", "A", missing},
		{"orphan.default.svc.cluster.local.", "A", missing},

		// Services of other names.
		{"out.default.svc.cluster.local.", "A", result{Records: []string{"out.default.svc.cluster.local. 5 CNAME www.example.com."}, Elsewhere: "www.example.com."}},
		{"out.default.svc.cluster.local.", "CNAME", yes("out.default.svc.cluster.local. 5 CNAME www.example.com.")},
		{"out.default.svc.cluster.local.", "SRV", nodata},
		{"x.out.default.svc.cluster.local.", "A", missing},
		{"in.default.svc.cluster.local.", "A", yes("in.default.svc.cluster.local. 5 CNAME web.default.svc.cluster.local.", "web.default.svc.cluster.local. 5 A 10.96.0.2")},
		{"in.default.svc.cluster.local.", "AAAA", nodata},
		{"inout.default.svc.cluster.local.", "AAAA", result{
			Records: []string{
				"inout.default.svc.cluster.local. 5 CNAME out.default.svc.cluster.local.", "out.default.svc.cluster.local. 5 CNAME www.example.com.",
			}, Elsewhere: "www.example.com.",
		}},
		{"nowhere.default.svc.cluster.local.", "A", nodata},
		{"self.default.svc.cluster.local.", "A", nodata},
		{"ping.default.svc.cluster.local.", "A", nodata},
		{"number.default.svc.cluster.local.", "A", missing},

		// Pods.
		{"10-1-0-77.default.pod.cluster.local.", "A", yes("10-1-0-77.default.pod.cluster.local. 5 A 10.1.0.77")},
		{"10-1-0-77.default.pod.cluster.local.", "AAAA", nodata},
		{"fd01--7.default.pod.cluster.local.", "AAAA", yes("fd01--7.default.pod.cluster.local. 5 AAAA fd01::7")},
		{"10-1-0-777.default.pod.cluster.local.", "A", missing},
		{"web.default.pod.cluster.local.", "A", missing},
		{"10-1-0-77.none.pod.cluster.local.", "A", missing},
		{"default.pod.cluster.local.", "A", nodata},

		// Addresses.
		{"2.0.96.10.in-addr.arpa.", "PTR", yes("2.0.96.10.in-addr.arpa. 5 PTR web.default.svc.cluster.local.")},
		{"6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.F.ip6.arpa.", "PTR", yes("6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.F.ip6.arpa. 5 PTR six.default.svc.cluster.local.")},
		{"1.0.1.10.in-addr.arpa.", "PTR", yes(
			"1.0.1.10.in-addr.arpa. 5 PTR 10-1-0-1.web.default.svc.cluster.local.", "1.0.1.10.in-addr.arpa. 5 PTR db-0.db.default.svc.cluster.local.",
			"1.0.1.10.in-addr.arpa. 5 PTR db-1.db.default.svc.cluster.local.")},
		{"9.0.1.10.in-addr.arpa.", "PTR", result{Others: true}},
		{"2.0.96.10.in-addr.arpa.", "A", result{Others: true}},
		{"www.example.com.", "A", result{Others: true}},
		{"xcluster.local.", "A", result{Others: true}},
		{".", "NS", result{Others: true}},
	} {
		t.Run(test.name+test.qtype, func(t *testing.T) {
			a := town().Answer(test.name, dns.StringToType[test.qtype])
			got := result{lines(a.Records), lines(a.Extra), lines(a.Authority), a.Rcode, a.Elsewhere, !a.Ours}
			slices.Sort(test.want.Records)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			for i, rr := range a.Records {
				if _, link := rr.(*dns.CNAME); link && i > 0 {
					if _, link := a.Records[i-1].(*dns.CNAME); !link {
						t.Errorf("a link comes after what it leads to: %v", a.Records)
					}
				}
			}
		})
	}
}

// The zone is another one, and nothing of the usual one is ours.
func TestDomain(t *testing.T) {
	x := NewIndex("Example.Test", clock)
	x.PutNamespace("default")
	x.PutService(svc("default", "web", at("10.96.0.2")))
	if got := lines(x.Answer("web.default.svc.example.test.", dns.TypeA).Records); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	if x.Answer("web.default.svc.cluster.local.", dns.TypeA).Ours {
		t.Error("another domain is answered")
	}
}

func TestIndexFollowsChanges(t *testing.T) {
	x := town()
	ask := func(name string, qtype uint16) []string { return lines(x.Answer(name, qtype).Records) }
	empty := func(name string, qtype uint16) {
		t.Helper()
		if got := ask(name, qtype); len(got) != 0 {
			t.Errorf("%s has %v still", name, got)
		}
	}
	// Another address; the old one leads nowhere.
	x.PutService(svc("default", "web", at("10.96.0.22")))
	empty("2.0.96.10.in-addr.arpa.", dns.TypePTR)
	if diff := cmp.Diff([]string{"web.default.svc.cluster.local. 5 A 10.96.0.22"}, ask("web.default.svc.cluster.local.", dns.TypeA)); diff != "" {
		t.Error(diff)
	}
	// The address passes on to another service before it is taken from the first.
	x.PutService(svc("default", "other", at("10.96.0.22")))
	x.RemoveService("default", "web")
	if diff := cmp.Diff([]string{"22.0.96.10.in-addr.arpa. 5 PTR other.default.svc.cluster.local."}, ask("22.0.96.10.in-addr.arpa.", dns.TypePTR)); diff != "" {
		t.Error(diff)
	}
	empty("web.default.svc.cluster.local.", dns.TypeA)
	empty("web-0.web.default.svc.cluster.local.", dns.TypeA)
	// The service comes back, and its endpoints were never forgotten.
	x.PutService(svc("default", "web", at("10.96.0.23")))
	if len(ask("web-0.web.default.svc.cluster.local.", dns.TypeA)) != 1 {
		t.Error("the endpoints of a service that came back are gone")
	}
	// Fewer endpoints, then none.
	x.PutSlice(sliceOf("default", "db", "db-1", http, end("10.1.0.1", "db-0", nil)))
	x.RemoveSlice("default", "db-2")
	if diff := cmp.Diff([]string{"db.default.svc.cluster.local. 5 A 10.1.0.1"}, ask("db.default.svc.cluster.local.", dns.TypeA)); diff != "" {
		t.Error(diff)
	}
	x.PutSlice(sliceOf("default", "db", "db-1", http))
	empty("db.default.svc.cluster.local.", dns.TypeA)
	empty("2.0.1.10.in-addr.arpa.", dns.TypePTR)
	// Everything goes, and nothing is left.
	for _, name := range []string{"web", "both", "six", "many", "db", "bare", "idle", "out", "in", "inout", "nowhere", "self", "ping", "pong", "number", "other"} {
		x.RemoveService("default", name)
	}
	x.RemoveService("kube-system", "kube-dns")
	for _, name := range []string{"bare-1", "idle-1", "web-1", "orphan-1", "db-1"} {
		x.RemoveSlice("default", name)
	}
	x.RemoveNamespace("default")
	if len(x.services)+len(x.slices)+len(x.clusterIPs)+len(x.endpoints) > 0 {
		t.Errorf("left: %v %v %v %v", x.services, x.slices, x.clusterIPs, x.endpoints)
	}
	if got := x.Answer("default.svc.cluster.local.", dns.TypeA).Rcode; got != dns.RcodeNameError {
		t.Errorf("a namespace that has gone is answered with %d", got)
	}
}

func TestNodes(t *testing.T) {
	x := town()
	ip := netip.MustParseAddr("203.0.113.5")
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: ip.String()}, {Type: corev1.NodeHostName, Address: "a"},
	}}}
	x.PutNode(n)
	x.PutNode(n)
	if !x.isNode(ip) {
		t.Error("the node is not known")
	}
	x.RemoveNode("a")
	if x.isNode(ip) || len(x.nodeIPs)+len(x.nodes) > 0 {
		t.Error("the node is known still")
	}
}

func TestReversed(t *testing.T) {
	for name, want := range map[string]string{
		"4.3.2.1.in-addr.arpa.": "1.2.3.4", "255.0.0.10.in-addr.arpa.": "10.0.0.255",
		"256.0.0.10.in-addr.arpa.": "", "3.2.1.in-addr.arpa.": "", "5.4.3.2.1.in-addr.arpa.": "", "a.3.2.1.in-addr.arpa.": "", "..3.2.1.in-addr.arpa.": "", ".in-addr.arpa.": "",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.": "2001:db8::1",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.g.ip6.arpa.": "",
		"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.":   "",
	} {
		ip, ok := reversed(name)
		if got := ip.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%s is %s, %t; want %q", name, got, ok, want)
		}
	}
}
