package attach

import (
	"net/netip"

	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/interfaces/service"
)

// HostPorts returns the host ports of all attached sandboxes in the form that service plugins route, the
// oldest sandbox first.
func (s *Server) HostPorts() []service.Service {
	var out []service.Service
	for _, e := range s.Ledger.List() {
		if e.Attachment == nil {
			continue
		}
		for _, p := range e.Sandbox.HostPorts {
			// The traffic policy "Local" lets the pod see its clients' addresses.
			one := service.Service{Namespace: e.Sandbox.PodNamespace, Name: "host-port/" + e.Sandbox.ID, ExternalLocal: true}
			port := service.Port{Protocol: p.Protocol, Port: p.HostPort}
			if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
				one.ExternalIPs = []netip.Addr{p.HostIP}
			} else {
				port.NodePort = p.HostPort
			}
			for _, a := range e.Attachment.Addresses {
				port.Endpoints = append(port.Endpoints, service.Endpoint{Address: a.Prefix.Addr(), Port: p.ContainerPort, Local: true})
			}
			one.Ports = []service.Port{port}
			out = append(out, one)
		}
	}
	return out
}

func (s *Server) hostPortsChanged(e ledger.Entry) {
	if s.HostPortsChanged != nil && len(e.Sandbox.HostPorts) > 0 {
		s.HostPortsChanged()
	}
}
