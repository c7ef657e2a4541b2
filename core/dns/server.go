// Package dns is the cluster's DNS: it answers for the names of Services, endpoints and pods what the caches know, as
// "Kubernetes DNS-Based Service Discovery" 1.1.0 says, and asks the node's own resolvers for all other names.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/netutil"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// ServiceNamespace and ServiceName are where clients of the API look for the cluster's DNS.
const (
	ServiceNamespace = "kube-system"
	ServiceName      = "kube-dns"
)

const (
	// connections is how many there may be over TCP.
	connections = 512
	// stopPatience is how long answers may take that are under way when the server stops.
	stopPatience = 500 * time.Millisecond
)

// Server answers on both of its sockets, which it closes in the end. Its fields are set before Run; all are needed but
// Pods and Now.
type Server struct {
	// Cache has the Services, EndpointSlices, Namespaces and Nodes and tells of their changes.
	Cache cache.Cache
	// Domain is the cluster's, without a dot at its end.
	Domain string
	// Address is at which others reach the sockets.
	Address netip.AddrPort
	UDP     net.PacketConn
	TCP     net.Listener
	// ResolvConf is the path of the file that names the node's own resolvers (resolv.conf(5)).
	ResolvConf string
	// Pods are the ranges of the pods' addresses. Besides those, private addresses and those of nodes are answered.
	Pods []netip.Prefix
	// Now is time.Now unless set.
	Now func() time.Time

	index   *Index
	forward *forwarder
	ready   chan struct{}
}

var _ dns.Handler = (*Server)(nil)

// Init makes what Run and Ready need. It is called once, before either.
func (s *Server) Init() {
	if s.Now == nil {
		s.Now = time.Now
	}
	s.ready = make(chan struct{})
	s.index = NewIndex(s.Domain, s.Now, s.Address.Addr())
	s.forward = newForwarder(s.ResolvConf, s.own, s.Now)
}

// Ready is closed when the server answers.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// own tells addresses at which this server would ask itself.
func (s *Server) own(a netip.AddrPort) bool {
	return a == s.Address || s.index.isClusterIP(a.Addr())
}

// Run answers until ctx ends. What comes before the caches are there waits in the sockets.
func (s *Server) Run(ctx context.Context) error {
	defer s.UDP.Close()
	defer s.TCP.Close()
	if err := s.index.Follow(ctx, s.Cache); err != nil {
		return err
	}
	udp := &dns.Server{PacketConn: s.UDP, Handler: s, UDPSize: safeSize}
	tcp := &dns.Server{Listener: netutil.LimitListener(s.TCP, connections), Handler: s}
	failed := make(chan error, 2)
	for _, one := range []*dns.Server{udp, tcp} {
		started := make(chan struct{})
		one.NotifyStartedFunc = func() { close(started) }
		go func() { failed <- one.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-failed:
			return fmt.Errorf("serve DNS: %w", err)
		}
	}
	close(s.ready)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serve DNS: %w", err)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	for _, one := range []*dns.Server{udp, tcp} {
		if down := one.ShutdownContext(grace); down != nil && !errors.Is(down, context.DeadlineExceeded) && err == nil {
			err = down
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// ServeDNS implements dns.Handler. What goes wrong with one question must not end the process, which is more than DNS.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	defer func() {
		if problem := recover(); problem != nil {
			slog.Error("a question to the cluster's DNS has failed", "question", q.Question, "problem", problem, "stack", string(debug.Stack()))
		}
	}()
	began := s.Now()
	protocol, from := "tcp", w.RemoteAddr()
	if _, ok := from.(*net.UDPAddr); ok {
		protocol = "udp"
	}
	m, source := s.reply(protocol, addressOf(from), q)
	if m == nil {
		return
	}
	observe(protocol, source, q, m, s.Now().Sub(began))
	_ = w.WriteMsg(m) // who does not take it asks again
}

func addressOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// shared are the addresses between a provider and its clients (RFC 6598), which are nobody's in particular.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// mayAsk tells who is answered: a node with a public address must not resolve names for the world.
func (s *Server) mayAsk(from netip.Addr) bool {
	if from.IsPrivate() || from.IsLoopback() || from.IsLinkLocalUnicast() || shared.Contains(from) {
		return true
	}
	for _, p := range s.Pods {
		if p.Contains(from) {
			return true
		}
	}
	return from == s.Address.Addr() || s.index.isNode(from)
}
