package main

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/apiwatch"
	"github.com/gantryio/gantry/core/agent/guard"
	"github.com/gantryio/gantry/core/api/networking"
)

// guardRanges keeps the guards of the node those of all service ranges, which may come and go. The range that the node was
// started with always has one.
func (n *node) guardRanges(ctx context.Context) error {
	apiwatch.Run(ctx, apiwatch.Source{
		API: n.api, Name: "servicecidrs", Object: &networkingv1.ServiceCIDR{},
		List: func() ctrlclient.ObjectList { return &networkingv1.ServiceCIDRList{} },
	}, &serviceRanges{
		first: netip.MustParsePrefix(n.serviceRange).Masked(),
		install: func(services []netip.Prefix) error {
			return guard.Install([]netip.Prefix{netip.MustParsePrefix(n.podRange)}, services)
		},
	})
	return ctx.Err()
}

// serviceRanges are the ranges of the API's ServiceCIDRs.
type serviceRanges struct {
	first   netip.Prefix
	install func(services []netip.Prefix) error

	byName    map[string][]netip.Prefix
	installed []netip.Prefix
}

var _ apiwatch.Handler = (*serviceRanges)(nil)

// Replace implements apiwatch.Handler.
func (s *serviceRanges) Replace(objs []ctrlclient.Object) {
	s.byName = map[string][]netip.Prefix{}
	for _, obj := range objs {
		s.note(obj)
	}
	s.apply()
}

// Put implements apiwatch.Handler.
func (s *serviceRanges) Put(obj ctrlclient.Object) {
	s.note(obj)
	s.apply()
}

// Remove implements apiwatch.Handler.
func (s *serviceRanges) Remove(obj ctrlclient.Object) {
	delete(s.byName, obj.GetName())
	s.apply()
}

func (s *serviceRanges) note(obj ctrlclient.Object) {
	s.byName[obj.GetName()] = networking.Prefixes(obj.(*networkingv1.ServiceCIDR))
}

func (s *serviceRanges) apply() {
	all := map[netip.Prefix]bool{s.first: true}
	for _, list := range s.byName {
		for _, p := range list {
			all[p] = true
		}
	}
	want := slices.SortedFunc(maps.Keys(all), netip.Prefix.Compare)
	if slices.Equal(want, s.installed) {
		return
	}
	if err := s.install(want); err != nil {
		slog.Warn("cannot guard the service ranges", "ranges", want, "err", err)
		return // the next event tries again
	}
	s.installed = want
}
