package publish

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gantryio/gantry/core/dns"
)

const (
	// manager is who writes the slices, and who made the Service.
	manager       = "dns.gantry.dev"
	managedLabel  = "app.kubernetes.io/managed-by"
	clusterPort   = 53
	leaseDuration = 15 * time.Second
	renewal       = 5 * time.Second
)

// self is the server that publishes itself.
type self struct {
	address netip.AddrPort
	node    string
	// alone means that there is no other server, and that what others have left is to go.
	alone bool
}

// name is that of the server's slice and lease: no two servers have the same address.
func (s self) name() string {
	ip := strings.NewReplacer(".", "-", ":", "-", "%", "-").Replace(s.address.Addr().String())
	return dns.ServiceName + "-" + ip + "-" + strconv.Itoa(int(s.address.Port()))
}

// state is what there is, and since when leases were seen as they are: clocks of other machines are not compared.
type state struct {
	service *corev1.Service
	slices  []*discoveryv1.EndpointSlice
	leases  map[string]*coordinationv1.Lease
	seen    map[string]time.Time
	// renewed is when the server's own lease was last written.
	renewed time.Time
}

// actions are done in the order of their fields.
type actions struct {
	create, update *corev1.Service
	renew          bool
	put            *discoveryv1.EndpointSlice
	removeSlices   []*discoveryv1.EndpointSlice
	removeLeases   []string
	// foreign tells that the Service is somebody else's.
	foreign bool
	// wake is when to look again though nothing happens, never when zero.
	wake time.Duration
}

// plan says what to do so that clients are led to all servers that live, and to no other.
func plan(me self, have state, now time.Time) actions {
	if have.service == nil {
		return actions{create: service(me.address.Port())}
	}
	var a actions
	if !ours(have.service) {
		a.foreign = true
		for _, s := range have.slices {
			if s.Name == me.name() {
				a.removeSlices = append(a.removeSlices, s)
			}
		}
		return a
	}
	a.update = repaired(have.service, me.address.Port())
	if !me.alone {
		left := renewal - now.Sub(have.renewed)
		if a.renew = left <= 0; a.renew {
			left = renewal
		}
		a.wake = left
	}
	a.put = endpoint(me, have.service)
	for _, s := range have.slices {
		switch {
		case s.Name == me.name():
			if same(s, a.put) {
				a.put = nil
			} else {
				a.put.ResourceVersion = s.ResourceVersion
			}
		case me.alone:
			a.removeSlices = append(a.removeSlices, s)
		default:
			left := time.Duration(0)
			if have.leases[s.Name] != nil {
				left = leaseDuration - now.Sub(have.seen[s.Name])
			}
			if left > 0 {
				a.wake = min(a.wake, left)
			} else {
				a.removeSlices = append(a.removeSlices, s)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have.leases)) {
		if gone := now.Sub(have.seen[name]) >= leaseDuration; name != me.name() && (gone || me.alone) {
			a.removeLeases = append(a.removeLeases, name)
		}
	}
	return a
}

// ours tells that this package made the Service.
func ours(s *corev1.Service) bool {
	return s.Labels[managedLabel] == manager && len(s.Spec.Selector) == 0
}

// service is what users of Kubernetes look for. Its address is chosen by whoever makes it.
func service(port uint16) *corev1.Service {
	target := intstr.FromInt32(int32(port))
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: dns.ServiceNamespace, Name: dns.ServiceName,
			Labels: map[string]string{"k8s-app": dns.ServiceName, "kubernetes.io/cluster-service": "true", managedLabel: manager},
		},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Ports: []corev1.ServicePort{
			{Name: "dns", Port: clusterPort, Protocol: corev1.ProtocolUDP, TargetPort: target},
			{Name: "dns-tcp", Port: clusterPort, Protocol: corev1.ProtocolTCP, TargetPort: target},
		}},
	}
}

// repaired is the Service as it should be; nil if it is. Target ports may be another server's.
func repaired(have *corev1.Service, port uint16) *corev1.Service {
	want := service(port)
	if slices.EqualFunc(have.Spec.Ports, want.Spec.Ports, func(a, b corev1.ServicePort) bool {
		return a.Name == b.Name && a.Port == b.Port && a.Protocol == b.Protocol
	}) {
		return nil
	}
	out := have.DeepCopy()
	out.Spec.Ports = want.Spec.Ports
	return out
}

// endpoint is the server's slice.
func endpoint(me self, svc *corev1.Service) *discoveryv1.EndpointSlice {
	port := int32(me.address.Port())
	family := discoveryv1.AddressTypeIPv4
	if me.address.Addr().Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	one := discoveryv1.Endpoint{
		Addresses:  []string{me.address.Addr().String()},
		Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
	}
	if me.node != "" {
		one.NodeName = &me.node
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: svc.Namespace, Name: me.name(),
			Labels: map[string]string{
				discoveryv1.LabelServiceName: svc.Name, discoveryv1.LabelManagedBy: manager, "k8s-app": dns.ServiceName,
			},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(svc, corev1.SchemeGroupVersion.WithKind("Service"))},
		},
		AddressType: family, Endpoints: []discoveryv1.Endpoint{one},
		Ports: []discoveryv1.EndpointPort{
			{Name: new("dns"), Protocol: new(corev1.ProtocolUDP), Port: &port},
			{Name: new("dns-tcp"), Protocol: new(corev1.ProtocolTCP), Port: &port},
		},
	}
}

func same(a, b *discoveryv1.EndpointSlice) bool {
	return a.AddressType == b.AddressType && equality.Semantic.DeepEqual(a.Endpoints, b.Endpoints) && equality.Semantic.DeepEqual(a.Ports, b.Ports) &&
		maps.Equal(a.Labels, b.Labels) && equality.Semantic.DeepEqual(a.OwnerReferences, b.OwnerReferences)
}

// lease is the server's sign of life.
func lease(me self, now time.Time) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: dns.ServiceNamespace, Name: me.name(), Labels: map[string]string{managedLabel: manager}},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: new(me.address.String()), LeaseDurationSeconds: new(int32(leaseDuration / time.Second)), RenewTime: new(metav1.NewMicroTime(now)),
		},
	}
}
