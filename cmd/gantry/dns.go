package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gantryio/gantry/core/dns"
	"github.com/gantryio/gantry/core/dns/publish"
	"github.com/gantryio/gantry/core/run"
)

const (
	defaultDomain  = "cluster.local"
	defaultDNSPort = 10053
	// dnsHost is which address of the service range the cluster's DNS has, as in other clusters.
	dnsHost = 10
	// systemResolvConf is the machine's, and stubResolvConf what stands behind it where that names systemd-resolved, which pods
	// cannot reach.
	systemResolvConf = "/etc/resolv.conf"
	stubResolvConf   = "/run/systemd/resolve/resolv.conf"
	stubResolver     = "127.0.0.53"
)

// dnsConfig is what can be chosen about names.
type dnsConfig struct {
	dns           bool
	dnsPort       int32
	clusterDNS    []string
	clusterDomain string
	resolvConf    string
}

func (c *dnsConfig) addDNSFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.dns, "dns", true, "serve the cluster's DNS, with the Service kube-system/kube-dns; false for those who bring their own")
	f.Int32Var(&c.dnsPort, "dns-port", defaultDNSPort, "port of the cluster's DNS on this machine, UDP and TCP; clients use port 53 of the Service")
	f.StringSliceVar(&c.clusterDNS, "cluster-dns", nil, "addresses of the cluster's DNS in pods; that of the Service kube-system/kube-dns when empty, and with --dns=false the machine's resolvers")
	f.StringVar(&c.clusterDomain, "cluster-domain", defaultDomain, "domain of the cluster's names")
	f.StringVar(&c.resolvConf, "resolv-conf", "", "file with the machine's resolvers (resolv.conf(5)), for names outside of the cluster and for pods that do not use the cluster's DNS; /etc/resolv.conf, or that of systemd-resolved, when empty")
}

// completeDNS checks the flags and fills what was left out.
func (c *dnsConfig) completeDNS() error {
	if c.clusterDomain == "" {
		c.clusterDomain = defaultDomain
	}
	c.clusterDomain = strings.TrimSuffix(c.clusterDomain, ".")
	if problems := validation.IsDNS1123Subdomain(c.clusterDomain); len(problems) > 0 {
		return fmt.Errorf("--cluster-domain: %q: %s", c.clusterDomain, strings.Join(problems, "; "))
	}
	for _, text := range c.clusterDNS {
		if _, err := netip.ParseAddr(text); err != nil {
			return fmt.Errorf("--cluster-dns: %q is no address", text)
		}
	}
	if c.dnsPort == 0 {
		c.dnsPort = defaultDNSPort
	}
	if problems := validation.IsValidPortNum(int(c.dnsPort)); len(problems) > 0 {
		return fmt.Errorf("--dns-port: %d: %s", c.dnsPort, strings.Join(problems, "; "))
	}
	if c.resolvConf == "" {
		raw, _ := os.ReadFile(systemResolvConf)
		c.resolvConf = systemResolvConf
		if _, err := os.Stat(stubResolvConf); err == nil && onlyStub(string(raw)) {
			c.resolvConf = stubResolvConf
		}
	}
	return nil
}

// onlyStub tells that a resolv.conf names nobody but systemd-resolved.
func onlyStub(resolvConf string) bool {
	stub := false
	for line := range strings.Lines(resolvConf) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "nameserver" {
			if words[1] != stubResolver {
				return false
			}
			stub = true
		}
	}
	return stub
}

// dnsAddress is the usual address of the cluster's DNS in a service range; not valid where the range is too small.
func dnsAddress(services netip.Prefix) netip.Addr {
	ip := services.Masked().Addr()
	for range dnsHost {
		ip = ip.Next()
	}
	if next := ip.Next(); !services.Contains(ip) || !services.Contains(next) {
		return netip.Addr{}
	}
	return ip
}

// dnsSockets are where the cluster's DNS is served; empty where it is not.
type dnsSockets struct {
	udp *net.UDPConn
	tcp *net.TCPListener
}

func (d dnsSockets) close() {
	if d.udp != nil {
		d.udp.Close()
		d.tcp.Close()
	}
}

// fittingDNS returns the sockets if they are at the address, and others otherwise. An address that this machine has not, such as
// one of a translator before it, stands for all of the machine's.
func fittingDNS(have dnsSockets, at netip.AddrPort) (dnsSockets, error) {
	if have.udp != nil {
		ip := have.udp.LocalAddr().(*net.UDPAddr).AddrPort()
		if ip.Port() == at.Port() && (ip.Addr().Unmap() == at.Addr() || ip.Addr().IsUnspecified()) {
			return have, nil
		}
		have.close()
	}
	fresh, err := listenDNS(at)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		all := netip.IPv4Unspecified()
		if at.Addr().Is6() {
			all = netip.IPv6Unspecified()
		}
		fresh, err = listenDNS(netip.AddrPortFrom(all, at.Port()))
	}
	if err != nil {
		return fresh, fmt.Errorf("listen for DNS (another port is chosen by --dns-port): %w", err)
	}
	return fresh, nil
}

func listenDNS(at netip.AddrPort) (dnsSockets, error) {
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return dnsSockets{}, err
	}
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return dnsSockets{}, errors.Join(err, udp.Close())
	}
	return dnsSockets{udp, tcp}, nil
}

// dnsAt is where others reach the cluster's DNS.
func (c *config) dnsAt() (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(c.advertise)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("--advertise: %q is no address", c.advertise)
	}
	return netip.AddrPortFrom(ip, uint16(c.dnsPort)), nil
}

// listenForNames opens the sockets, or takes those of before.
func (s *server) listenForNames(have dnsSockets) (err error) {
	if !s.config.dns {
		have.close()
		s.names = dnsSockets{}
		return nil
	}
	at, err := s.dnsAt()
	if err != nil {
		return err
	}
	s.names, err = fittingDNS(have, at)
	return err
}

// dnsParts serve the cluster's DNS and publish it, or take back what was published.
func (s *server) dnsParts() ([]run.Part, error) {
	at, err := s.dnsAt()
	if err != nil {
		return nil, err
	}
	publisher := &publish.Publisher{
		Client: s.client, Cache: s.clientCache, Address: at, ClusterIP: dnsAddress(netip.MustParsePrefix(s.serviceRange)), Node: s.localNode, Alone: len(s.etcdEndpoints) == 0,
	}
	if s.names.udp == nil {
		return []run.Part{{Name: "no DNS", Runner: run.Func(func(ctx context.Context) error {
			if err := publisher.Withdraw(ctx); err != nil {
				slog.Warn("cannot take back the Service of the cluster's DNS", "err", err)
			}
			<-ctx.Done()
			return ctx.Err()
		})}}, nil
	}
	server := &dns.Server{
		Cache: s.clientCache, Domain: s.clusterDomain, Address: at, UDP: s.names.udp, TCP: s.names.tcp, ResolvConf: s.resolvConf,
		Pods: []netip.Prefix{netip.MustParsePrefix(s.podRange)},
	}
	server.Init()
	return []run.Part{
		{Name: "DNS", Runner: server, Ready: server.Ready()},
		{Name: "DNS publisher", Runner: publisher},
	}, nil
}

// resolvers are the addresses of the cluster's DNS, for the pods of this node.
func (n *node) resolvers() []string {
	if len(n.clusterDNS) > 0 {
		return slices.Clone(n.clusterDNS)
	}
	if !n.dns {
		return nil
	}
	svc := &corev1.Service{}
	if err := n.cache.Get(context.Background(), types.NamespacedName{Namespace: dns.ServiceNamespace, Name: dns.ServiceName}, svc); err == nil {
		if ip, err := netip.ParseAddr(svc.Spec.ClusterIP); err == nil {
			return []string{ip.String()}
		}
	}
	// It is not there yet, and will have the usual address.
	if ip := dnsAddress(netip.MustParsePrefix(n.serviceRange)); ip.IsValid() {
		return []string{ip.String()}
	}
	return nil
}
