package rbac

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// RoleBindings is all that the server, the printer and the docs know of RoleBinding.
var RoleBindings = api.Kind[rbacv1.RoleBinding]{
	Group: rbacv1.GroupName, Version: "v1", Name: "RoleBinding", Plural: "rolebindings",
	Earlier:      []string{"rbac.authorization.k8s.io/v1beta1"},
	Namespaced:   true,
	ValidateName: path.ValidatePathSegmentName,
	Default: func(b *rbacv1.RoleBinding) {
		defaultRef(&b.RoleRef)
		defaultSubjects(b.Subjects)
	},
	Validate: func(b, old *rbacv1.RoleBinding) field.ErrorList {
		errs := validateRef(&b.RoleRef, []string{"Role", "ClusterRole"})
		errs = append(errs, validateSubjects(b.Subjects, true)...)
		if old != nil && b.RoleRef != old.RoleRef {
			errs = append(errs, field.Invalid(field.NewPath("roleRef"), b.RoleRef, "cannot change roleRef"))
		}
		return errs
	},
	Columns: append([]api.Column[rbacv1.RoleBinding]{
		api.NameColumn[rbacv1.RoleBinding](),
		{Name: "Role", Description: "The role that is given.", Cell: func(b *rbacv1.RoleBinding) any { return b.RoleRef.Kind + "/" + b.RoleRef.Name }},
		api.AgeColumn[rbacv1.RoleBinding](),
	}, subjectColumns(func(b *rbacv1.RoleBinding) []rbacv1.Subject { return b.Subjects })...),
}

// ClusterRoleBindings is all that the server, the printer and the docs know of ClusterRoleBinding.
var ClusterRoleBindings = api.Kind[rbacv1.ClusterRoleBinding]{
	Group: rbacv1.GroupName, Version: "v1", Name: "ClusterRoleBinding", Plural: "clusterrolebindings",
	Earlier:      []string{"rbac.authorization.k8s.io/v1beta1"},
	ValidateName: path.ValidatePathSegmentName,
	Default: func(b *rbacv1.ClusterRoleBinding) {
		defaultRef(&b.RoleRef)
		defaultSubjects(b.Subjects)
	},
	Validate: func(b, old *rbacv1.ClusterRoleBinding) field.ErrorList {
		errs := validateRef(&b.RoleRef, []string{"ClusterRole"})
		errs = append(errs, validateSubjects(b.Subjects, false)...)
		if old != nil && b.RoleRef != old.RoleRef {
			errs = append(errs, field.Invalid(field.NewPath("roleRef"), b.RoleRef, "cannot change roleRef"))
		}
		return errs
	},
	Columns: append([]api.Column[rbacv1.ClusterRoleBinding]{
		api.NameColumn[rbacv1.ClusterRoleBinding](),
		{Name: "Role", Description: "The role that is given.", Cell: func(b *rbacv1.ClusterRoleBinding) any { return b.RoleRef.Kind + "/" + b.RoleRef.Name }},
		api.AgeColumn[rbacv1.ClusterRoleBinding](),
	}, subjectColumns(func(b *rbacv1.ClusterRoleBinding) []rbacv1.Subject { return b.Subjects })...),
}

func subjectColumns[T any](subjects func(*T) []rbacv1.Subject) []api.Column[T] {
	names := func(kind string) func(*T) any {
		return func(b *T) any {
			var out []string
			for _, s := range subjects(b) {
				switch {
				case s.Kind != kind:
				case kind == rbacv1.ServiceAccountKind:
					out = append(out, s.Namespace+"/"+s.Name)
				default:
					out = append(out, s.Name)
				}
			}
			return strings.Join(out, ", ")
		}
	}
	return []api.Column[T]{
		{Name: "Users", Priority: 1, Description: "Users that have the role.", Cell: names(rbacv1.UserKind)},
		{Name: "Groups", Priority: 1, Description: "Groups that have the role.", Cell: names(rbacv1.GroupKind)},
		{Name: "ServiceAccounts", Priority: 1, Description: "Service accounts that have the role.", Cell: names(rbacv1.ServiceAccountKind)},
	}
}

func defaultRef(r *rbacv1.RoleRef) {
	if r.APIGroup == "" {
		r.APIGroup = rbacv1.GroupName
	}
}

func defaultSubjects(subjects []rbacv1.Subject) {
	for i := range subjects {
		if s := &subjects[i]; s.APIGroup == "" && (s.Kind == rbacv1.UserKind || s.Kind == rbacv1.GroupKind) {
			s.APIGroup = rbacv1.GroupName
		}
	}
}

func validateRef(r *rbacv1.RoleRef, kinds []string) field.ErrorList {
	var errs field.ErrorList
	at := field.NewPath("roleRef")
	if r.APIGroup != rbacv1.GroupName {
		errs = append(errs, field.NotSupported(at.Child("apiGroup"), r.APIGroup, []string{rbacv1.GroupName}))
	}
	known := false
	for _, k := range kinds {
		known = known || r.Kind == k
	}
	if !known {
		errs = append(errs, field.NotSupported(at.Child("kind"), r.Kind, kinds))
	}
	if r.Name == "" {
		return append(errs, field.Required(at.Child("name"), ""))
	}
	for _, text := range path.ValidatePathSegmentName(r.Name, false) {
		errs = append(errs, field.Invalid(at.Child("name"), r.Name, text))
	}
	return errs
}

func validateSubjects(subjects []rbacv1.Subject, namespaced bool) field.ErrorList {
	var errs field.ErrorList
	for i := range subjects {
		errs = append(errs, validateSubject(&subjects[i], namespaced, field.NewPath("subjects").Index(i))...)
	}
	return errs
}

func validateSubject(s *rbacv1.Subject, namespaced bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	}
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		if s.Name != "" {
			for _, text := range validation.ValidateServiceAccountName(s.Name, false) {
				errs = append(errs, field.Invalid(at.Child("name"), s.Name, text))
			}
		}
		if s.APIGroup != "" {
			errs = append(errs, field.NotSupported(at.Child("apiGroup"), s.APIGroup, []string{""}))
		}
		if !namespaced && s.Namespace == "" {
			errs = append(errs, field.Required(at.Child("namespace"), ""))
		}
	case rbacv1.UserKind, rbacv1.GroupKind:
		if s.APIGroup != rbacv1.GroupName {
			errs = append(errs, field.NotSupported(at.Child("apiGroup"), s.APIGroup, []string{rbacv1.GroupName}))
		}
	default:
		errs = append(errs, field.NotSupported(at.Child("kind"), s.Kind, []string{rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind}))
	}
	return errs
}
