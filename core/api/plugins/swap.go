package plugins

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// PluginSwaps is all that the server, the printer and the docs know of PluginSwap.
var PluginSwaps = api.Kind[v1alpha1.PluginSwap]{
	Group: "plugins.gantry.dev", Version: "v1alpha1", Name: "PluginSwap", Plural: "pluginswaps", StoragePrefix: "plugins.gantry.dev/pluginswaps", Categories: []string{"gantry"},
	Subresources: api.Status, Generation: true,
	Default: func(s *v1alpha1.PluginSwap) {
		setDefault(&s.Spec.MaxUnavailable, intstr.FromInt32(1))
		setDefault(&s.Spec.HealthTimeoutSeconds, 60)
		setDefault(&s.Spec.AutomaticRollback, true)
		if s.Spec.BarePods == "" {
			s.Spec.BarePods = v1alpha1.Leave
		}
	},
	Validate: validateSwap,
	Columns: []api.Column[v1alpha1.PluginSwap]{
		api.NameColumn[v1alpha1.PluginSwap](),
		{Name: "Type", Description: "What is swapped.", Cell: func(s *v1alpha1.PluginSwap) any { return string(s.Spec.Type) }},
		{Name: "From", Description: "The old plugin.", Cell: func(s *v1alpha1.PluginSwap) any { return s.Spec.From }},
		{Name: "To", Description: "The new plugin.", Cell: func(s *v1alpha1.PluginSwap) any { return s.Spec.To }},
		{Name: "Phase", Description: "How far it is.", Cell: func(s *v1alpha1.PluginSwap) any { return string(s.Status.Phase) }},
		{Name: "Nodes", Description: "Nodes that have moved, of all.", Cell: func(s *v1alpha1.PluginSwap) any {
			done := 0
			for i := range s.Status.Nodes {
				if s.Status.Nodes[i].Phase == v1alpha1.SwapSucceeded {
					done++
				}
			}
			return fmt.Sprintf("%d/%d", done, len(s.Status.Nodes))
		}},
		api.AgeColumn[v1alpha1.PluginSwap](),
		{Name: "Message", Priority: 1, Description: "What it waits for, or why it failed.", Cell: func(s *v1alpha1.PluginSwap) any { return s.Status.Message }},
	},
}

// swappable are the types whose pods are moved, or that serve none in particular.
var swappable = []v1alpha1.Type{v1alpha1.Network, v1alpha1.Runtime, v1alpha1.Service}

func validateSwap(s, old *v1alpha1.PluginSwap) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateType(s.Spec.Type, spec.Child("type"))
	if len(errs) == 0 && !slices.Contains(swappable, s.Spec.Type) {
		errs = append(errs, field.NotSupported(spec.Child("type"), s.Spec.Type, swappable))
	}
	for _, f := range []struct{ name, value string }{{"from", s.Spec.From}, {"to", s.Spec.To}} {
		if f.value == "" {
			errs = append(errs, field.Required(spec.Child(f.name), ""))
			continue
		}
		for _, text := range utilvalidation.IsDNS1123Label(f.value) {
			errs = append(errs, field.Invalid(spec.Child(f.name), f.value, text))
		}
	}
	if s.Spec.From != "" && s.Spec.From == s.Spec.To {
		errs = append(errs, field.Invalid(spec.Child("to"), s.Spec.To, "must be another plugin than from"))
	}
	for i, name := range s.Spec.Nodes {
		for _, text := range api.ValidateSubdomain(name, false) {
			errs = append(errs, field.Invalid(spec.Child("nodes").Index(i), name, text))
		}
	}
	errs = append(errs, validateUnavailable(s.Spec.MaxUnavailable, spec.Child("maxUnavailable"))...)
	errs = append(errs, validateTimeout(s.Spec.HealthTimeoutSeconds, spec.Child("healthTimeoutSeconds"))...)
	if b := s.Spec.BarePods; b != v1alpha1.Leave && b != v1alpha1.Evict {
		errs = append(errs, field.NotSupported(spec.Child("barePods"), b, []v1alpha1.BarePods{v1alpha1.Evict, v1alpha1.Leave}))
	}
	if old != nil {
		have, had := s.Spec, old.Spec
		have.Cancelled, had.Cancelled = false, false
		errs = append(errs, validation.ValidateImmutableField(have, had, spec)...)
		if old.Spec.Cancelled && !s.Spec.Cancelled {
			errs = append(errs, field.Invalid(spec.Child("cancelled"), false, "a cancelled swap cannot go on"))
		}
	}
	return errs
}
