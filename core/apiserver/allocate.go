package apiserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

var errRangeFull = errors.New("range is full")

// pool hands out numbers of a range at random, so that a freed one is not soon used again.
type pool struct {
	mu    sync.Mutex
	size  uint64
	taken map[uint64]bool
}

func newPool(size uint64) *pool { return &pool{size: size, taken: map[uint64]bool{}} }

func (p *pool) take(n uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[n] {
		return false
	}
	p.taken[n] = true
	return true
}

func (p *pool) any() (uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if uint64(len(p.taken)) >= p.size {
		return 0, false
	}
	for n := rand.Uint64N(p.size); ; n = (n + 1) % p.size {
		if !p.taken[n] {
			p.taken[n] = true
			return n, true
		}
	}
}

func (p *pool) free(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, n)
}

// ipAllocator hands out the addresses of the service range but the network's own and the
// broadcast address.
type ipAllocator struct {
	*pool
	prefix netip.Prefix
	base   uint64
}

func newIPAllocator(prefix netip.Prefix) *ipAllocator {
	if !prefix.IsValid() {
		return &ipAllocator{pool: newPool(0)}
	}
	prefix = prefix.Masked()
	four := prefix.Addr().As4()
	base := uint64(four[0])<<24 | uint64(four[1])<<16 | uint64(four[2])<<8 | uint64(four[3])
	size := uint64(1) << (32 - prefix.Bits())
	a := &ipAllocator{pool: newPool(size), prefix: prefix, base: base}
	a.taken[0], a.taken[size-1] = true, true
	return a
}

func (a *ipAllocator) number(ip string) (uint64, bool) {
	addr, err := netip.ParseAddr(ip)
	if err != nil || !a.prefix.Contains(addr) {
		return 0, false
	}
	four := addr.As4()
	return uint64(four[0])<<24 | uint64(four[1])<<16 | uint64(four[2])<<8 | uint64(four[3]) - a.base, true
}

func (a *ipAllocator) address(n uint64) string {
	v := uint32(a.base + n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}

type portAllocator struct {
	*pool
	first int32
}

func newPortAllocator(ports [2]int32) *portAllocator {
	return &portAllocator{pool: newPool(uint64(ports[1] - ports[0] + 1)), first: ports[0]}
}

func (a *portAllocator) number(port int32) (uint64, bool) {
	n := int64(port) - int64(a.first)
	return uint64(n), n >= 0 && uint64(n) < a.size
}

// allocate gives a service its cluster IP and node ports; what an update left out the kind's Prepare has
// taken over from the old object. The result must be called when the write is
// done: it frees what the service no longer has, or what it would have got.
func (s *Server) allocate(_ context.Context, q *api.Request, obj, old api.Object) (func(written bool), error) {
	svc, ok := obj.(*corev1.Service)
	if !ok || q.Subresource == "status" {
		return func(bool) {}, nil
	}
	before, _ := old.(*corev1.Service)
	if before == nil {
		before = &corev1.Service{}
	}
	a := &allocation{s: s}
	errs := a.clusterIP(svc, before)
	errs = append(errs, a.nodePorts(svc, before)...)
	if len(errs) > 0 {
		a.undo()
		return nil, apierrors.NewInvalid(q.Resource.GroupVersionKind().GroupKind(), svc.Name, errs)
	}
	return func(written bool) {
		if !written {
			a.undo()
			return
		}
		s.freeMissing(before, svc)
	}, nil
}

// allocation is what one write has taken.
type allocation struct {
	s     *Server
	ips   []uint64
	ports []uint64
}

func (a *allocation) undo() {
	for _, n := range a.ips {
		a.s.ips.free(n)
	}
	for _, n := range a.ports {
		a.s.ports.free(n)
	}
}

func needsClusterIP(svc *corev1.Service) bool {
	return svc.Spec.Type != corev1.ServiceTypeExternalName && svc.Spec.Type != ""
}

func needsNodePorts(svc *corev1.Service) bool {
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		return svc.Spec.AllocateLoadBalancerNodePorts == nil || *svc.Spec.AllocateLoadBalancerNodePorts
	}
	return svc.Spec.Type == corev1.ServiceTypeNodePort
}

func (a *allocation) clusterIP(svc, old *corev1.Service) field.ErrorList {
	if !needsClusterIP(svc) {
		return nil
	}
	spec := &svc.Spec
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	if spec.IPFamilyPolicy == nil {
		single := corev1.IPFamilyPolicySingleStack
		spec.IPFamilyPolicy = &single
	}
	if spec.ClusterIP == "" && len(spec.ClusterIPs) > 0 {
		spec.ClusterIP = spec.ClusterIPs[0]
	}
	switch {
	case spec.ClusterIP == "":
		n, ok := a.s.ips.any()
		if !ok {
			return field.ErrorList{field.InternalError(field.NewPath("spec", "clusterIPs"), fmt.Errorf("failed to allocate a serviceIP: %w", errRangeFull))}
		}
		a.ips = append(a.ips, n)
		spec.ClusterIP = a.s.ips.address(n)
	case spec.ClusterIP != corev1.ClusterIPNone && spec.ClusterIP != old.Spec.ClusterIP:
		if err := a.takeIP(spec.ClusterIP); err != nil {
			return field.ErrorList{field.Invalid(field.NewPath("spec", "clusterIPs"), []string{spec.ClusterIP}, err.Error())}
		}
	}
	if len(spec.ClusterIPs) == 0 {
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
	return nil
}

func (a *allocation) takeIP(ip string) error {
	n, ok := a.s.ips.number(ip)
	if !ok {
		return fmt.Errorf("failed to allocate IP %s: the provided IP (%s) is not in the valid range. The range of valid IPs is %s", ip, ip, a.s.ips.prefix)
	}
	if !a.s.ips.take(n) {
		return fmt.Errorf("failed to allocate IP %s: provided IP is already allocated", ip)
	}
	a.ips = append(a.ips, n)
	return nil
}

func (a *allocation) nodePorts(svc, old *corev1.Service) field.ErrorList {
	if !needsNodePorts(svc) {
		return nil
	}
	own := map[int32]bool{} // of this service already: TCP and UDP may share a number
	for _, p := range old.Spec.Ports {
		own[p.NodePort] = true
	}
	for i := range svc.Spec.Ports {
		p := &svc.Spec.Ports[i]
		path := field.NewPath("spec", "ports").Index(i).Child("nodePort")
		if p.NodePort == 0 {
			n, ok := a.s.ports.any()
			if !ok {
				return field.ErrorList{field.InternalError(path, fmt.Errorf("failed to allocate a nodePort: %w", errRangeFull))}
			}
			p.NodePort = a.s.ports.first + int32(n)
			a.ports = append(a.ports, n)
		} else if !own[p.NodePort] {
			n, ok := a.s.ports.number(p.NodePort)
			if !ok {
				last := a.s.ports.first + int32(a.s.ports.size) - 1
				return field.ErrorList{field.Invalid(path, p.NodePort, fmt.Sprintf("provided port is not in the valid range. The range of valid ports is %d-%d", a.s.ports.first, last))}
			}
			if !a.s.ports.take(n) {
				return field.ErrorList{field.Invalid(path, p.NodePort, "provided port is already allocated")}
			}
			a.ports = append(a.ports, n)
		}
		own[p.NodePort] = true
	}
	return nil
}

// freeMissing gives back what old has and svc, which may be nil, has not.
func (s *Server) freeMissing(old, svc *corev1.Service) {
	if svc == nil {
		svc = &corev1.Service{}
	}
	if n, ok := s.ips.number(old.Spec.ClusterIP); ok && svc.Spec.ClusterIP != old.Spec.ClusterIP {
		s.ips.free(n)
	}
	keep := map[int32]bool{}
	for _, p := range svc.Spec.Ports {
		keep[p.NodePort] = true
	}
	for _, p := range old.Spec.Ports {
		if n, ok := s.ports.number(p.NodePort); ok && !keep[p.NodePort] {
			s.ports.free(n)
		}
	}
}

// released is called with an object that is gone from the store.
func (s *Server) released(_ *api.Request, obj api.Object) {
	if svc, ok := obj.(*corev1.Service); ok {
		s.freeMissing(svc, nil)
	}
}

// LoadAllocations takes what the stored services have. It runs once, after the cache has been loaded and
// before the first write.
func (s *Server) LoadAllocations() {
	r := s.Registry.Resource(corev1.SchemeGroupVersion.WithResource("services"))
	if r == nil {
		return
	}
	for _, e := range s.Cache.Of(r).Snapshot().All() {
		svc := e.Object.(*corev1.Service)
		if n, ok := s.ips.number(svc.Spec.ClusterIP); ok {
			s.ips.take(n)
		}
		for _, p := range svc.Spec.Ports {
			if n, ok := s.ports.number(p.NodePort); ok {
				s.ports.take(n)
			}
		}
	}
}
