package network

import (
	"context"
	"fmt"
	"net/netip"

	"google.golang.org/grpc"

	"github.com/gantryio/gantry/interfaces/network/proto"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Register serves a network.
func Register(r grpc.ServiceRegistrar, n Network) {
	proto.RegisterNetworkServer(r, &server{impl: n})
}

// Client is a network behind a connection.
type Client struct{ wire proto.NetworkClient }

var _ Network = (*Client)(nil)

// NewClient returns the network at the other end of a connection.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{wire: proto.NewNetworkClient(conn)}
}

// Attach implements Network.
func (c *Client) Attach(ctx context.Context, s Sandbox) (Attachment, error) {
	res, err := c.wire.Attach(ctx, &proto.AttachRequest{Sandbox: sandboxToWire(s)})
	if err != nil {
		return Attachment{}, plugin.FromStatus(err)
	}
	return attachmentFromWire(res.GetAttachment())
}

// Detach implements Network.
func (c *Client) Detach(ctx context.Context, s Sandbox) error {
	_, err := c.wire.Detach(ctx, &proto.DetachRequest{Sandbox: sandboxToWire(s)})
	return plugin.FromStatus(err)
}

// Check implements Network.
func (c *Client) Check(ctx context.Context, s Sandbox) error {
	_, err := c.wire.Check(ctx, &proto.CheckRequest{Sandbox: sandboxToWire(s)})
	return plugin.FromStatus(err)
}

// Status implements Network.
func (c *Client) Status(ctx context.Context) error {
	_, err := c.wire.Status(ctx, &proto.StatusRequest{})
	return plugin.FromStatus(err)
}

// List implements Network.
func (c *Client) List(ctx context.Context) ([]string, error) {
	res, err := c.wire.List(ctx, &proto.ListRequest{})
	return res.GetSandboxIds(), plugin.FromStatus(err)
}

type server struct {
	proto.UnimplementedNetworkServer
	impl Network
}

func (s *server) Attach(ctx context.Context, in *proto.AttachRequest) (*proto.AttachResponse, error) {
	sandbox, err := sandboxFromWire(in.GetSandbox())
	if err != nil {
		return nil, plugin.ToStatus(err)
	}
	a, err := s.impl.Attach(ctx, sandbox)
	if err != nil {
		return nil, plugin.ToStatus(err)
	}
	return &proto.AttachResponse{Attachment: attachmentToWire(a)}, nil
}

func (s *server) Detach(ctx context.Context, in *proto.DetachRequest) (*proto.DetachResponse, error) {
	sandbox, err := sandboxFromWire(in.GetSandbox())
	if err == nil {
		err = s.impl.Detach(ctx, sandbox)
	}
	return &proto.DetachResponse{}, plugin.ToStatus(err)
}

func (s *server) Check(ctx context.Context, in *proto.CheckRequest) (*proto.CheckResponse, error) {
	sandbox, err := sandboxFromWire(in.GetSandbox())
	if err == nil {
		err = s.impl.Check(ctx, sandbox)
	}
	return &proto.CheckResponse{}, plugin.ToStatus(err)
}

func (s *server) Status(ctx context.Context, _ *proto.StatusRequest) (*proto.StatusResponse, error) {
	return &proto.StatusResponse{}, plugin.ToStatus(s.impl.Status(ctx))
}

func (s *server) List(ctx context.Context, _ *proto.ListRequest) (*proto.ListResponse, error) {
	ids, err := s.impl.List(ctx)
	return &proto.ListResponse{SandboxIds: ids}, plugin.ToStatus(err)
}

func sandboxToWire(s Sandbox) *proto.Sandbox {
	w := &proto.Sandbox{
		Id: s.ID, Netns: s.NetNS, PodNamespace: s.PodNamespace, PodName: s.PodName, PodUid: s.PodUID,
		Interface: s.Interface, Mac: s.MAC, IngressBits: s.IngressBits, EgressBits: s.EgressBits,
	}
	for _, p := range s.PodCIDRs {
		w.PodCidrs = append(w.PodCidrs, p.String())
	}
	for _, ip := range s.IPs {
		w.Ips = append(w.Ips, ip.String())
	}
	for _, p := range s.HostPorts {
		w.HostPorts = append(w.HostPorts, &proto.HostPort{
			HostIp: text(p.HostIP), HostPort: uint32(p.HostPort),
			ContainerPort: uint32(p.ContainerPort), Protocol: p.Protocol,
		})
	}
	return w
}

func sandboxFromWire(w *proto.Sandbox) (Sandbox, error) {
	p := parser{}
	s := Sandbox{
		ID: w.GetId(), NetNS: w.GetNetns(), PodNamespace: w.GetPodNamespace(), PodName: w.GetPodName(),
		PodUID: w.GetPodUid(), Interface: w.GetInterface(), MAC: w.GetMac(), IngressBits: w.GetIngressBits(), EgressBits: w.GetEgressBits(),
	}
	if s.ID == "" {
		return s, fmt.Errorf("read sandbox: no ID: %w", plugin.ErrInvalid)
	}
	for _, c := range w.GetPodCidrs() {
		s.PodCIDRs = append(s.PodCIDRs, p.prefix(c))
	}
	for _, ip := range w.GetIps() {
		s.IPs = append(s.IPs, p.addr(ip))
	}
	for _, h := range w.GetHostPorts() {
		s.HostPorts = append(s.HostPorts, HostPort{
			HostIP: p.addr(h.GetHostIp()), HostPort: uint16(h.GetHostPort()),
			ContainerPort: uint16(h.GetContainerPort()), Protocol: h.GetProtocol(),
		})
	}
	return s, p.err
}

func attachmentToWire(a Attachment) *proto.Attachment {
	w := &proto.Attachment{}
	for _, i := range a.Interfaces {
		w.Interfaces = append(w.Interfaces, &proto.Interface{Name: i.Name, Mac: i.MAC, Netns: i.NetNS})
	}
	for _, d := range a.Addresses {
		w.Addresses = append(w.Addresses, &proto.Address{
			Prefix: d.Prefix.String(), Gateway: text(d.Gateway), Interface: int32(d.Interface),
		})
	}
	for _, r := range a.Routes {
		w.Routes = append(w.Routes, &proto.Route{Destination: r.Destination.String(), Gateway: text(r.Gateway)})
	}
	for _, n := range a.Nameservers {
		w.Nameservers = append(w.Nameservers, text(n))
	}
	return w
}

func attachmentFromWire(w *proto.Attachment) (Attachment, error) {
	var a Attachment
	p := parser{}
	for _, i := range w.GetInterfaces() {
		a.Interfaces = append(a.Interfaces, Interface{Name: i.GetName(), MAC: i.GetMac(), NetNS: i.GetNetns()})
	}
	for _, d := range w.GetAddresses() {
		a.Addresses = append(a.Addresses, Address{
			Prefix: p.prefix(d.GetPrefix()), Gateway: p.addr(d.GetGateway()), Interface: int(d.GetInterface()),
		})
	}
	for _, r := range w.GetRoutes() {
		a.Routes = append(a.Routes, Route{Destination: p.prefix(r.GetDestination()), Gateway: p.addr(r.GetGateway())})
	}
	for _, n := range w.GetNameservers() {
		a.Nameservers = append(a.Nameservers, p.addr(n))
	}
	return a, p.err
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// parser reads addresses and keeps the first error.
type parser struct{ err error }

func (p *parser) addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	p.keep(err)
	return a
}

func (p *parser) prefix(s string) netip.Prefix {
	a, err := netip.ParsePrefix(s)
	p.keep(err)
	return a
}

func (p *parser) keep(err error) {
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("read address: %w: %w", err, plugin.ErrInvalid)
	}
}
