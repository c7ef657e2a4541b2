package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// validateProbes checks the three probes and the hooks of a container.
func validateProbes(c *corev1.Container, grace int64, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, probe := range []struct {
		name string
		*corev1.Probe
	}{{"livenessProbe", c.LivenessProbe}, {"startupProbe", c.StartupProbe}} {
		if probe.Probe == nil {
			continue
		}
		errs = append(errs, validateProbe(probe.Probe, p.Child(probe.name))...)
		if probe.SuccessThreshold != 1 {
			errs = append(errs, field.Invalid(p.Child(probe.name, "successThreshold"), probe.SuccessThreshold, "must be 1"))
		}
	}
	if r := c.ReadinessProbe; r != nil {
		at := p.Child("readinessProbe")
		errs = append(errs, validateProbe(r, at)...)
		if r.TerminationGracePeriodSeconds != nil {
			errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), *r.TerminationGracePeriodSeconds, "must not be set for readinessProbes"))
		}
	}
	if l := c.Lifecycle; l != nil {
		at := p.Child("lifecycle")
		errs = append(errs, validateHook(l.PostStart, grace, at.Child("postStart"))...)
		errs = append(errs, validateHook(l.PreStop, grace, at.Child("preStop"))...)
	}
	return errs
}

func validateProbe(probe *corev1.Probe, p *field.Path) field.ErrorList {
	h := probe.ProbeHandler
	errs := oneHandler(p, h.Exec != nil, h.HTTPGet != nil, h.TCPSocket != nil, h.GRPC != nil)
	errs = append(errs, validateAction(h.Exec, h.HTTPGet, h.TCPSocket, p)...)
	if h.GRPC != nil {
		errs = append(errs, api.Invalid(p.Child("grpc", "port"), h.GRPC.Port, utilvalidation.IsValidPortNum(int(h.GRPC.Port)))...)
	}
	for _, n := range []struct {
		name  string
		value int32
	}{
		{"initialDelaySeconds", probe.InitialDelaySeconds},
		{"timeoutSeconds", probe.TimeoutSeconds},
		{"periodSeconds", probe.PeriodSeconds},
		{"successThreshold", probe.SuccessThreshold},
		{"failureThreshold", probe.FailureThreshold},
	} {
		errs = append(errs, nonNegative(n.value, p.Child(n.name))...)
	}
	if t := probe.TerminationGracePeriodSeconds; t != nil && *t <= 0 {
		errs = append(errs, field.Invalid(p.Child("terminationGracePeriodSeconds"), *t, "must be greater than 0"))
	}
	return errs
}

func oneHandler(p *field.Path, set ...bool) field.ErrorList {
	count := 0
	for _, s := range set {
		if s {
			count++
		}
	}
	switch {
	case count == 0:
		return field.ErrorList{field.Required(p, "must specify a handler type")}
	case count > 1:
		return field.ErrorList{field.Forbidden(p, "may not specify more than 1 handler type")}
	}
	return nil
}

func validateAction(exec *corev1.ExecAction, get *corev1.HTTPGetAction, tcp *corev1.TCPSocketAction, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if exec != nil && len(exec.Command) == 0 {
		errs = append(errs, field.Required(p.Child("exec", "command"), ""))
	}
	if get != nil {
		at := p.Child("httpGet")
		errs = append(errs, required(get.Path, at.Child("path"))...)
		errs = append(errs, portOrName(get.Port, at.Child("port"))...)
		errs = append(errs, oneOf(get.Scheme, at.Child("scheme"), corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
		for _, h := range get.HTTPHeaders {
			errs = append(errs, api.Invalid(at.Child("httpHeaders"), h.Name, utilvalidation.IsHTTPHeaderName(h.Name))...)
		}
	}
	if tcp != nil {
		errs = append(errs, portOrName(tcp.Port, p.Child("tcpSocket", "port"))...)
	}
	return errs
}

func validateHook(h *corev1.LifecycleHandler, grace int64, p *field.Path) field.ErrorList {
	if h == nil {
		return nil
	}
	errs := oneHandler(p, h.Exec != nil, h.HTTPGet != nil, h.TCPSocket != nil, h.Sleep != nil)
	errs = append(errs, validateAction(h.Exec, h.HTTPGet, h.TCPSocket, p)...)
	if h.Sleep != nil && (h.Sleep.Seconds < 0 || h.Sleep.Seconds > grace) {
		errs = append(errs, field.Invalid(p.Child("sleep", "seconds"), h.Sleep.Seconds,
			fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", grace)))
	}
	return errs
}
