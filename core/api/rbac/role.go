package rbac

import (
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// Roles is all that the server, the printer and the docs know of Role.
var Roles = api.Kind[rbacv1.Role]{
	Group: rbacv1.GroupName, Version: "v1", Name: "Role", Plural: "roles",
	Earlier:      []string{"rbac.authorization.k8s.io/v1beta1"},
	Namespaced:   true,
	ValidateName: path.ValidatePathSegmentName,
	Default:      func(r *rbacv1.Role) { api.DropEmpty(&r.Rules) },
	Validate: func(r, _ *rbacv1.Role) field.ErrorList {
		return validateRules(r.Rules, true, field.NewPath("rules"))
	},
	Columns: []api.Column[rbacv1.Role]{
		api.NameColumn[rbacv1.Role](),
		{Name: "Created At", Type: "date", Description: "When the role was made.", Cell: func(r *rbacv1.Role) any { return created(&r.ObjectMeta) }},
	},
}

// ClusterRoles is all that the server, the printer and the docs know of ClusterRole.
var ClusterRoles = api.Kind[rbacv1.ClusterRole]{
	Group: rbacv1.GroupName, Version: "v1", Name: "ClusterRole", Plural: "clusterroles",
	Earlier:      []string{"rbac.authorization.k8s.io/v1beta1"},
	ValidateName: path.ValidatePathSegmentName,
	Default:      func(r *rbacv1.ClusterRole) { api.DropEmpty(&r.Rules) },
	Validate: func(r, _ *rbacv1.ClusterRole) field.ErrorList {
		errs := validateRules(r.Rules, false, field.NewPath("rules"))
		if r.AggregationRule == nil {
			return errs
		}
		at := field.NewPath("aggregationRule", "clusterRoleSelectors")
		if len(r.AggregationRule.ClusterRoleSelectors) == 0 {
			return append(errs, field.Required(at, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
		}
		for i := range r.AggregationRule.ClusterRoleSelectors {
			errs = append(errs, metavalidation.ValidateLabelSelector(&r.AggregationRule.ClusterRoleSelectors[i],
				metavalidation.LabelSelectorValidationOptions{}, at.Index(i))...)
		}
		return errs
	},
	Columns: []api.Column[rbacv1.ClusterRole]{
		api.NameColumn[rbacv1.ClusterRole](),
		{Name: "Created At", Type: "date", Description: "When the role was made.", Cell: func(r *rbacv1.ClusterRole) any { return created(&r.ObjectMeta) }},
	},
}

func created(m *metav1.ObjectMeta) string {
	if m.CreationTimestamp.IsZero() {
		return "<unknown>"
	}
	return m.CreationTimestamp.UTC().Format(time.RFC3339)
}

func validateRules(rules []rbacv1.PolicyRule, namespaced bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range rules {
		errs = append(errs, validateRule(&rules[i], namespaced, p.Index(i))...)
	}
	return errs
}

func validateRule(r *rbacv1.PolicyRule, namespaced bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(r.Verbs) == 0 {
		errs = append(errs, field.Required(p.Child("verbs"), "verbs must contain at least one value"))
	}
	if len(r.NonResourceURLs) > 0 {
		if namespaced {
			errs = append(errs, field.Invalid(p.Child("nonResourceURLs"), r.NonResourceURLs, "namespaced rules cannot apply to non-resource URLs"))
		}
		if len(r.APIGroups) > 0 || len(r.Resources) > 0 || len(r.ResourceNames) > 0 {
			errs = append(errs, field.Invalid(p.Child("nonResourceURLs"), r.NonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs"))
		}
		return errs
	}
	if len(r.APIGroups) == 0 {
		errs = append(errs, field.Required(p.Child("apiGroups"), "resource rules must supply at least one api group"))
	}
	if len(r.Resources) == 0 {
		errs = append(errs, field.Required(p.Child("resources"), "resource rules must supply at least one resource"))
	}
	return errs
}
