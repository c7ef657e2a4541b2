package plugins

import (
	"fmt"
	"slices"
	"strings"

	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// PluginPolicies is all that the server, the printer and the docs know of PluginPolicy.
var PluginPolicies = api.Kind[v1alpha1.PluginPolicy]{
	Group: "plugins.gantry.dev", Version: "v1alpha1", Name: "PluginPolicy", Plural: "pluginpolicies", StoragePrefix: "plugins.gantry.dev/pluginpolicies", Categories: []string{"gantry"},
	Generation: true,
	Validate:   validatePolicy,
	Columns: []api.Column[v1alpha1.PluginPolicy]{
		api.NameColumn[v1alpha1.PluginPolicy](),
		{Name: "Require Verified", Type: "boolean", Description: "Whether unverified plugins are refused.", Cell: func(p *v1alpha1.PluginPolicy) any { return p.Spec.RequireVerified }},
		{Name: "Types", Description: "The types of plugins that it is about.", Cell: func(p *v1alpha1.PluginPolicy) any {
			if len(p.Spec.Types) == 0 {
				return "<all>"
			}
			return strings.Trim(strings.ReplaceAll(fmt.Sprint(p.Spec.Types), " ", ","), "[]")
		}},
		{Name: "Node Selector", Description: "The nodes that it picks.", Cell: func(p *v1alpha1.PluginPolicy) any {
			if len(p.Spec.NodeSelector) == 0 {
				return "<all>"
			}
			return labels.FormatLabels(p.Spec.NodeSelector)
		}},
		api.AgeColumn[v1alpha1.PluginPolicy](),
	},
}

func validatePolicy(p, _ *v1alpha1.PluginPolicy) field.ErrorList {
	spec := field.NewPath("spec")
	errs := metavalidation.ValidateLabels(p.Spec.NodeSelector, spec.Child("nodeSelector"))
	for i, t := range p.Spec.Types {
		path := spec.Child("types").Index(i)
		errs = append(errs, validateType(t, path)...)
		if slices.Contains(p.Spec.Types[:i], t) {
			errs = append(errs, field.Duplicate(path, t))
		}
	}
	return errs
}
