//go:build e2e

package api_test

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// address asks a server for the address of the Service of the API.
func (s *server) address() error {
	q := new(dns.Msg)
	q.SetQuestion("kubernetes.default.svc.cluster.local.", dns.TypeA)
	for _, protocol := range []string{"udp", "tcp"} {
		m, _, err := (&dns.Client{Net: protocol, Timeout: 5 * time.Second}).Exchange(q, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.dnsPort())))
		if err != nil {
			return err
		}
		if len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "10.96.0.1" {
			return fmt.Errorf("the answer over %s is %v", protocol, m)
		}
	}
	return nil
}

// Each of several servers answers for names and is an endpoint of kube-dns, as long as it lives.
func TestTwoServersOfNames(t *testing.T) {
	url := startEtcd(t, 2379)
	a := &server{data: t.TempDir(), port: 6443, flags: []string{"--etcd-endpoints", url}}
	b := &server{data: t.TempDir(), port: 6444, flags: []string{"--etcd-endpoints", url}}
	a.start(t)
	b.start(t)
	client := a.client(t)
	published := func(want ...*server) {
		t.Helper()
		eventually(t, 40*time.Second, func() error {
			var ports, wanted []int
			for _, s := range want {
				wanted = append(wanted, s.dnsPort())
			}
			list, err := client.DiscoveryV1().EndpointSlices("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=kube-dns"})
			if err != nil {
				return err
			}
			for _, s := range list.Items {
				ports = append(ports, int(*s.Ports[0].Port))
			}
			slices.Sort(ports)
			if !slices.Equal(ports, wanted) {
				return fmt.Errorf("published are %v, want %v", ports, wanted)
			}
			return nil
		})
	}
	published(a, b)
	for _, s := range []*server{a, b} {
		if err := s.address(); err != nil {
			t.Error(err)
		}
	}
	b.kill()
	published(a)
	b.start(t)
	published(a, b)
	if err := b.address(); err != nil {
		t.Error(err)
	}
	began := time.Now()
	b.stop(t)
	published(a)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a server that ends is withdrawn after %s", took)
	}
	if leases := leasesOf(t, client); len(leases) != 1 {
		t.Errorf("the leases %v are left", leases)
	}
}

func leasesOf(t *testing.T, client kubernetes.Interface) []string {
	t.Helper()
	list, err := client.CoordinationV1().Leases("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=dns.gantry.dev"})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range list.Items {
		out = append(out, l.Name)
	}
	return out
}
