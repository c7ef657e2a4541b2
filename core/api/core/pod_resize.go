package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// resize is the subresource that changes how much cpu and memory a pod's containers have (KEP-1287, KEP-5419).
var resize = api.Part[corev1.Pod]{
	Body: true,
	Owned: [][]string{
		{"spec", "containers", "*", "resources"},
		{"spec", "containers", "*", "resizePolicy"},
		{"spec", "initContainers", "*", "resources"},
		{"spec", "initContainers", "*", "resizePolicy"},
	},
	Prepare:  prepareResize,
	Validate: validateResize,
}

// prepareResize takes of the new pod the resources alone. Where containers were added, taken away or renamed it takes all, for
// the validation to say so.
func prepareResize(p, old *corev1.Pod) {
	now := p.Spec
	if len(now.Containers) != len(old.Spec.Containers) || len(now.InitContainers) != len(old.Spec.InitContainers) {
		return
	}
	p.Spec = old.Spec
	p.Spec.Containers = withResources(old.Spec.Containers, now.Containers)
	p.Spec.InitContainers = withResources(old.Spec.InitContainers, now.InitContainers)
	p.Spec.Resources = now.Resources
	if now.Resources == nil { // of a client that does not know the field
		p.Spec.Resources = old.Spec.Resources.DeepCopy()
	}
	defaultPodRequests(p)
}

func withResources(old, now []corev1.Container) []corev1.Container {
	if len(now) == 0 {
		return now
	}
	out := make([]corev1.Container, len(old))
	copy(out, old)
	for i := range out {
		if out[i].Name != now[i].Name {
			return now
		}
		out[i].Resources, out[i].ResizePolicy = now[i].Resources, now[i].ResizePolicy
	}
	return out
}

// validateResize lets cpu and memory change, but not so that the pod's QoS class does.
func validateResize(p, old *corev1.Pod) field.ErrorList {
	spec, none := field.NewPath("spec"), field.NewPath("")
	if _, mirror := old.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return field.ErrorList{field.Forbidden(none, "static pods cannot be resized")}
	}
	if old.Spec.OS != nil && old.Spec.OS.Name == corev1.Windows {
		return field.ErrorList{field.Forbidden(none, "windows pods cannot be resized")}
	}
	errs := validatePodWhole(p)
	before := old.Status.QOSClass
	if before == "" {
		before = QOSClass(old)
	}
	if before != QOSClass(p) {
		errs = append(errs, field.Invalid(spec, p.Status.QOSClass, "Pod QOS Class may not change as a result of resizing"))
	}
	if !resizable(old) {
		errs = append(errs, field.Forbidden(spec, "Pod running on node without support for resize"))
	}
	errs = append(errs, validatePodLevelResize(p, old, spec)...)
	if wrong := sameContainers(p, old, spec); len(wrong) > 0 {
		return append(errs, wrong...)
	}
	errs = append(errs, validateContainersResize(p, old, spec)...)
	if len(errs) == 0 && !equality.Semantic.DeepEqual(withComputeOf(&p.Spec, &old.Spec), &old.Spec) {
		errs = append(errs, field.Forbidden(spec, "only cpu and memory resources are mutable"))
	}
	return errs
}

// resizable tells whether the node reports what containers have, as all do that can resize them.
func resizable(p *corev1.Pod) bool {
	for i := range p.Status.ContainerStatuses {
		if s := &p.Status.ContainerStatuses[i]; s.State.Running != nil {
			return s.Resources != nil
		}
	}
	return true
}

func sameContainers(p, old *corev1.Pod, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, list := range []struct {
		name     string
		now, old []corev1.Container
	}{{"containers", p.Spec.Containers, old.Spec.Containers}, {"initContainers", p.Spec.InitContainers, old.Spec.InitContainers}} {
		at := spec.Child(list.name)
		if len(list.now) != len(list.old) {
			errs = append(errs, field.Forbidden(at, list.name+" may not be added or removed on resize"))
			continue
		}
		for i := range list.old {
			if list.now[i].Name != list.old[i].Name {
				errs = append(errs, field.Forbidden(at.Index(i).Child("name"), list.name+" may not be renamed or reordered on resize"))
			}
		}
	}
	return errs
}

func validateContainersResize(p, old *corev1.Pod, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range old.Spec.InitContainers {
		errs = append(errs, onlyGrown(&p.Spec.InitContainers[i].Resources, &old.Spec.InitContainers[i].Resources, spec.Child("initContainers").Index(i).Child("resources"), "resource ")...)
	}
	for i := range old.Spec.Containers {
		errs = append(errs, onlyGrown(&p.Spec.Containers[i].Resources, &old.Spec.Containers[i].Resources, spec.Child("containers").Index(i).Child("resources"), "resource ")...)
	}
	for i := range old.Spec.Containers {
		if !equality.Semantic.DeepEqual(withComputeOfContainer(p.Spec.Containers[i], &old.Spec.Containers[i]), old.Spec.Containers[i]) {
			errs = append(errs, field.Forbidden(spec, "only cpu and memory resources are mutable"))
		}
	}
	for i := range old.Spec.InitContainers {
		now, before, at := p.Spec.InitContainers[i], &old.Spec.InitContainers[i], spec.Child("initContainers").Index(i)
		if !equality.Semantic.DeepEqual(withComputeOfContainer(now, before), *before) {
			errs = append(errs, field.Forbidden(at, "only cpu and memory resources for init or sidecar containers are mutable"))
		}
		if isSidecar(&now) || equality.Semantic.DeepEqual(now, *before) {
			continue
		}
		for _, policy := range now.ResizePolicy {
			if policy.RestartPolicy == corev1.RestartContainer {
				errs = append(errs, field.Forbidden(at, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"))
			}
		}
	}
	return errs
}

// onlyGrown refuses that a request or a limit is taken away; whose begins the message.
func onlyGrown(now, old *corev1.ResourceRequirements, p *field.Path, whose string) field.ErrorList {
	var errs field.ErrorList
	if lacks(now.Requests, old.Requests) {
		errs = append(errs, field.Forbidden(p.Child("requests"), whose+"requests cannot be removed"))
	}
	if lacks(now.Limits, old.Limits) {
		errs = append(errs, field.Forbidden(p.Child("limits"), whose+"limits cannot be removed"))
	}
	return errs
}

func lacks(now, old corev1.ResourceList) bool {
	for name := range old {
		if _, ok := now[name]; !ok {
			return true
		}
	}
	return false
}

func validatePodLevelResize(p, old *corev1.Pod, spec *field.Path) field.ErrorList {
	now, before, at := p.Spec.Resources, old.Spec.Resources, spec.Child("resources")
	if before != nil && now == nil {
		return field.ErrorList{field.Forbidden(at, "pod-level resources cannot be removed")}
	}
	var errs field.ErrorList
	if before != nil {
		errs = onlyGrown(now, before, at, "pod-level resource ")
	}
	if !equality.Semantic.DeepEqual(withComputeOfPod(now, before), before) {
		errs = append(errs, field.Forbidden(spec, "only cpu and memory resources are mutable at pod-level"))
	}
	return errs
}

// withComputeOf is a spec with the cpu and memory of another one that has the same containers.
func withComputeOf(spec, other *corev1.PodSpec) *corev1.PodSpec {
	out := spec.DeepCopy()
	for i := range out.Containers {
		out.Containers[i] = withComputeOfContainer(out.Containers[i], &other.Containers[i])
	}
	for i := range out.InitContainers {
		out.InitContainers[i] = withComputeOfContainer(out.InitContainers[i], &other.InitContainers[i])
	}
	out.Resources = withComputeOfPod(out.Resources, other.Resources)
	return out
}

func withComputeOfContainer(c corev1.Container, other *corev1.Container) corev1.Container {
	c.Resources.Requests = withComputeOfList(c.Resources.Requests, other.Resources.Requests)
	c.Resources.Limits = withComputeOfList(c.Resources.Limits, other.Resources.Limits)
	return c
}

// withComputeOfPod leaves a pod without resources of its own as it was when all that it got is cpu and memory.
func withComputeOfPod(r, other *corev1.ResourceRequirements) *corev1.ResourceRequirements {
	if r == nil {
		return nil
	}
	before := corev1.ResourceRequirements{}
	if other != nil {
		before = *other
	}
	out := &corev1.ResourceRequirements{
		Requests: withComputeOfList(r.Requests, before.Requests), Limits: withComputeOfList(r.Limits, before.Limits), Claims: r.Claims,
	}
	if other == nil && len(out.Requests) == 0 && len(out.Limits) == 0 && len(out.Claims) == 0 {
		return nil
	}
	return out
}

func withComputeOfList(list, other corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range list {
		out[name] = q
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		delete(out, name)
		if q, ok := other[name]; ok {
			out[name] = q
		}
	}
	return out
}
