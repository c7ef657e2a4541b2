package attach

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// request is what the shim sends: CNI's environment variables and configuration.
type request struct {
	Command     string          `json:"command"`
	ContainerID string          `json:"containerID"`
	NetNS       string          `json:"netns"`
	IfName      string          `json:"ifName"`
	Args        string          `json:"args"`
	Config      json.RawMessage `json:"config"`
}

// response is what the shim prints: CNI's result or CNI's error.
type response struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *cniError       `json:"error,omitempty"`
}

type cniError struct {
	Version string `json:"cniVersion"`
	Code    int    `json:"code"`
	Message string `json:"msg"`
	Details string `json:"details,omitempty"`
}

// The codes of the CNI specification, section "Error".
const (
	codeEnvironment = 4
	codeDecode      = 6
	codeConfig      = 7
	codeTryLater    = 11
	codeUnavailable = 50
	codeOther       = 999
)

const defaultVersion = "1.1.0"

func code(err error) int {
	switch {
	case errors.Is(err, plugin.ErrInvalid):
		return codeConfig
	case errors.Is(err, plugin.ErrUnavailable):
		return codeTryLater
	}
	return codeOther
}

func refuse(code int, err error) response {
	return response{Error: &cniError{Version: defaultVersion, Code: code, Message: "network", Details: err.Error()}}
}

// config is what of the network configuration matters here. RuntimeConfig is filled in by the runtime,
// by the conventions of CNI's CONVENTIONS.md.
type config struct {
	CNIVersion    string `json:"cniVersion"`
	RuntimeConfig struct {
		PortMappings []struct {
			HostPort      uint16 `json:"hostPort"`
			ContainerPort uint16 `json:"containerPort"`
			Protocol      string `json:"protocol"`
			HostIP        string `json:"hostIP"`
		} `json:"portMappings"`
		Bandwidth struct {
			IngressRate int64 `json:"ingressRate"`
			EgressRate  int64 `json:"egressRate"`
		} `json:"bandwidth"`
	} `json:"runtimeConfig"`
}

// sandbox reads whose call it is.
func (r request) sandbox() (network.Sandbox, error) {
	s := network.Sandbox{ID: r.ContainerID, NetNS: r.NetNS}
	if s.ID == "" || s.NetNS == "" {
		return s, fmt.Errorf("read request: no container ID or no network namespace: %w", plugin.ErrInvalid)
	}
	for _, arg := range strings.Split(r.Args, ";") {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "K8S_POD_NAMESPACE":
			s.PodNamespace = value
		case "K8S_POD_NAME":
			s.PodName = value
		case "K8S_POD_UID":
			s.PodUID = value
		}
	}
	var c config
	if err := json.Unmarshal(r.Config, &c); err != nil {
		return s, fmt.Errorf("read request: %w: %w", err, plugin.ErrInvalid)
	}
	s.IngressBits, s.EgressBits = c.RuntimeConfig.Bandwidth.IngressRate, c.RuntimeConfig.Bandwidth.EgressRate
	for _, p := range c.RuntimeConfig.PortMappings {
		if p.HostPort == 0 {
			continue
		}
		port := network.HostPort{HostPort: p.HostPort, ContainerPort: p.ContainerPort, Protocol: strings.ToUpper(p.Protocol)}
		if p.HostIP != "" {
			ip, err := netip.ParseAddr(p.HostIP)
			if err != nil {
				return s, fmt.Errorf("read request: %w: %w", err, plugin.ErrInvalid)
			}
			port.HostIP = ip
		}
		s.HostPorts = append(s.HostPorts, port)
	}
	return s, nil
}

type object = map[string]any

// result writes an attachment as a CNI result (CNI specification, "ADD Success").
func result(r request, a network.Attachment) response {
	var c config
	_ = json.Unmarshal(r.Config, &c)
	if c.CNIVersion == "" {
		c.CNIVersion = defaultVersion
	}
	out := object{"cniVersion": c.CNIVersion}
	interfaces, ips, routes := []object{}, []object{}, []object{}
	for _, i := range a.Interfaces {
		o := object{"name": i.Name, "mac": i.MAC}
		if i.NetNS != "" {
			o["sandbox"] = i.NetNS
		}
		interfaces = append(interfaces, o)
	}
	for _, d := range a.Addresses {
		o := object{"address": d.Prefix.String()}
		if d.Gateway.IsValid() {
			o["gateway"] = d.Gateway.String()
		}
		if d.Interface >= 0 && d.Interface < len(a.Interfaces) {
			o["interface"] = d.Interface
		}
		ips = append(ips, o)
	}
	for _, route := range a.Routes {
		o := object{"dst": route.Destination.String()}
		if route.Gateway.IsValid() {
			o["gw"] = route.Gateway.String()
		}
		routes = append(routes, o)
	}
	out["interfaces"], out["ips"], out["routes"] = interfaces, ips, routes
	dns := object{}
	if len(a.Nameservers) > 0 {
		servers := []string{}
		for _, n := range a.Nameservers {
			servers = append(servers, n.String())
		}
		dns["nameservers"] = servers
	}
	out["dns"] = dns
	raw, err := json.Marshal(out)
	if err != nil {
		return refuse(codeOther, err)
	}
	return response{Result: raw}
}
