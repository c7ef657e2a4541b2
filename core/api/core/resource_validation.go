package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const notInteger = "must be an integer"

var containerResources = sets.New(corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage)

func isHugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// isExtended tells resources of device plugins from those of Kubernetes.
func isExtended(name corev1.ResourceName) bool {
	domain, _, ok := strings.Cut(string(name), "/")
	return ok && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io") &&
		!strings.HasPrefix(string(name), corev1.DefaultResourceRequestsPrefix)
}

func isNative(name corev1.ResourceName) bool {
	domain, _, ok := strings.Cut(string(name), "/")
	return !ok || domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io")
}

func mayOvercommit(name corev1.ResourceName) bool { return isNative(name) && !isHugePages(name) }

// ValidateOverhead checks what a runtime class adds to its pods.
func ValidateOverhead(list corev1.ResourceList, p *field.Path) field.ErrorList {
	return validateResources(&corev1.ResourceRequirements{Limits: list}, nil, p)
}

func sortedNames(list corev1.ResourceList) []corev1.ResourceName {
	return slices.Sorted(maps.Keys(list))
}

// validateResources checks the requests and limits of one container; claims are the names of the pod's.
func validateResources(r *corev1.ResourceRequirements, claims sets.Set[string], p *field.Path) field.ErrorList {
	limits, requests := p.Child("limits"), p.Child("requests")
	errs := validateResourceList(r.Limits, limits)
	errs = append(errs, validateResourceList(r.Requests, requests)...)
	for _, name := range sortedNames(r.Requests) {
		errs = append(errs, requestWithinLimit(r, name, limits, requests)...)
	}
	huge, compute := false, false
	for name := range sets.KeySet(r.Limits).Union(sets.KeySet(r.Requests)) {
		huge = huge || isHugePages(name)
		compute = compute || name == corev1.ResourceCPU || name == corev1.ResourceMemory
	}
	if huge && !compute {
		errs = append(errs, field.Forbidden(p, "HugePages require cpu or memory"))
	}
	return append(errs, validateClaims(r.Claims, claims, p.Child("claims"))...)
}

func requestWithinLimit(r *corev1.ResourceRequirements, name corev1.ResourceName, limits, requests *field.Path) field.ErrorList {
	request := r.Requests[name]
	limit, limited := r.Limits[name]
	switch {
	case limited && !mayOvercommit(name) && request.Cmp(limit) != 0:
		return field.ErrorList{field.Invalid(requests, request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String()))}
	case limited && request.Cmp(limit) > 0:
		return field.ErrorList{field.Invalid(requests, request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String()))}
	case !limited && !mayOvercommit(name):
		return field.ErrorList{field.Required(limits, "Limit must be set for non overcommitable resources")}
	}
	return nil
}

func validateResourceList(list corev1.ResourceList, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range sortedNames(list) {
		key, q := p.Key(string(name)), list[name]
		errs = append(errs, containerResourceName(name, key)...)
		errs = append(errs, validateQuantity(name, q, key)...)
		if isHugePages(name) {
			errs = append(errs, wholePages(name, q, key)...)
		}
	}
	return errs
}

func containerResourceName(name corev1.ResourceName, p *field.Path) field.ErrorList {
	if errs := qualifiedName(string(name), p); len(errs) > 0 {
		return errs
	}
	if !strings.Contains(string(name), "/") && !containerResources.Has(name) && !isHugePages(name) {
		return field.ErrorList{
			field.Invalid(p, name, "must be a standard resource type or fully qualified"),
			field.Invalid(p, name, "must be a standard resource for containers"),
		}
	}
	if strings.Contains(string(name), "/") && !isNative(name) && !isExtended(name) {
		return field.ErrorList{field.Invalid(p, name, "doesn't follow extended resource name standard")}
	}
	return nil
}

func validateQuantity(name corev1.ResourceName, q resource.Quantity, p *field.Path) field.ErrorList {
	if q.Sign() < 0 {
		return field.ErrorList{field.Invalid(p, q.String(), validation.IsNegativeErrorMsg)}
	}
	if isExtended(name) && q.MilliValue()%1000 != 0 {
		return field.ErrorList{field.Invalid(p, q, notInteger)}
	}
	return nil
}

func wholePages(name corev1.ResourceName, q resource.Quantity, p *field.Path) field.ErrorList {
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), corev1.ResourceHugePagesPrefix))
	if err != nil || size.Sign() <= 0 {
		return field.ErrorList{field.Invalid(p, name, "must name a page size")}
	}
	if q.Value()%size.Value() != 0 {
		return field.ErrorList{field.Invalid(p, q.String(), "must be a multiple of the page size")}
	}
	return nil
}

func validateClaims(list []corev1.ResourceClaim, pod sets.Set[string], p *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, c := range list {
		id := strings.TrimSuffix(c.Name+"/"+c.Request, "/")
		switch at := p.Index(i); {
		case c.Name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case seen.Has(id):
			errs = append(errs, field.Duplicate(at, id))
		case !pod.Has(c.Name):
			errs = append(errs, field.NotFound(at.Child("name"), c.Name))
		}
		seen.Insert(id)
	}
	return errs
}

// validatePodResources checks the resources of the whole pod against those of its containers.
func validatePodResources(spec *corev1.PodSpec, p *field.Path) field.ErrorList {
	r := spec.Resources
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	if len(r.Claims) > 0 {
		errs = append(errs, field.Forbidden(p.Child("claims"), "claims may not be set for Resources at pod-level"))
	}
	for _, part := range []struct {
		list corev1.ResourceList
		at   *field.Path
	}{{r.Limits, p.Child("limits")}, {r.Requests, p.Child("requests")}} {
		for _, name := range sortedNames(part.list) {
			if !isHugePages(name) && name != corev1.ResourceCPU && name != corev1.ResourceMemory {
				errs = append(errs, field.NotSupported(part.at.Key(string(name)), name,
					[]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceHugePagesPrefix, corev1.ResourceMemory}))
			}
		}
	}
	errs = append(errs, validateResources(&corev1.ResourceRequirements{Limits: r.Limits, Requests: r.Requests}, nil, p)...)
	return append(errs, containersFitPod(spec, p)...)
}

func containersFitPod(spec *corev1.PodSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range sortedNames(spec.Resources.Requests) {
		var sum resource.Quantity
		for i := range spec.Containers {
			sum.Add(spec.Containers[i].Resources.Requests[name])
		}
		if q := spec.Resources.Requests[name]; sum.Cmp(q) > 0 {
			errs = append(errs, field.Invalid(p.Child("requests").Key(string(name)), q.String(),
				fmt.Sprintf("must be greater than or equal to aggregate container requests of %s", sum.String())))
		}
	}
	for _, name := range sortedNames(spec.Resources.Limits) {
		q := spec.Resources.Limits[name]
		for i := range spec.Containers {
			if limit, ok := spec.Containers[i].Resources.Limits[name]; ok && limit.Cmp(q) > 0 {
				errs = append(errs, field.Invalid(field.NewPath("spec", "containers").Index(i).Child("resources", "limits"), limit.String(),
					fmt.Sprintf("must be less than or equal to pod limits of %s", q.String())))
			}
		}
	}
	return errs
}
