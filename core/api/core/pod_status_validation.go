package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// validatePodStatus refuses impossible steps: a container that will not be restarted never leaves its end.
func validatePodStatus(p, old *corev1.Pod) field.ErrorList {
	if old == nil {
		return nil
	}
	var errs field.ErrorList
	status := field.NewPath("status")
	if p.Spec.NodeName != old.Spec.NodeName {
		errs = append(errs, field.Forbidden(status.Child("nodeName"), "may not be changed directly"))
	}
	if n := p.Status.NominatedNodeName; n != "" {
		errs = append(errs, api.DNSSubdomain(n, status.Child("nominatedNodeName"))...)
	}
	errs = append(errs, validateTransitions(p.Status.ContainerStatuses, old.Status.ContainerStatuses, mayRestart(&old.Spec), status.Child("containerStatuses"))...)
	errs = append(errs, validateTransitions(p.Status.InitContainerStatuses, old.Status.InitContainerStatuses, mayRestartInit(&old.Spec), status.Child("initContainerStatuses"))...)
	for i, c := range p.Status.Conditions {
		errs = append(errs, qualifiedName(string(c.Type), status.Child("conditions").Index(i).Child("type"))...)
	}
	return append(errs, validatePodIPs(p, status)...)
}

func mayRestart(spec *corev1.PodSpec) func(name string, exit int32) bool {
	own := map[string]*corev1.Container{}
	for i := range spec.Containers {
		own[spec.Containers[i].Name] = &spec.Containers[i]
	}
	return func(name string, exit int32) bool {
		if c := own[name]; c != nil && (c.RestartPolicy != nil || len(c.RestartPolicyRules) > 0) {
			return len(c.RestartPolicyRules) > 0 || restarts(corev1.RestartPolicy(*c.RestartPolicy), exit)
		}
		return restarts(spec.RestartPolicy, exit)
	}
}

// mayRestartInit differs in that a failed init container runs again unless the pod never restarts.
func mayRestartInit(spec *corev1.PodSpec) func(name string, exit int32) bool {
	restartable := sets.New[string]()
	for i := range spec.InitContainers {
		if c := &spec.InitContainers[i]; c.RestartPolicy != nil || len(c.RestartPolicyRules) > 0 {
			restartable.Insert(c.Name)
		}
	}
	return func(name string, _ int32) bool {
		return restartable.Has(name) || spec.RestartPolicy != corev1.RestartPolicyNever
	}
}

func restarts(policy corev1.RestartPolicy, exit int32) bool {
	return policy == corev1.RestartPolicyAlways || policy == corev1.RestartPolicyOnFailure && exit != 0
}

func validateTransitions(now, before []corev1.ContainerStatus, may func(string, int32) bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	had := map[string]*corev1.ContainerStatus{}
	for i := range before {
		had[before[i].Name] = &before[i]
	}
	for i := range now {
		old := had[now[i].Name]
		if old == nil || old.State.Terminated == nil || now[i].State.Terminated != nil {
			continue
		}
		if !may(old.Name, old.State.Terminated.ExitCode) {
			errs = append(errs, field.Forbidden(p.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
		}
	}
	return errs
}

func validatePodIPs(p *corev1.Pod, status *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := status.Child("podIPs")
	seen, families := sets.New[string](), map[bool]int{}
	for i, ip := range p.Status.PodIPs {
		errs = append(errs, utilvalidation.IsValidIPForLegacyField(at.Index(i), ip.IP, true, nil)...)
		if seen.Has(ip.IP) {
			errs = append(errs, field.Duplicate(at.Index(i), ip))
		}
		seen.Insert(ip.IP)
		families[isIPv6(ip.IP)]++
	}
	if len(p.Status.PodIPs) > 2 || families[true] > 1 || families[false] > 1 {
		errs = append(errs, field.Invalid(at, p.Status.PodIPs, "may specify no more than one IP for each IP family"))
	}
	return errs
}
