package apiserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/networking"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/store"
)

// Cluster IPs are IPAddress objects (KEP-1880), whose names are unique in the store. A service and its addresses are written and
// removed in one transaction, so that neither is ever there without the other, whichever server writes.

var errNoAddress = errors.New("range is full")

// randomTries is how many addresses are tried at random before all are looked at in order.
const randomTries = 32

// addressTaken tells that an IPAddress was made by somebody else meanwhile.
type addressTaken struct{ address string }

func (e addressTaken) Error() string {
	return fmt.Sprintf("failed to allocate IP %s: provided IP is already allocated", e.address)
}

func (e addressTaken) status(q *api.Request) error {
	return apierrors.NewInvalid(q.Resource.GroupVersionKind().GroupKind(), q.Name, field.ErrorList{
		field.Invalid(field.NewPath("spec", "clusterIPs"), []string{e.address}, e.Error()),
	})
}

func (s *Server) addressKind() *api.Resource {
	return s.Registry.Resource(networkingv1.SchemeGroupVersion.WithResource("ipaddresses"))
}

// serviceRanges are those of the ServiceCIDRs that are ready, in order of their names.
func (s *Server) serviceRanges() []netip.Prefix {
	r := s.Registry.Resource(networkingv1.SchemeGroupVersion.WithResource("servicecidrs"))
	if r == nil {
		return nil
	}
	var out []netip.Prefix
	for _, e := range s.Cache.Of(r).Snapshot().All() {
		c := e.Object.(*networkingv1.ServiceCIDR)
		if networking.Ready(c) {
			out = append(out, networking.Prefixes(c)...)
		}
	}
	return out
}

// clusterIP fills in which addresses the service has, or checks those that it asks for.
func (s *Server) clusterIP(ctx context.Context, svc, old *corev1.Service) (field.ErrorList, error) {
	if !needsClusterIP(svc) {
		return nil, nil
	}
	spec := &svc.Spec
	if errs := unsupportedFamilies(spec); len(errs) > 0 {
		return errs, nil
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	if spec.IPFamilyPolicy == nil {
		spec.IPFamilyPolicy = new(corev1.IPFamilyPolicySingleStack)
	}
	if spec.ClusterIP == "" && len(spec.ClusterIPs) > 0 {
		spec.ClusterIP = spec.ClusterIPs[0]
	}
	path := field.NewPath("spec", "clusterIPs")
	if spec.ClusterIP == "" || spec.ClusterIP != corev1.ClusterIPNone && spec.ClusterIP != old.Spec.ClusterIP {
		if err := s.Cache.Latest(ctx); err != nil {
			return nil, apierrors.NewTimeoutError(err.Error(), 1)
		}
		ranges := s.serviceRanges()
		if spec.ClusterIP == "" {
			address, err := s.freeAddress(ranges)
			if err != nil {
				return field.ErrorList{field.InternalError(path, fmt.Errorf("failed to allocate a serviceIP: %w", err))}, nil
			}
			spec.ClusterIP = address.String()
		} else if err := s.checkAddress(spec.ClusterIP, ranges); err != nil {
			return field.ErrorList{field.Invalid(path, []string{spec.ClusterIP}, err.Error())}, nil
		}
	}
	if len(spec.ClusterIPs) == 0 {
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
	return nil, nil
}

// unsupportedFamilies refuses what a cluster with IPv4 alone does not have. Services without selector and address may say anything.
func unsupportedFamilies(spec *corev1.ServiceSpec) field.ErrorList {
	if spec.ClusterIP == corev1.ClusterIPNone && len(spec.Selector) == 0 {
		return nil
	}
	var errs field.ErrorList
	if p := spec.IPFamilyPolicy; p != nil && *p == corev1.IPFamilyPolicyRequireDualStack {
		errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), *p, "this cluster is not configured for dual-stack services"))
	}
	for i, family := range spec.IPFamilies {
		if family != corev1.IPv4Protocol {
			errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilies").Index(i), family, "not configured on this cluster"))
		}
	}
	return errs
}

func (s *Server) taken(address netip.Addr) bool {
	r := s.addressKind()
	return r != nil && s.Cache.Of(r).Get(r.Key("", address.String())) != nil
}

func (s *Server) checkAddress(text string, ranges []netip.Prefix) error {
	address, err := netip.ParseAddr(text)
	if err != nil || !slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return assignable(p, address) }) {
		names := make([]string, len(ranges))
		for i, p := range ranges {
			names[i] = p.String()
		}
		return fmt.Errorf("failed to allocate IP %s: the provided IP (%s) is not in the valid range. The range of valid IPs is %s", text, text, strings.Join(names, ", "))
	}
	if s.taken(address) {
		return addressTaken{text}
	}
	return nil
}

// assignable tells that an address of the range can be a service's: not the network's own and not the broadcast address.
func assignable(p netip.Prefix, address netip.Addr) bool {
	n, size := offset(p, address), networking.Size(p)
	return p.Contains(address) && n > 0 && (!address.Is4() || n < size-1)
}

func offset(p netip.Prefix, address netip.Addr) uint64 {
	return networking.Number(address) - networking.Number(p.Addr())
}

// freeAddress looks in one range after the other; the low addresses of each come last, for people who choose their own
// (KEP-3070).
func (s *Server) freeAddress(ranges []netip.Prefix) (netip.Addr, error) {
	for _, p := range ranges {
		if !p.Addr().Is4() {
			continue
		}
		size := networking.Size(p)
		last := size - 1 // exclusive: the broadcast address
		low := min(max(16, size/16), 256)
		if size < 16 {
			low = 1
		}
		for _, band := range [][2]uint64{{low, last}, {1, min(low, last)}} {
			if address, ok := s.freeIn(p, band[0], band[1]); ok {
				return address, nil
			}
		}
	}
	return netip.Addr{}, errNoAddress
}

func (s *Server) freeIn(p netip.Prefix, from, to uint64) (netip.Addr, bool) {
	if from >= to {
		return netip.Addr{}, false
	}
	for range randomTries {
		if address := networking.Nth(p, from+rand.Uint64N(to-from)); !s.taken(address) {
			return address, true
		}
	}
	start := rand.Uint64N(to - from)
	for i := range to - from {
		if address := networking.Nth(p, from+(start+i)%(to-from)); !s.taken(address) {
			return address, true
		}
	}
	return netip.Addr{}, false
}

// chosenAddress tells that a new service asks for an address of its own choice.
func chosenAddress(obj api.Object) bool {
	svc, ok := obj.(*corev1.Service)
	return ok && (svc.Spec.ClusterIP != "" || len(svc.Spec.ClusterIPs) > 0)
}

// retakes looks at the end of a write. When somebody else took the address first, another one is to be tried, for which obj is
// made ready, unless it was the user's choice.
func retakes(q *api.Request, obj api.Object, chosen bool, err error) (bool, error) {
	var taken addressTaken
	if !errors.As(err, &taken) {
		return false, err
	}
	if svc, ok := obj.(*corev1.Service); ok && !chosen {
		svc.Spec.ClusterIP, svc.Spec.ClusterIPs, svc.ResourceVersion = "", nil, ""
		return true, nil
	}
	return false, taken.status(q)
}

// storedService is the service that a write replaces, nil for other kinds, whose writes have no companions.
func (s *Server) storedService(q *api.Request, revision int64) api.Object {
	if revision == 0 || q.Resource.Group != "" || q.Resource.Plural != "services" {
		return nil
	}
	if entry := s.Cache.Of(q.Resource).Get(q.Key()); entry != nil {
		return entry.Object
	}
	return nil
}

// companions are the changes of IPAddresses that belong to a write of a service over old, either of which may be nil.
func (s *Server) companions(obj, old api.Object) ([]companion, error) {
	r := s.addressKind()
	now, isNow := obj.(*corev1.Service)
	was, isWas := old.(*corev1.Service)
	if r == nil || !isNow && !isWas {
		return nil, nil
	}
	have, had := addressesOf(now), addressesOf(was)
	var out []companion
	for _, address := range had {
		entry := s.Cache.Of(r).Get(r.Key("", address))
		if slices.Contains(have, address) || entry == nil || !networking.BelongsTo(entry.Object.(*networkingv1.IPAddress), was) {
			continue
		}
		out = append(out, companion{Change: store.Change{Key: entry.Key, Revision: entry.Revision}, address: address})
	}
	for _, address := range have {
		if slices.Contains(had, address) {
			continue
		}
		c, err := s.newAddress(r, now, address)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// addressesOf are the cluster IPs of a service that may be nil.
func addressesOf(svc *corev1.Service) []string {
	if svc == nil || !needsClusterIP(svc) || svc.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil
	}
	return svc.Spec.ClusterIPs
}

// companion is a change that is made in the same transaction as another one.
type companion struct {
	store.Change
	address string
	obj     api.Object // nil when it is removed
}

func (s *Server) newAddress(r *api.Resource, svc *corev1.Service, address string) (companion, error) {
	obj := networking.NewAddress(address, svc)
	stampNew(r, obj)
	if err := s.track(bootstrapRequest(r, obj), obj, nil); err != nil {
		return companion{}, apierrors.NewInternalError(err)
	}
	value, err := r.EncodeStored(obj)
	if err != nil {
		return companion{}, apierrors.NewInternalError(err)
	}
	return companion{Change: store.Change{Key: r.Key("", address), Value: value}, address: address, obj: obj}, nil
}

// expect tells the cache of the objects that companions make. The result must be called when the write has come back.
func (s *Server) expect(with []companion) (drop func()) {
	var all []*cache.Expectation
	for _, c := range with {
		if c.obj != nil {
			all = append(all, s.Cache.Expect(c.Key, c.Value, c.obj))
		}
	}
	return func() {
		for _, x := range all {
			x.Drop()
		}
	}
}

// commit makes a change together with its companions.
func (s *Server) commit(ctx context.Context, main store.Change, with []companion) (int64, error) {
	changes := make([]store.Change, 0, len(with)+1)
	for _, c := range with {
		changes = append(changes, c.Change)
	}
	revision, err := s.Store.Commit(ctx, append(changes, main))
	var changed *store.KeyError
	if !errors.As(err, &changed) || changed.Key == main.Key {
		return revision, err
	}
	for _, c := range with {
		if c.Key == changed.Key && c.obj != nil {
			return 0, addressTaken{c.address}
		}
	}
	return 0, err
}
