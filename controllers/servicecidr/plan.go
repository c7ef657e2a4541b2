package servicecidr

import (
	"net/netip"
	"slices"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api/networking"
)

const (
	// finalizer keeps a range as long as it has addresses that no other range has.
	finalizer = "networking.k8s.io/service-cidr-finalizer"
	// propagation is how long the other servers are given to learn that a range is being deleted.
	propagation = 10 * time.Second
	// grace is how old an address must be before it counts as left over: another server may be about to write its service.
	grace = time.Minute
)

const stillUsed = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"

// action is what a range needs.
type action struct {
	// protect adds the finalizer, release removes it.
	protect, release bool
	// condition is to be set unless it is nil.
	condition *metav1.Condition
	// after is when to look again, 0 for at the next event.
	after time.Duration
}

// plan decides about a range, by all ranges and the addresses that services have.
func plan(c *networkingv1.ServiceCIDR, all []networkingv1.ServiceCIDR, addresses []netip.Addr, now time.Time) action {
	protected := slices.Contains(c.Finalizers, finalizer)
	if c.DeletionTimestamp == nil {
		a := action{protect: !protected}
		if ready := networking.ReadyCondition(metav1.NewTime(now)); changes(c, ready) {
			a.condition = &ready
		}
		return a
	}
	switch left := propagation - now.Sub(c.DeletionTimestamp.Time); {
	case !protected:
		return action{}
	case orphans(c, all, addresses):
		waits := metav1.Condition{
			Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionFalse,
			Reason: networkingv1.ServiceCIDRReasonTerminating, Message: stillUsed, LastTransitionTime: metav1.NewTime(now),
		}
		if changes(c, waits) {
			return action{condition: &waits}
		}
		return action{}
	case left > 0:
		return action{after: left}
	}
	return action{release: true}
}

func changes(c *networkingv1.ServiceCIDR, want metav1.Condition) bool {
	have := meta.FindStatusCondition(c.Status.Conditions, want.Type)
	return have == nil || have.Status != want.Status || have.Reason != want.Reason || have.Message != want.Message
}

// orphans tells that without the range some address would be in none.
func orphans(c *networkingv1.ServiceCIDR, all []networkingv1.ServiceCIDR, addresses []netip.Addr) bool {
	var others []netip.Prefix
	for i := range all {
		if all[i].Name != c.Name {
			others = append(others, networking.Prefixes(&all[i])...)
		}
	}
	within := func(list []netip.Prefix, address netip.Addr) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(address) })
	}
	own := networking.Prefixes(c)
	return slices.ContainsFunc(addresses, func(a netip.Addr) bool { return within(own, a) && !within(others, a) })
}
