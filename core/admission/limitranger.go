package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	podresource "k8s.io/component-helpers/resource"

	"github.com/gantryio/gantry/core/api"
)

// limitAnnotation tells what a pod owes to the limit ranges of its namespace.
const limitAnnotation = "kubernetes.io/limit-ranger"

// LimitRanger gives pods that are new or resized the defaults of their namespace's limit ranges, and holds pods and claims to
// them.
type LimitRanger struct{ Objects Reader }

var (
	_ Mutator   = LimitRanger{}
	_ Validator = LimitRanger{}
)

// Name implements [Plugin].
func (LimitRanger) Name() string { return "LimitRanger" }

// About implements [Selective].
func (LimitRanger) About(r *api.Resource) bool { return isOf(r, "", "Pod", "PersistentVolumeClaim") }

// Admit implements [Mutator].
func (p LimitRanger) Admit(ctx context.Context, a *Attributes) error {
	pod := sizedPod(a)
	if pod == nil {
		return nil
	}
	ranges, err := p.Objects.limitRanges(ctx, a.Namespace)
	if err != nil {
		return err
	}
	for _, l := range ranges {
		defaultPod(pod, l)
	}
	return nil
}

// Validate implements [Validator].
func (p LimitRanger) Validate(ctx context.Context, a *Attributes) error {
	check := limitsOf(a)
	if check == nil {
		return nil
	}
	ranges, err := p.Objects.limitRanges(ctx, a.Namespace)
	if err != nil {
		return err
	}
	for _, l := range ranges {
		var errs []error
		for i := range l.Spec.Limits {
			errs = append(errs, check(&l.Spec.Limits[i])...)
		}
		if err := utilerrors.NewAggregate(errs); err != nil {
			return refusePod(a, "%w", err)
		}
	}
	return nil
}

// limitsOf returns the check for what is written, nil for what no limit range is about.
func limitsOf(a *Attributes) func(*corev1.LimitRangeItem) []error {
	if pod := sizedPod(a); pod != nil {
		return func(item *corev1.LimitRangeItem) []error { return checkPod(pod, item) }
	}
	if a.Subresource != "" {
		return nil
	}
	claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
	if !ok || a.Old != nil && a.Old.GetDeletionTimestamp() != nil {
		return nil
	}
	return func(item *corev1.LimitRangeItem) []error { return checkClaim(claim, item) }
}

func defaultPod(pod *corev1.Pod, l *corev1.LimitRange) {
	var requests, limits corev1.ResourceList
	for i := range l.Spec.Limits {
		if item := &l.Spec.Limits[i]; item.Type == corev1.LimitTypeContainer {
			requests, limits = item.DefaultRequest, item.Default
		}
	}
	var said []string
	complete := func(c *corev1.Container, what string) {
		if names := fill(&c.Resources.Requests, requests); names != "" {
			said = append(said, fmt.Sprintf("%s request for %s %s", names, what, c.Name))
		}
		if names := fill(&c.Resources.Limits, limits); names != "" {
			said = append(said, fmt.Sprintf("%s limit for %s %s", names, what, c.Name))
		}
	}
	for i := range pod.Spec.Containers {
		complete(&pod.Spec.Containers[i], "container")
	}
	for i := range pod.Spec.InitContainers {
		complete(&pod.Spec.InitContainers[i], "init container")
	}
	if len(said) > 0 {
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations[limitAnnotation] = "LimitRanger plugin set: " + strings.Join(said, "; ")
	}
}

// fill adds what list does not have, and returns the names with commas between.
func fill(list *corev1.ResourceList, defaults corev1.ResourceList) string {
	var added []string
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		if _, ok := (*list)[name]; ok {
			continue
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = defaults[name].DeepCopy()
		added = append(added, string(name))
	}
	return strings.Join(added, ", ")
}

func checkPod(pod *corev1.Pod, item *corev1.LimitRangeItem) []error {
	var errs []error
	switch item.Type {
	case corev1.LimitTypeContainer:
		for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
			errs = append(errs, checkLimits(item, c.Resources.Requests, c.Resources.Limits)...)
		}
	case corev1.LimitTypePod:
		withoutOverhead := podresource.PodResourcesOptions{ExcludeOverhead: true}
		errs = checkLimits(item, podresource.PodRequests(pod, withoutOverhead), podresource.PodLimits(pod, withoutOverhead))
	}
	return errs
}

// checkClaim looks at requests alone: nobody says the limits of a claim.
func checkClaim(claim *corev1.PersistentVolumeClaim, item *corev1.LimitRangeItem) []error {
	if item.Type != corev1.LimitTypePersistentVolumeClaim {
		return nil
	}
	requests := claim.Spec.Resources.Requests
	errs := checkMin(item, requests, nil)
	for _, name := range slices.Sorted(maps.Keys(item.Max)) {
		most := item.Max[name]
		prefix := fmt.Sprintf("maximum %s usage per %s is %s", name, item.Type, most.String())
		if request, ok := requests[name]; !ok {
			errs = append(errs, errors.New(prefix+".  No request is specified"))
		} else if request.Cmp(most) > 0 {
			errs = append(errs, fmt.Errorf("%s, but request is %s", prefix, request.String()))
		}
	}
	return errs
}

func checkLimits(item *corev1.LimitRangeItem, requests, limits corev1.ResourceList) []error {
	errs := checkMin(item, requests, limits)
	for _, name := range slices.Sorted(maps.Keys(item.Max)) {
		most := item.Max[name]
		prefix := fmt.Sprintf("maximum %s usage per %s is %s", name, item.Type, most.String())
		limit, limited := limits[name]
		request, requested := requests[name]
		switch {
		case !limited:
			errs = append(errs, errors.New(prefix+".  No limit is specified"))
		case limit.Cmp(most) > 0:
			errs = append(errs, fmt.Errorf("%s, but limit is %s", prefix, limit.String()))
		case requested && request.Cmp(most) > 0:
			errs = append(errs, fmt.Errorf("%s, but request is %s", prefix, request.String()))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(item.MaxLimitRequestRatio)) {
		if err := checkRatio(item, name, requests[name], limits[name]); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func checkMin(item *corev1.LimitRangeItem, requests, limits corev1.ResourceList) []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(item.Min)) {
		least := item.Min[name]
		prefix := fmt.Sprintf("minimum %s usage per %s is %s", name, item.Type, least.String())
		limit, limited := limits[name]
		request, requested := requests[name]
		switch {
		case !requested:
			errs = append(errs, errors.New(prefix+".  No request is specified"))
		case request.Cmp(least) < 0:
			errs = append(errs, fmt.Errorf("%s, but request is %s", prefix, request.String()))
		case limited && limit.Cmp(least) < 0:
			errs = append(errs, fmt.Errorf("%s, but limit is %s", prefix, limit.String()))
		}
	}
	return errs
}

func checkRatio(item *corev1.LimitRangeItem, name corev1.ResourceName, request, limit resource.Quantity) error {
	most := item.MaxLimitRequestRatio[name]
	prefix := fmt.Sprintf("%s max limit to request ratio per %s is %s, but ", name, item.Type, most.String())
	if request.IsZero() {
		return errors.New(prefix + "no request is specified or request is 0")
	}
	if limit.IsZero() {
		return errors.New(prefix + "no limit is specified or limit is 0")
	}
	if ratio := limit.AsApproximateFloat64() / request.AsApproximateFloat64(); ratio > most.AsApproximateFloat64() {
		return fmt.Errorf("%sprovided ratio is %f", prefix, ratio)
	}
	return nil
}
