package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const maxEventName = 128

// validateEvent is strict only with events that have an eventTime: older clients leave much out.
func validateEvent(e, _ *corev1.Event) field.ErrorList {
	errs := validateEventNamespace(e)
	if e.EventTime.IsZero() {
		return errs
	}
	controller := field.NewPath("reportingComponent")
	if e.ReportingController == "" {
		errs = append(errs, field.Required(controller, ""))
	} else {
		errs = append(errs, qualifiedName(e.ReportingController, controller)...)
	}
	for _, part := range []struct{ name, value string }{
		{"reportingInstance", e.ReportingInstance}, {"action", e.Action}, {"reason", e.Reason},
	} {
		errs = append(errs, required(part.value, field.NewPath(part.name))...)
		if len(part.value) > maxEventName {
			errs = append(errs, field.Invalid(field.NewPath(part.name), "", "can have at most 128 characters"))
		}
	}
	if len(e.Message) > 1024 {
		errs = append(errs, field.Invalid(field.NewPath("message"), "", "can have at most 1024 characters"))
	}
	return errs
}

// validateEventNamespace keeps an event beside its object; those of cluster-wide objects have a place of
// their own.
func validateEventNamespace(e *corev1.Event) field.ErrorList {
	old := e.EventTime.IsZero()
	ok := e.Namespace == e.InvolvedObject.Namespace || !old
	if e.InvolvedObject.Namespace == "" {
		ok = e.Namespace == "" || e.Namespace == metav1.NamespaceDefault || !old && e.Namespace == metav1.NamespaceSystem
	}
	if ok {
		return nil
	}
	p := field.NewPath("involvedObject", "namespace")
	return field.ErrorList{field.Invalid(p, e.InvolvedObject.Namespace, "does not match event.namespace")}
}
