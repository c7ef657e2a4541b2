package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const (
	maxRestartRules  = 20
	maxRestartValues = 255
)

// containerRules checks containers in the light of the pod that they belong to.
type containerRules struct {
	spec    *corev1.PodSpec
	volumes volumeSet
	claims  sets.Set[string]
	grace   int64
}

// containers checks the regular containers; names collects those in use.
func (r *containerRules) containers(names sets.Set[string], p *field.Path) field.ErrorList {
	list := r.spec.Containers
	if len(list) == 0 {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	for i := range list {
		at := p.Index(i)
		errs = append(errs, r.container(&list[i], names, at)...)
		errs = append(errs, validateProbes(&list[i], r.grace, at)...)
		errs = append(errs, r.stopSignal(&list[i], at)...)
		errs = append(errs, validateRestart(&list[i], at)...)
	}
	return append(errs, hostPortConflicts(list, p)...)
}

// initContainers may have probes and hooks only when they go on running as sidecars.
func (r *containerRules) initContainers(names sets.Set[string], p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range r.spec.InitContainers {
		c, at := &r.spec.InitContainers[i], p.Index(i)
		errs = append(errs, r.container(c, names, at)...)
		errs = append(errs, validateRestart(c, at)...)
		if isSidecar(c) {
			errs = append(errs, validateProbes(c, r.grace, at)...)
			errs = append(errs, r.stopSignal(c, at)...)
		} else {
			errs = append(errs, forbidProbes(c, at)...)
		}
		errs = append(errs, hostPortConflicts([]corev1.Container{*c}, p)...)
	}
	return errs
}

func forbidProbes(c *corev1.Container, p *field.Path) field.ErrorList {
	const why = "may not be set for init containers without restartPolicy=Always"
	var errs field.ErrorList
	for _, part := range []struct {
		name string
		set  bool
	}{
		{"lifecycle", c.Lifecycle != nil},
		{"livenessProbe", c.LivenessProbe != nil},
		{"readinessProbe", c.ReadinessProbe != nil},
		{"startupProbe", c.StartupProbe != nil},
	} {
		if part.set {
			errs = append(errs, field.Forbidden(p.Child(part.name), why))
		}
	}
	return errs
}

// container checks what all sorts of containers have in common.
func (r *containerRules) container(c *corev1.Container, names sets.Set[string], p *field.Path) field.ErrorList {
	errs := requiredDNSLabel(c.Name, p.Child("name"))
	if c.Name != "" && names.Has(c.Name) {
		errs = append(errs, field.Duplicate(p.Child("name"), c.Name))
	}
	names.Insert(c.Name)
	errs = append(errs, required(c.Image, p.Child("image"))...)
	errs = append(errs, oneOf(c.TerminationMessagePolicy, p.Child("terminationMessagePolicy"),
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	errs = append(errs, validatePorts(c.Ports, r.spec.HostNetwork, p.Child("ports"))...)
	errs = append(errs, validateEnv(c.Env, r.volumes, p.Child("env"))...)
	errs = append(errs, validateEnvFrom(c.EnvFrom, p.Child("envFrom"))...)
	errs = append(errs, validateMounts(c, r.volumes, p)...)
	errs = append(errs, oneOf(c.ImagePullPolicy, p.Child("imagePullPolicy"), corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	errs = append(errs, validateResources(&c.Resources, r.claims, p.Child("resources"))...)
	errs = append(errs, validateResizePolicy(c.ResizePolicy, r.spec.RestartPolicy, p.Child("resizePolicy"))...)
	return append(errs, validateSecurity(c.SecurityContext, r.spec, p.Child("securityContext"))...)
}

func validatePorts(ports []corev1.ContainerPort, hostNetwork bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range ports {
		port, at := &ports[i], p.Index(i)
		if port.Name != "" {
			wrong := api.Invalid(at.Child("name"), port.Name, utilvalidation.IsValidPortName(port.Name))
			if len(wrong) == 0 && names.Has(port.Name) {
				wrong = field.ErrorList{field.Duplicate(at.Child("name"), port.Name)}
			}
			names.Insert(port.Name)
			errs = append(errs, wrong...)
		}
		if port.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			errs = append(errs, api.Invalid(at.Child("containerPort"), port.ContainerPort, utilvalidation.IsValidPortNum(int(port.ContainerPort)))...)
		}
		if port.HostPort != 0 {
			errs = append(errs, api.Invalid(at.Child("hostPort"), port.HostPort, utilvalidation.IsValidPortNum(int(port.HostPort)))...)
		}
		if hostNetwork && port.HostPort != 0 && port.HostPort != port.ContainerPort {
			errs = append(errs, field.Invalid(at.Child("containerPort"), port.ContainerPort, "must match `hostPort` when `hostNetwork` is true"))
		}
		errs = append(errs, oneOf(port.Protocol, at.Child("protocol"), corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
		if port.HostIP != "" {
			errs = append(errs, utilvalidation.IsValidIPForLegacyField(at.Child("hostIP"), port.HostIP, true, nil)...)
		}
	}
	return errs
}

func hostPortConflicts(list []corev1.Container, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	used := sets.New[string]()
	for i := range list {
		for j, port := range list[i].Ports {
			if port.HostPort == 0 {
				continue
			}
			id := fmt.Sprintf("%s/%s/%d", port.Protocol, port.HostIP, port.HostPort)
			if used.Has(id) {
				errs = append(errs, field.Duplicate(p.Index(i).Child("ports").Index(j).Child("hostPort"), id))
			}
			used.Insert(id)
		}
	}
	return errs
}

func (r *containerRules) stopSignal(c *corev1.Container, p *field.Path) field.ErrorList {
	if c.Lifecycle == nil || c.Lifecycle.StopSignal == nil {
		return nil
	}
	at := p.Child("lifecycle", "stopSignal")
	switch {
	case r.spec.OS == nil:
		return field.ErrorList{field.Forbidden(at, "may not be set for containers with empty `spec.os.name`")}
	case r.spec.OS.Name == corev1.Windows:
		return oneOf(*c.Lifecycle.StopSignal, at, corev1.SIGTERM, corev1.SIGKILL)
	case *c.Lifecycle.StopSignal == "":
		return field.ErrorList{field.Required(at, "")}
	}
	return nil
}

func validateRestart(c *corev1.Container, p *field.Path) field.ErrorList {
	errs := optionalOneOf(c.RestartPolicy, p.Child("restartPolicy"),
		corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)
	rules := p.Child("restartPolicyRules")
	if len(c.RestartPolicyRules) > 0 && c.RestartPolicy == nil {
		errs = append(errs, field.Required(p.Child("restartPolicy"), "must specify restartPolicy when restart rules are used"))
	}
	if len(c.RestartPolicyRules) > maxRestartRules {
		errs = append(errs, field.TooMany(rules, len(c.RestartPolicyRules), maxRestartRules))
	}
	for i, rule := range c.RestartPolicyRules {
		at := rules.Index(i)
		errs = append(errs, oneOf(rule.Action, at.Child("action"),
			corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)...)
		if rule.ExitCodes == nil {
			errs = append(errs, field.Required(at.Child("exitCodes"), "must be specified"))
			continue
		}
		errs = append(errs, oneOf(rule.ExitCodes.Operator, at.Child("exitCodes", "operator"),
			corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)...)
		if n := len(rule.ExitCodes.Values); n == 0 {
			errs = append(errs, field.Required(at.Child("exitCodes", "values"), "must specify at least one exit code"))
		} else if n > maxRestartValues {
			errs = append(errs, field.TooMany(at.Child("exitCodes", "values"), n, maxRestartValues))
		}
	}
	return errs
}

func validateResizePolicy(list []corev1.ContainerResizePolicy, restart corev1.RestartPolicy, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[corev1.ResourceName]()
	for i, r := range list {
		at := p.Index(i)
		if seen.Has(r.ResourceName) {
			errs = append(errs, field.Duplicate(at, r.ResourceName))
		}
		seen.Insert(r.ResourceName)
		errs = append(errs, oneOf(r.ResourceName, p, corev1.ResourceCPU, corev1.ResourceMemory)...)
		errs = append(errs, oneOf(r.RestartPolicy, p, corev1.NotRequired, corev1.RestartContainer)...)
		if restart == corev1.RestartPolicyNever && r.RestartPolicy != corev1.NotRequired {
			errs = append(errs, field.Invalid(p, r.RestartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"))
		}
	}
	return errs
}

// validateInitResizePolicy refuses what new pods cannot have: an init container that is restarted has not done its work.
func validateInitResizePolicy(list []corev1.Container, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		for j, r := range list[i].ResizePolicy {
			if r.RestartPolicy == corev1.RestartContainer && !isSidecar(&list[i]) {
				errs = append(errs, field.Invalid(p.Index(i).Child("resizePolicy").Index(j).Child("restartPolicy"), r.RestartPolicy,
					"must not be set to 'RestartContainer' for non-sidecar initContainers"))
			}
		}
	}
	return errs
}
