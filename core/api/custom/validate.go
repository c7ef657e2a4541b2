package custom

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"

	"github.com/gantryio/gantry/core/api"
)

// validate checks an object against its schema, the kinds of its lists, and the schema's rules, in the order of Kubernetes.
// What was wrong already and has not been touched is let through ("ratcheting", KEP-4008).
func (v *version) validate(obj, old api.Object) field.ErrorList {
	now := obj.(*unstructured.Unstructured).Object
	var errs field.ErrorList
	var before any // an interface without a value for a create
	var lists bool
	var celOptions []cel.Option
	if old == nil {
		errs = validation.ValidateCustomResource(nil, now, v.validator)
		lists = true
	} else {
		was := old.(*unstructured.Unstructured).Object
		before = was
		correlated := common.NewCorrelatedObject(now, was, &model.Structural{Structural: v.structural})
		errs = validation.ValidateCustomResourceUpdate(nil, now, was, v.validator, validation.WithRatcheting(correlated))
		celOptions = append(celOptions, cel.WithRatcheting(correlated))
		lists = len(listtype.ValidateListSetsAndMaps(nil, v.structural, was)) == 0
	}
	errs = append(errs, v.validateScale(now)...)
	errs = append(errs, objectmeta.Validate(context.Background(), nil, now, v.structural, false)...)
	if lists {
		errs = append(errs, listtype.ValidateListSetsAndMaps(nil, v.structural, now)...)
	}
	if v.rules == nil {
		return errs
	}
	if slices.ContainsFunc(errs, blocksRules) {
		return append(errs, field.Invalid(nil, nil, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"))
	}
	found, _ := v.rules.Validate(context.Background(), nil, v.structural, now, before, celconfig.RuntimeCELCostBudget, celOptions...)
	return append(errs, found...)
}

// blocksRules tells errors after which rules could not be evaluated.
func blocksRules(err *field.Error) bool {
	switch err.Type {
	case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
		return true
	}
	return false
}

// validateStatus checks what a write of the status can have made wrong.
func (v *version) validateStatus(obj, old api.Object) field.ErrorList {
	return slices.DeleteFunc(v.validate(obj, old), func(err *field.Error) bool {
		return strings.HasPrefix(err.Field, "spec.") || err.Field == "spec" || strings.HasPrefix(err.Field, "metadata.")
	})
}

// validateScale refuses counts that a Scale could not show.
func (v *version) validateScale(content map[string]any) field.ErrorList {
	if v.scale == nil {
		return nil
	}
	var errs field.ErrorList
	for _, path := range []string{v.scale.SpecReplicasPath, v.scale.StatusReplicasPath} {
		names := steps(path)
		n, found, err := unstructured.NestedInt64(content, names...)
		at := field.NewPath(names[0], names[1:]...)
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(at, n, err.Error()))
		case found && n < 0:
			errs = append(errs, field.Invalid(at, n, "should be a non-negative integer"))
		case found && n > 1<<31-1:
			errs = append(errs, field.Invalid(at, n, fmt.Sprintf("should be less than or equal to %v", 1<<31-1)))
		}
	}
	return errs
}

// plainFinalizers are those that need no domain.
var plainFinalizers = []string{metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents, string(corev1.FinalizerKubernetes)}

// warnOfFinalizers tells of new finalizers that others might also take.
func warnOfFinalizers(obj, old api.Object) []string {
	var out []string
	for _, name := range obj.GetFinalizers() {
		if old != nil && slices.Contains(old.GetFinalizers(), name) || slices.Contains(plainFinalizers, name) {
			continue
		}
		for _, text := range utilvalidation.IsQualifiedName(name) {
			out = append(out, fmt.Sprintf("metadata.finalizers: %q: %s", name, text))
		}
		if strings.Contains(name, "/") {
			continue
		}
		if strings.Contains(name, ".") {
			out = append(out, fmt.Sprintf("metadata.finalizers: %q: prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers", name))
		} else {
			out = append(out, fmt.Sprintf("metadata.finalizers: %q: prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers", name))
		}
	}
	return out
}
