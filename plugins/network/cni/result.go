package cni

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// translate gives CNI's errors (CNI specification, "Error") our meaning.
func translate(err error) error {
	var e *types.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case types.ErrTryAgainLater:
		return fmt.Errorf("%w: %w", err, plugin.ErrUnavailable)
	case types.ErrInvalidNetworkConfig, types.ErrInvalidEnvironmentVariables, types.ErrIncompatibleCNIVersion:
		return fmt.Errorf("%w: %w", err, plugin.ErrInvalid)
	}
	return err
}

func attachment(result types.Result) (network.Attachment, error) {
	r, err := types100.NewResultFromResult(result)
	if err != nil {
		return network.Attachment{}, fmt.Errorf("read CNI result: %w", err)
	}
	var a network.Attachment
	for _, i := range r.Interfaces {
		a.Interfaces = append(a.Interfaces, network.Interface{Name: i.Name, MAC: i.Mac, NetNS: i.Sandbox})
	}
	for _, ip := range r.IPs {
		addr, _ := netip.AddrFromSlice(ip.Address.IP)
		ones, _ := ip.Address.Mask.Size()
		d := network.Address{Prefix: netip.PrefixFrom(addr.Unmap(), ones), Interface: -1}
		if gateway, ok := netip.AddrFromSlice(ip.Gateway); ok {
			d.Gateway = gateway.Unmap()
		}
		if ip.Interface != nil {
			d.Interface = *ip.Interface
		}
		a.Addresses = append(a.Addresses, d)
	}
	for _, route := range r.Routes {
		addr, _ := netip.AddrFromSlice(route.Dst.IP)
		ones, _ := route.Dst.Mask.Size()
		out := network.Route{Destination: netip.PrefixFrom(addr.Unmap(), ones)}
		if gateway, ok := netip.AddrFromSlice(route.GW); ok {
			out.Gateway = gateway.Unmap()
		}
		a.Routes = append(a.Routes, out)
	}
	for _, text := range r.DNS.Nameservers {
		if addr, err := netip.ParseAddr(text); err == nil {
			a.Nameservers = append(a.Nameservers, addr)
		}
	}
	return a, nil
}
