package nftables

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/service"
)

// follow prints what a packet to a map's key meets, chain by chain, without the digests in names.
func (r *ruleset) follow(name string) []string {
	var out []string
	for _, c := range r.chains {
		if c.name != name {
			continue
		}
		for _, rule := range c.rules {
			words := strings.Fields(rule.text)
			for i, w := range words {
				if kind, _, ok := strings.Cut(w, "-"); ok && rank(w) >= 0 {
					words[i] = kind
				}
				if strings.HasPrefix(w, "@aff-") {
					words[i] = "@aff"
				}
			}
			out = append(out, strings.Join(words, " "))
			for _, next := range append(rule.choose, strings.Fields(rule.text)[len(strings.Fields(rule.text))-1]) {
				if rank(next) >= 0 {
					out = append(out, r.follow(next)...)
				}
			}
		}
	}
	return out
}

func snapshot(change func(*service.Service), endpoints ...string) service.Snapshot {
	s := service.Service{Namespace: "a", Name: "b", ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}}
	p := service.Port{Protocol: "TCP", Port: 80, NodePort: 30080}
	for i, e := range endpoints {
		p.Endpoints = append(p.Endpoints, service.Endpoint{Address: netip.MustParseAddr(e), Port: 8080, Local: i == 0})
	}
	s.Ports = []service.Port{p}
	if change != nil {
		change(&s)
	}
	return service.Snapshot{Services: []service.Service{s}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}
}

func TestPlan(t *testing.T) {
	mark, pods := "meta mark set or masquerade", []string{"jump masq", "ip saddr 10.244.0.0/16 return", "meta mark set or masquerade"}
	one := []string{"ip saddr 10.244.0.2 meta mark set or masquerade", "dnat to 10.244.0.2:8080"}
	two := []string{"ip saddr 10.244.0.3 meta mark set or masquerade", "dnat to 10.244.0.3:8080"}
	join := func(parts ...[]string) (out []string) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	vip, node := v4.addrKey(netip.MustParseAddr("10.96.0.1"), 6, 80), portKey(6, 30080)
	for _, test := range []struct {
		name     string
		snapshot service.Snapshot
		key      string
		of       string
		want     []string
	}{
		{name: "one endpoint", snapshot: snapshot(nil, "10.244.0.2"), of: vips, key: vip, want: join(pods, []string{"goto ep"}, one)},
		{
			name: "two endpoints", snapshot: snapshot(nil, "10.244.0.2", "10.244.0.3"), of: vips, key: vip,
			want: join(pods, []string{"numgen random mod 2 vmap { ep ep }"}, one, two),
		},
		{
			name: "node port", snapshot: snapshot(nil, "10.244.0.2"), of: nodePorts, key: node,
			want: join([]string{mark, "goto svc"}, pods, []string{"goto ep"}, one),
		},
		{
			name: "no endpoint", snapshot: snapshot(nil), of: noVips, key: vip,
			want: []string{"meta l4proto tcp reject with tcp reset", "reject with port-unreachable"},
		},
		{
			name: "internal local", snapshot: snapshot(func(s *service.Service) { s.InternalLocal = true }, "10.244.0.2", "10.244.0.3"), of: vips, key: vip,
			want: join(pods, []string{"goto ep"}, one),
		},
		{
			name: "internal local with none here", of: vips, key: vip,
			snapshot: snapshot(func(s *service.Service) { s.InternalLocal, s.Ports[0].Endpoints[0].Local = true, false }, "10.244.0.2"),
			want:     join(pods, []string{"drop"}),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := plan(v4, Config{Table: "gantry"}, test.snapshot)
			got := r.follow(r.maps[test.of][test.key])
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], "ep, ep", "ep ep")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("rules differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanIsStableAndRefersDownwards(t *testing.T) {
	s := snapshot(func(s *service.Service) { s.ExternalLocal, s.AffinitySeconds = true, 30 }, "10.244.0.2", "10.244.0.3")
	a, b := plan(v4, Config{Table: "gantry"}, s), plan(v4, Config{Table: "gantry"}, s)
	if diff := cmp.Diff(a.maps, b.maps); diff != "" {
		t.Errorf("two plans of a snapshot differ:\n%s", diff)
	}
	for _, c := range a.chains {
		for _, r := range c.rules {
			for _, word := range append(strings.Fields(r.text), r.choose...) {
				if to := rank(word); to >= 0 && to <= rank(c.name) && strings.Contains(word, "-") && len(word) > 15 {
					t.Errorf("%s refers to %s", c.name, word)
				}
			}
		}
	}
	if !plan(v6, Config{Table: "gantry"}, s).empty() {
		t.Error("a service of IPv4 has rules for IPv6")
	}
}
