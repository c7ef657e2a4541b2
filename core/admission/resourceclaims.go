package admission

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gantryio/gantry/core/api"
)

// ResourceClaims refuses administrators' access to devices outside of namespaces that are labelled for it (KEP-5018), and lets
// only those allocate claims and report about devices who have the verbs of these parts of the status (KEP-4817).
type ResourceClaims struct {
	Objects Reader
	May     authorizer.UnconditionalAuthorizer
}

var _ Validator = ResourceClaims{}

// Name implements [Plugin]. Kubernetes does this without a plugin.
func (ResourceClaims) Name() string { return "ResourceClaims" }

// About implements [Selective].
func (ResourceClaims) About(r *api.Resource) bool { return r.Group == resourcev1.GroupName }

// Validate implements [Validator].
func (p ResourceClaims) Validate(ctx context.Context, a *Attributes) error {
	var errs field.ErrorList
	switch obj := a.Object.(type) {
	case *resourcev1.ResourceClaim:
		switch old, _ := a.Old.(*resourcev1.ResourceClaim); {
		case a.Operation == Create:
			errs = p.access(ctx, a, requested(obj.Spec.Devices.Requests))
		case a.Operation == Update && a.Subresource == "status":
			if granted(old.Status.Allocation) == nil {
				errs = p.access(ctx, a, granted(obj.Status.Allocation))
			}
			errs = append(errs, p.binding(ctx, a, &obj.Status, &old.Status)...)
			errs = append(errs, p.devices(ctx, a, &obj.Status, &old.Status)...)
		}
	case *resourcev1.ResourceClaimTemplate:
		if a.Operation == Create {
			errs = p.access(ctx, a, requested(obj.Spec.Spec.Devices.Requests))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(a.Resource.GroupVersionKind().GroupKind(), a.Object.GetName(), errs)
}

// requested is the path of the first request for such access, nil without one.
func requested(list []resourcev1.DeviceRequest) *field.Path {
	for i, r := range list {
		if r.Exactly != nil && r.Exactly.AdminAccess != nil && *r.Exactly.AdminAccess {
			return field.NewPath("spec", "devices", "requests").Index(i).Child("adminAccess")
		}
	}
	return nil
}

func granted(allocation *resourcev1.AllocationResult) *field.Path {
	if allocation == nil {
		return nil
	}
	for i, r := range allocation.Devices.Results {
		if r.AdminAccess != nil && *r.AdminAccess {
			return field.NewPath("status", "allocation", "devices", "results").Index(i).Child("adminAccess")
		}
	}
	return nil
}

func (p ResourceClaims) access(ctx context.Context, a *Attributes, path *field.Path) field.ErrorList {
	if path == nil {
		return nil
	}
	ns, err := p.Objects.Namespace(ctx, a.Object.GetNamespace())
	if err != nil {
		return field.ErrorList{field.InternalError(path, err)}
	}
	if ns != nil && ns.Labels[resourcev1.DRAAdminNamespaceLabelKey] == "true" {
		return nil
	}
	return field.ErrorList{field.Forbidden(path, fmt.Sprintf("admin access to devices requires the `%s: true` label on the containing namespace", resourcev1.DRAAdminNamespaceLabelKey))}
}

func (p ResourceClaims) binding(ctx context.Context, a *Attributes, now, was *resourcev1.ResourceClaimStatus) field.ErrorList {
	if equality.Semantic.DeepEqual(now.Allocation, was.Allocation) && equality.Semantic.DeepEqual(now.ReservedFor, was.ReservedFor) {
		return nil
	}
	verb := cmp.Or(a.Verb, "update")
	if p.may(ctx, a, verb, resourcev1.SubresourceBinding, "", "") {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("status", "allocation"), fmt.Sprintf(
		`changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb=%q permission`, verb))}
}

// devices asks for each driver that something new is said about. Who runs on the node of the allocation may have the verb for
// that node, others need the one for any node.
func (p ResourceClaims) devices(ctx context.Context, a *Attributes, now, was *resourcev1.ResourceClaimStatus) field.ErrorList {
	if now.Allocation == nil {
		return nil
	}
	asked := cmp.Or(a.Verb, "update")
	verbs := []string{resourcev1.VerbPrefixArbitraryNode + asked}
	if node := allocatedNode(now.Allocation); node != "" && runsOn(a.User, node) {
		verbs = []string{resourcev1.VerbPrefixAssociatedNode + asked, verbs[0]}
	}
	var errs field.ErrorList
	for _, driver := range changedDrivers(now.Devices, was.Devices) {
		if !slices.ContainsFunc(verbs, func(verb string) bool {
			return p.may(ctx, a, verb, resourcev1.SubresourceDriver, a.Object.GetNamespace(), driver)
		}) {
			errs = append(errs, field.Forbidden(field.NewPath("status", "devices"), fmt.Sprintf(
				`changing status.devices requires resource="resourceclaims/driver", verb=%q permission`, verbs)))
		}
	}
	return errs
}

func (p ResourceClaims) may(ctx context.Context, a *Attributes, verb, subresource, namespace, name string) bool {
	decision, _, _ := p.May.Authorize(ctx, &authorizer.AttributesRecord{
		User: a.User, Verb: verb, APIGroup: resourcev1.GroupName, APIVersion: "v1", Resource: "resourceclaims", Subresource: subresource,
		Namespace: namespace, Name: name, ResourceRequest: true,
	})
	return decision == authorizer.DecisionAllow
}

// changedDrivers are those of entries that were added, changed or removed, in order.
func changedDrivers(now, was []resourcev1.AllocatedDeviceStatus) []string {
	type key struct{ driver, pool, device, share string }
	keyOf := func(d *resourcev1.AllocatedDeviceStatus) key {
		k := key{driver: d.Driver, pool: d.Pool, device: d.Device}
		if d.ShareID != nil {
			k.share = *d.ShareID
		}
		return k
	}
	before := map[key]*resourcev1.AllocatedDeviceStatus{}
	for i := range was {
		before[keyOf(&was[i])] = &was[i]
	}
	changed := map[string]bool{}
	for i := range now {
		k := keyOf(&now[i])
		if old := before[k]; old == nil || !equality.Semantic.DeepEqual(*old, now[i]) {
			changed[k.driver] = true
		}
		delete(before, k)
	}
	for k := range before {
		changed[k.driver] = true
	}
	return slices.Sorted(maps.Keys(changed))
}

// allocatedNode is the one node that the allocation is for, empty where it is for others too.
func allocatedNode(allocation *resourcev1.AllocationResult) string {
	s := allocation.NodeSelector
	if s == nil || len(s.NodeSelectorTerms) != 1 {
		return ""
	}
	term := s.NodeSelectorTerms[0]
	if len(term.MatchExpressions) != 0 || len(term.MatchFields) != 1 {
		return ""
	}
	f := term.MatchFields[0]
	if f.Key != "metadata.name" || f.Operator != corev1.NodeSelectorOpIn || len(f.Values) != 1 {
		return ""
	}
	return f.Values[0]
}

// runsOn tells that the user is a service account whose token is bound to a pod on the node.
func runsOn(who user.Info, node string) bool {
	if who == nil {
		return false
	}
	if _, _, err := serviceaccount.SplitUsername(who.GetName()); err != nil {
		return false
	}
	return slices.Equal(who.GetExtra()[serviceaccount.NodeNameKey], []string{node})
}
