package pluginhost

import (
	"fmt"
	"slices"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/runtime"
	"github.com/gantryio/gantry/interfaces/scheduler"
	"github.com/gantryio/gantry/interfaces/service"
)

// Runtime returns the runtime that serves a RuntimeClass handler; "" is the first one. A plugin's name goes first, then
// the handlers that are declared, then those that runtimes say they have, in the order of the plugins. Calls wait a
// bounded time while the plugin restarts, then fail with codes.Unavailable.
//
// The returned handler is what to pass on in RunPodSandbox: empty when the asked one named a plugin.
func (h *Host) Runtime(handler string) (rt *runtime.Client, ref Ref, inner string, err error) {
	for _, serves := range []func(*instance) bool{
		func(i *instance) bool { return handler == "" || handler == i.id.Name },
		func(i *instance) bool { return slices.Contains(i.plugin().Handlers, handler) },
		func(i *instance) bool { return slices.Contains(i.describe().Handlers, handler) },
	} {
		for _, i := range h.each() {
			if i.id.Kind != plugin.Runtime || !serves(i) {
				continue
			}
			if handler != i.id.Name {
				inner = handler
			}
			return runtime.NewClient(i.conn), i.ref(), inner, nil
		}
	}
	return nil, Ref{}, "", fmt.Errorf("find runtime for handler %q: %w", handler, plugin.ErrNotFound)
}

// Runtimes returns the names of the runtime plugins, the default first.
func (h *Host) Runtimes() []string {
	var names []string
	for _, i := range h.each() {
		if i.id.Kind == plugin.Runtime {
			names = append(names, i.id.Name)
		}
	}
	return names
}

// Network returns a network plugin; "" is the first one.
func (h *Host) Network(name string) (network.Network, Ref, error) {
	i, err := h.get(plugin.Network, name)
	if err != nil {
		return nil, Ref{}, err
	}
	return network.NewClient(i.conn), i.ref(), nil
}

// Service returns a service plugin; "" is the first one.
func (h *Host) Service(name string) (service.Proxy, Ref, error) {
	i, err := h.get(plugin.Service, name)
	if err != nil {
		return nil, Ref{}, err
	}
	return service.NewClient(i.conn), i.ref(), nil
}

// Judge returns a scheduler plugin; "" is the first one.
func (h *Host) Judge(name string) (scheduler.Judge, error) {
	i, err := h.get(plugin.Scheduler, name)
	if err != nil {
		return nil, err
	}
	return scheduler.NewClient(i.conn), nil
}

func (h *Host) get(kind plugin.Kind, name string) (*instance, error) {
	for _, i := range h.each() {
		if i.id.Kind == kind && (name == "" || i.id.Name == name) {
			return i, nil
		}
	}
	return nil, fmt.Errorf("find %s plugin %q: %w", kind, name, plugin.ErrNotFound)
}
