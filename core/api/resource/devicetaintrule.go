package resource

import (
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// DeviceTaintRules is all that the server, the printer and the docs know of DeviceTaintRule.
var DeviceTaintRules = api.Kind[resourcev1.DeviceTaintRule]{
	Group: "resource.k8s.io", Version: "v1", Name: "DeviceTaintRule", Plural: "devicetaintrules",
	Earlier:      []string{"resource.k8s.io/v1alpha3", "resource.k8s.io/v1beta2"},
	Subresources: api.Status, Generation: true, UnconditionalUpdateForbidden: true,
	Default:        func(r *resourcev1.DeviceTaintRule) { defaultTaint(&r.Spec.Taint) },
	Prepare:        prepareTaintRule,
	Validate:       validateTaintRule,
	ValidateStatus: validateTaintRuleStatus,
	Columns: []api.Column[resourcev1.DeviceTaintRule]{
		api.NameColumn[resourcev1.DeviceTaintRule](),
		{Name: "Key", Description: "The taint's key.", Cell: func(r *resourcev1.DeviceTaintRule) any { return r.Spec.Taint.Key }},
		{Name: "Value", Description: "The taint's value.", Cell: func(r *resourcev1.DeviceTaintRule) any { return r.Spec.Taint.Value }},
		{Name: "Effect", Description: "What it does to claims that do not tolerate it.", Cell: func(r *resourcev1.DeviceTaintRule) any { return string(r.Spec.Taint.Effect) }},
		{Name: "TimeAdded", Description: "Since when.", Cell: func(r *resourcev1.DeviceTaintRule) any { return taintedSince(r) }},
		api.AgeColumn[resourcev1.DeviceTaintRule](),
	},
}

func taintedSince(r *resourcev1.DeviceTaintRule) string {
	if r.Spec.Taint.TimeAdded == nil {
		return ""
	}
	return api.Age(*r.Spec.Taint.TimeAdded)
}

func defaultTaint(t *resourcev1.DeviceTaint) {
	if t.TimeAdded == nil {
		t.TimeAdded = now()
	}
}

// now has seconds only, as what is encoded has.
func now() *metav1.Time { return &metav1.Time{Time: time.Now().Truncate(time.Second)} }

// prepareTaintRule makes the taint's time that of its effect, unless the client gives another one.
func prepareTaintRule(r, old *resourcev1.DeviceTaintRule) {
	if old == nil {
		return
	}
	t, was := &r.Spec.Taint, &old.Spec.Taint
	if t.Effect != was.Effect && t.TimeAdded.Equal(was.TimeAdded) {
		t.TimeAdded = now()
	}
}

func validateTaintRule(r, old *resourcev1.DeviceTaintRule) field.ErrorList {
	p := field.NewPath("spec")
	var was *resourcev1.DeviceTaintRuleSpec
	if old != nil {
		was = &old.Spec
	}
	errs := declared(resourcev1.Validate_DeviceTaintRuleSpec, p, &r.Spec, was)
	if s, at := r.Spec.DeviceSelector, p.Child("deviceSelector"); s != nil {
		if s.Driver != nil {
			errs = append(errs, validateDriverName(*s.Driver, at.Child("driver"))...)
		}
		if s.Pool != nil {
			errs = append(errs, validatePoolName(*s.Pool, at.Child("pool"))...)
		}
		if s.Device != nil {
			errs = append(errs, api.DNSLabel(*s.Device, at.Child("device"))...)
		}
	}
	return append(errs, validateTaint(&r.Spec.Taint, p.Child("taint"))...)
}

// validateTaint leaves the effect to declared rules.
func validateTaint(t *resourcev1.DeviceTaint, p *field.Path) field.ErrorList {
	errs := metavalidation.ValidateLabelName(t.Key, p.Child("key"))
	if t.Value != "" {
		errs = append(errs, api.Invalid(p.Child("value"), t.Value, utilvalidation.IsValidLabelValue(t.Value))...)
	}
	return errs
}

func validateTaintRuleStatus(r, old *resourcev1.DeviceTaintRule) field.ErrorList {
	p := field.NewPath("status")
	errs := declared(resourcev1.Validate_DeviceTaintRuleStatus, p, &r.Status, &old.Status)
	at := p.Child("conditions")
	errs = append(errs, metavalidation.ValidateConditions(r.Status.Conditions, at)...)
	if n := len(r.Status.Conditions); n > resourcev1.DeviceTaintRuleStatusMaxConditions {
		errs = append(errs, field.TooMany(at, n, resourcev1.DeviceTaintRuleStatusMaxConditions))
	}
	return errs
}
