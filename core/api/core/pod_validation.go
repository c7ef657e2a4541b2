package core

import (
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

func validatePod(p, old *corev1.Pod) field.ErrorList {
	if old != nil {
		return validatePodUpdate(p, old)
	}
	spec := field.NewPath("spec")
	errs := validatePodWhole(p)
	if len(p.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "cannot be set on create"))
	}
	errs = append(errs, validateInitResizePolicy(p.Spec.InitContainers, spec.Child("initContainers"))...)
	if p.Spec.NodeName != "" && len(p.Spec.SchedulingGates) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	return errs
}

// validatePodWhole adds what holds for pods but not for templates.
func validatePodWhole(p *corev1.Pod) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validatePodSpec(&p.Spec, false, spec)
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror && len(p.Spec.ResourceClaims) > 0 {
		errs = append(errs, field.Forbidden(field.NewPath(""), "static pods do not support resource claims"))
	}
	errs = append(errs, trimmedImages(p.Spec.Containers, spec.Child("containers"))...)
	errs = append(errs, trimmedImages(p.Spec.InitContainers, spec.Child("initContainers"))...)
	return errs
}

func trimmedImages(list []corev1.Container, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		errs = append(errs, trimmedImage(list[i].Image, p.Index(i))...)
	}
	return errs
}

func trimmedImage(image string, p *field.Path) field.ErrorList {
	if strings.TrimSpace(image) != image {
		return field.ErrorList{field.Invalid(p.Child("image"), image, "must not have leading or trailing whitespace")}
	}
	return nil
}

// ValidatePodTemplate checks the template of a workload.
func ValidatePodTemplate(t *corev1.PodTemplateSpec, p *field.Path) field.ErrorList {
	errs := metavalidation.ValidateLabels(t.Labels, p.Child("labels"))
	errs = append(errs, validation.ValidateAnnotations(t.Annotations, p.Child("annotations"))...)
	errs = append(errs, validatePodSpec(&t.Spec, true, p.Child("spec"))...)
	if len(t.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(p.Child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return errs
}

func validatePodSpec(spec *corev1.PodSpec, template bool, p *field.Path) field.ErrorList {
	volumes, errs := validateVolumes(spec.Volumes, template, p.Child("volumes"))
	claims, wrong := validatePodClaims(spec.ResourceClaims, p.Child("resourceClaims"))
	errs = append(errs, wrong...)
	rules := containerRules{spec: spec, volumes: volumes, claims: claims, grace: gracePeriodSeconds}
	if spec.TerminationGracePeriodSeconds != nil {
		rules.grace = *spec.TerminationGracePeriodSeconds
	}
	names := sets.New[string]()
	errs = append(errs, rules.containers(names, p.Child("containers"))...)
	errs = append(errs, rules.initContainers(names, p.Child("initContainers"))...)
	errs = append(errs, rules.ephemeralContainers(names, p.Child("ephemeralContainers"))...)
	errs = append(errs, validatePodResources(spec, p.Child("resources"))...)
	errs = append(errs, oneOf(spec.RestartPolicy, p.Child("restartPolicy"), corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)...)
	errs = append(errs, validateDNS(spec, p)...)
	errs = append(errs, validateHostNames(spec, p)...)
	errs = append(errs, validatePodSecurity(spec, p)...)
	errs = append(errs, validatePlacement(spec, p)...)
	errs = append(errs, validatePodNames(spec, p)...)
	if len(spec.Overhead) > 0 {
		errs = append(errs, ValidateOverhead(spec.Overhead, p.Child("overhead"))...)
	}
	if s := spec.ActiveDeadlineSeconds; s != nil && (*s < 1 || *s > math.MaxInt32) {
		errs = append(errs, field.Invalid(p.Child("activeDeadlineSeconds"), *s, utilvalidation.InclusiveRangeError(1, math.MaxInt32)))
	}
	return append(errs, validateOS(spec, p)...)
}

func validatePlacement(spec *corev1.PodSpec, p *field.Path) field.ErrorList {
	errs := metavalidation.ValidateLabels(spec.NodeSelector, p.Child("nodeSelector"))
	errs = append(errs, validateAffinity(spec.Affinity, p.Child("affinity"))...)
	errs = append(errs, ValidateTolerations(spec.Tolerations, p.Child("tolerations"))...)
	errs = append(errs, validateSpread(spec.TopologySpreadConstraints, p.Child("topologySpreadConstraints"))...)
	errs = append(errs, validateGates(spec.SchedulingGates, p.Child("schedulingGates"))...)
	return append(errs, optionalOneOf(spec.PreemptionPolicy, p.Child("preemptionPolicy"), corev1.PreemptLowerPriority, corev1.PreemptNever)...)
}

func validatePodNames(spec *corev1.PodSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, n := range []struct{ field, value string }{
		{"serviceAccountName", spec.ServiceAccountName},
		{"nodeName", spec.NodeName},
		{"priorityClassName", spec.PriorityClassName},
	} {
		if n.value != "" {
			errs = append(errs, api.DNSSubdomain(n.value, p.Child(n.field))...)
		}
	}
	if n := spec.RuntimeClassName; n != nil {
		errs = append(errs, api.DNSSubdomain(*n, p.Child("runtimeClassName"))...)
	}
	for i, gate := range spec.ReadinessGates {
		errs = append(errs, qualifiedName(string(gate.ConditionType), p.Child("readinessGates").Index(i).Child("conditionType"))...)
	}
	return errs
}

func validatePodClaims(list []corev1.PodResourceClaim, p *field.Path) (sets.Set[string], field.ErrorList) {
	var errs field.ErrorList
	names := sets.New[string]()
	for i, c := range list {
		at := p.Index(i)
		if c.Name != "" && names.Has(c.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		} else {
			errs = append(errs, requiredDNSLabel(c.Name, at.Child("name"))...)
			names.Insert(c.Name)
		}
		switch {
		case c.ResourceClaimName != nil && c.ResourceClaimTemplateName != nil:
			errs = append(errs, field.Invalid(at, c, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
		case c.ResourceClaimName == nil && c.ResourceClaimTemplateName == nil:
			errs = append(errs, field.Invalid(at, c, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"))
		}
		if name := c.ResourceClaimName; name != nil {
			errs = append(errs, api.DNSSubdomain(*name, at.Child("resourceClaimName"))...)
		}
		if name := c.ResourceClaimTemplateName; name != nil {
			errs = append(errs, api.DNSSubdomain(*name, at.Child("resourceClaimTemplateName"))...)
		}
	}
	return names, errs
}

// validateOS keeps what one operating system has from pods that ask for the other.
func validateOS(spec *corev1.PodSpec, p *field.Path) field.ErrorList {
	if spec.OS == nil {
		return nil
	}
	errs := oneOf(spec.OS.Name, p.Child("os", "name"), corev1.Linux, corev1.Windows)
	if sc := spec.SecurityContext; spec.OS.Name == corev1.Linux && sc != nil && sc.WindowsOptions != nil {
		errs = append(errs, field.Forbidden(p.Child("securityContext", "windowsOptions"), "windows options cannot be set for a linux pod"))
	}
	if spec.OS.Name == corev1.Windows {
		for _, part := range []struct {
			name string
			set  bool
		}{{"hostPID", spec.HostPID}, {"hostIPC", spec.HostIPC}, {"hostUsers", spec.HostUsers != nil}, {"shareProcessNamespace", spec.ShareProcessNamespace != nil}} {
			if part.set {
				errs = append(errs, field.Forbidden(p.Child(part.name), "cannot be set for a windows pod"))
			}
		}
	}
	return errs
}

func warnPod(p, _ *corev1.Pod) []string {
	var out []string
	if g := p.Spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		out = append(out, "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1")
	}
	return out
}
