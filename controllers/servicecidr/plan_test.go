package servicecidr

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api/networking"
)

func TestPlan(t *testing.T) {
	now := time.Unix(1000, 0)
	deleted := func(ago time.Duration) func(*networkingv1.ServiceCIDR) {
		return func(c *networkingv1.ServiceCIDR) { c.DeletionTimestamp = new(metav1.NewTime(now.Add(-ago))) }
	}
	ready := networking.ReadyCondition(metav1.NewTime(now))
	waits := metav1.Condition{Type: "Ready", Status: "False", Reason: "Terminating", Message: stillUsed, LastTransitionTime: metav1.NewTime(now)}
	inside, outside := netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.1.7")
	wider := networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "wider"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.0.0.0/16"}}}
	for _, test := range []struct {
		name      string
		set       []func(*networkingv1.ServiceCIDR)
		others    []networkingv1.ServiceCIDR
		addresses []netip.Addr
		want      action
	}{
		{"new", []func(*networkingv1.ServiceCIDR){func(c *networkingv1.ServiceCIDR) { c.Finalizers = nil }}, nil, nil, action{protect: true, condition: &ready}},
		{"settled", []func(*networkingv1.ServiceCIDR){func(c *networkingv1.ServiceCIDR) { meta.SetStatusCondition(&c.Status.Conditions, ready) }}, nil, nil, action{}},
		{"deleted and used", []func(*networkingv1.ServiceCIDR){deleted(time.Hour)}, nil, []netip.Addr{outside, inside}, action{condition: &waits}},
		{"deleted, used, and told", []func(*networkingv1.ServiceCIDR){deleted(time.Hour), func(c *networkingv1.ServiceCIDR) { c.Status.Conditions = []metav1.Condition{waits} }}, nil, []netip.Addr{inside}, action{}},
		{"deleted inside a wider one", []func(*networkingv1.ServiceCIDR){deleted(time.Hour)}, []networkingv1.ServiceCIDR{wider}, []netip.Addr{inside}, action{release: true}},
		{"just deleted", []func(*networkingv1.ServiceCIDR){deleted(4 * time.Second)}, nil, []netip.Addr{outside}, action{after: 6 * time.Second}},
		{"released", []func(*networkingv1.ServiceCIDR){deleted(time.Hour), func(c *networkingv1.ServiceCIDR) { c.Finalizers = []string{"other"} }}, nil, nil, action{}},
	} {
		c := networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "c", Finalizers: []string{finalizer}}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.0.0.0/24"}}}
		for _, set := range test.set {
			set(&c)
		}
		got := plan(&c, append(test.others, c), test.addresses, now)
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(action{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
