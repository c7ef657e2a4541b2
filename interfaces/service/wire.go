package service

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/grpc"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/service/proto"
)

// Register serves a proxy.
func Register(r grpc.ServiceRegistrar, p Proxy) {
	proto.RegisterProxyServer(r, &server{impl: p})
}

// Client is a proxy behind a connection.
type Client struct{ wire proto.ProxyClient }

var (
	_ Proxy  = (*Client)(nil)
	_ Affine = (*Client)(nil)
)

// NewClient returns the proxy at the other end of a connection.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{wire: proto.NewProxyClient(conn)}
}

// Sync implements Proxy.
func (c *Client) Sync(ctx context.Context, s Snapshot) error {
	_, err := c.wire.Sync(ctx, &proto.SyncRequest{Snapshot: toWire(s)})
	return plugin.FromStatus(err)
}

// Affinities implements Affine. A proxy without that power returns plugin.ErrUnsupported.
func (c *Client) Affinities(ctx context.Context) ([]Affinity, error) {
	res, err := c.wire.Affinities(ctx, &proto.AffinitiesRequest{})
	if err != nil {
		return nil, plugin.FromStatus(err)
	}
	p := parser{}
	return p.affinities(res.GetAffinities()), p.err
}

type server struct {
	proto.UnimplementedProxyServer
	impl Proxy
}

func (s *server) Sync(ctx context.Context, in *proto.SyncRequest) (*proto.SyncResponse, error) {
	snap, err := fromWire(in.GetSnapshot())
	if err == nil {
		err = s.impl.Sync(ctx, snap)
	}
	return &proto.SyncResponse{}, plugin.ToStatus(err)
}

func (s *server) Affinities(ctx context.Context, _ *proto.AffinitiesRequest) (*proto.AffinitiesResponse, error) {
	affine, ok := s.impl.(Affine)
	if !ok {
		return nil, plugin.ToStatus(plugin.ErrUnsupported)
	}
	all, err := affine.Affinities(ctx)
	return &proto.AffinitiesResponse{Affinities: affinitiesToWire(all)}, plugin.ToStatus(err)
}

func affinitiesToWire(all []Affinity) []*proto.Affinity {
	var out []*proto.Affinity
	for _, a := range all {
		out = append(out, &proto.Affinity{
			Namespace: a.Namespace, Name: a.Name, Port: a.Port, Protocol: a.Protocol, Client: a.Client.String(),
			Endpoint:         &proto.Endpoint{Address: a.Endpoint.Addr().String(), Port: uint32(a.Endpoint.Port())},
			LeftMilliseconds: a.Left.Milliseconds(),
		})
	}
	return out
}

func toWire(s Snapshot) *proto.Snapshot {
	w := &proto.Snapshot{NodeAddresses: texts(s.NodeAddresses), Affinities: affinitiesToWire(s.Affinities)}
	for _, p := range s.PodCIDRs {
		w.PodCidrs = append(w.PodCidrs, p.String())
	}
	for _, svc := range s.Services {
		w.Services = append(w.Services, serviceToWire(svc))
	}
	return w
}

func serviceToWire(s Service) *proto.Service {
	w := &proto.Service{
		Namespace: s.Namespace, Name: s.Name,
		ClusterIps: texts(s.ClusterIPs), ExternalIps: texts(s.ExternalIPs),
		AffinitySeconds: s.AffinitySeconds, InternalLocal: s.InternalLocal, ExternalLocal: s.ExternalLocal,
	}
	for _, p := range s.Ports {
		wp := &proto.Port{Name: p.Name, Protocol: p.Protocol, Port: uint32(p.Port), NodePort: uint32(p.NodePort)}
		for _, e := range p.Endpoints {
			wp.Endpoints = append(wp.Endpoints, &proto.Endpoint{
				Address: e.Address.String(), Port: uint32(e.Port), Local: e.Local,
			})
		}
		w.Ports = append(w.Ports, wp)
	}
	return w
}

func fromWire(w *proto.Snapshot) (Snapshot, error) {
	p := parser{}
	s := Snapshot{NodeAddresses: p.addrs(w.GetNodeAddresses()), Affinities: p.affinities(w.GetAffinities())}
	for _, c := range w.GetPodCidrs() {
		prefix, err := netip.ParsePrefix(c)
		p.keep(err)
		s.PodCIDRs = append(s.PodCIDRs, prefix)
	}
	for _, svc := range w.GetServices() {
		s.Services = append(s.Services, p.service(svc))
	}
	return s, p.err
}

func texts(in []netip.Addr) []string {
	var out []string
	for _, a := range in {
		out = append(out, a.String())
	}
	return out
}

// parser reads addresses and keeps the first error.
type parser struct{ err error }

func (p *parser) service(w *proto.Service) Service {
	s := Service{
		Namespace: w.GetNamespace(), Name: w.GetName(),
		ClusterIPs: p.addrs(w.GetClusterIps()), ExternalIPs: p.addrs(w.GetExternalIps()),
		AffinitySeconds: w.GetAffinitySeconds(), InternalLocal: w.GetInternalLocal(), ExternalLocal: w.GetExternalLocal(),
	}
	for _, wp := range w.GetPorts() {
		port := Port{
			Name: wp.GetName(), Protocol: wp.GetProtocol(), Port: uint16(wp.GetPort()), NodePort: uint16(wp.GetNodePort()),
		}
		for _, e := range wp.GetEndpoints() {
			port.Endpoints = append(port.Endpoints, Endpoint{
				Address: p.addr(e.GetAddress()), Port: uint16(e.GetPort()), Local: e.GetLocal(),
			})
		}
		s.Ports = append(s.Ports, port)
	}
	return s
}

func (p *parser) affinities(in []*proto.Affinity) []Affinity {
	var out []Affinity
	for _, w := range in {
		out = append(out, Affinity{
			Namespace: w.GetNamespace(), Name: w.GetName(), Port: w.GetPort(), Protocol: w.GetProtocol(), Client: p.addr(w.GetClient()),
			Endpoint: netip.AddrPortFrom(p.addr(w.GetEndpoint().GetAddress()), uint16(w.GetEndpoint().GetPort())),
			Left:     time.Duration(w.GetLeftMilliseconds()) * time.Millisecond,
		})
	}
	return out
}

func (p *parser) addrs(in []string) []netip.Addr {
	var out []netip.Addr
	for _, s := range in {
		out = append(out, p.addr(s))
	}
	return out
}

func (p *parser) addr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	p.keep(err)
	return a
}

func (p *parser) keep(err error) {
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("read address: %w: %w", err, plugin.ErrInvalid)
	}
}
