package apiserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
// taken over from the old object. The result must be called when the write is done: it frees what the service no longer
// has, or what it would have got. Cluster IPs need no freeing: they are taken by the write itself (see addresses.go).
func (s *Server) allocate(ctx context.Context, q *api.Request, obj, old api.Object) (func(written bool), error) {
	svc, ok := obj.(*corev1.Service)
	if !ok || q.Subresource == "status" {
		return func(bool) {}, nil
	}
	before, _ := old.(*corev1.Service)
	if before == nil {
		before = &corev1.Service{}
	}
	errs, err := s.clusterIP(ctx, svc, before)
	if err != nil {
		return nil, err
	}
	a := &allocation{s: s}
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
	ports []uint64
}

func (a *allocation) undo() {
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

// LoadAllocations takes the node ports that the stored services have. It runs once, after the cache has been loaded and
// before the first write.
func (s *Server) LoadAllocations() {
	r := s.Registry.Resource(corev1.SchemeGroupVersion.WithResource("services"))
	if r == nil {
		return
	}
	for _, e := range s.Cache.Of(r).Snapshot().All() {
		svc := e.Object.(*corev1.Service)
		for _, p := range svc.Spec.Ports {
			if n, ok := s.ports.number(p.NodePort); ok {
				s.ports.take(n)
			}
		}
	}
}
