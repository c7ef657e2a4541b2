package networking

import (
	"encoding/binary"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// DefaultServiceCIDR is the name of the range that the cluster began with.
	DefaultServiceCIDR = "kubernetes"
	// AllocatedBy is the value of the label ipaddress.kubernetes.io/managed-by of addresses that services have.
	AllocatedBy = "ipallocator.k8s.io"
)

// Ready tells that services may get addresses of the range.
func Ready(c *networkingv1.ServiceCIDR) bool {
	return c.DeletionTimestamp == nil && meta.IsStatusConditionTrue(c.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
}

// ReadyCondition is the condition of a range that services may get addresses of.
func ReadyCondition(now metav1.Time) metav1.Condition {
	return metav1.Condition{
		Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue,
		Message: "Kubernetes Service CIDR is ready", LastTransitionTime: now,
	}
}

// Prefixes are the ranges of a ServiceCIDR.
func Prefixes(c *networkingv1.ServiceCIDR) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range c.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// NewAddress is the object of an address that a service has.
func NewAddress(address string, svc *corev1.Service) *networkingv1.IPAddress {
	family := corev1.IPv4Protocol
	if a, err := netip.ParseAddr(address); err == nil && !a.Is4() {
		family = corev1.IPv6Protocol
	}
	return &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: address, Labels: map[string]string{
			networkingv1.LabelIPAddressFamily: string(family), networkingv1.LabelManagedBy: AllocatedBy,
		}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: svc.Namespace, Name: svc.Name}},
	}
}

// BelongsTo tells that the address is the service's.
func BelongsTo(a *networkingv1.IPAddress, svc *corev1.Service) bool {
	r := a.Spec.ParentRef
	return r != nil && r.Group == "" && r.Resource == "services" && r.Namespace == svc.Namespace && r.Name == svc.Name
}

// Number is the address as a number; of IPv6 addresses, the lower half.
func Number(a netip.Addr) uint64 {
	if a.Is4() {
		four := a.As4()
		return uint64(binary.BigEndian.Uint32(four[:]))
	}
	sixteen := a.As16()
	return binary.BigEndian.Uint64(sixteen[8:])
}

// Size is how many addresses a range has, at most 2 to the power of 63.
func Size(p netip.Prefix) uint64 { return 1 << min(p.Addr().BitLen()-p.Bits(), 63) }

// Nth is an address of a range, counted from its first.
func Nth(p netip.Prefix, n uint64) netip.Addr {
	if p.Addr().Is4() {
		var four [4]byte
		binary.BigEndian.PutUint32(four[:], uint32(Number(p.Addr())+n))
		return netip.AddrFrom4(four)
	}
	sixteen := p.Addr().As16()
	binary.BigEndian.PutUint64(sixteen[8:], Number(p.Addr())+n)
	return netip.AddrFrom16(sixteen)
}
