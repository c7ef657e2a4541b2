// Package authorization declares the questions of authorization.k8s.io/v1: who may do what.
package authorization

import (
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// SubjectAccessReviews asks what somebody may do anywhere.
var SubjectAccessReviews = api.Kind[authorizationv1.SubjectAccessReview]{
	Group: authorizationv1.GroupName, Version: "v1", Name: "SubjectAccessReview", Plural: "subjectaccessreviews", Question: true,
	Columns:  []api.Column[authorizationv1.SubjectAccessReview]{api.NameColumn[authorizationv1.SubjectAccessReview]()},
	Validate: func(r, _ *authorizationv1.SubjectAccessReview) field.ErrorList { return validateSubject(&r.Spec) },
}

// LocalSubjectAccessReviews asks what somebody may do in a namespace.
var LocalSubjectAccessReviews = api.Kind[authorizationv1.LocalSubjectAccessReview]{
	Group: authorizationv1.GroupName, Version: "v1", Name: "LocalSubjectAccessReview", Plural: "localsubjectaccessreviews",
	Namespaced: true, Question: true,
	Columns: []api.Column[authorizationv1.LocalSubjectAccessReview]{api.NameColumn[authorizationv1.LocalSubjectAccessReview]()},
	Validate: func(r, _ *authorizationv1.LocalSubjectAccessReview) field.ErrorList {
		errs, at := validateSubject(&r.Spec), field.NewPath("spec")
		if r.Spec.ResourceAttributes != nil && r.Spec.ResourceAttributes.Namespace != r.Namespace {
			errs = append(errs, field.Invalid(at.Child("resourceAttributes", "namespace"), r.Spec.ResourceAttributes.Namespace, "must match metadata.namespace"))
		}
		if r.Spec.NonResourceAttributes != nil {
			errs = append(errs, field.Invalid(at.Child("nonResourceAttributes"), r.Spec.NonResourceAttributes, "disallowed on this kind of request"))
		}
		return errs
	},
}

// SelfSubjectAccessReviews asks what the one who asks may do.
var SelfSubjectAccessReviews = api.Kind[authorizationv1.SelfSubjectAccessReview]{
	Group: authorizationv1.GroupName, Version: "v1", Name: "SelfSubjectAccessReview", Plural: "selfsubjectaccessreviews", Question: true,
	Columns: []api.Column[authorizationv1.SelfSubjectAccessReview]{api.NameColumn[authorizationv1.SelfSubjectAccessReview]()},
	Validate: func(r, _ *authorizationv1.SelfSubjectAccessReview) field.ErrorList {
		return validateAttributes(r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes)
	},
}

// SelfSubjectRulesReviews asks for all that the one who asks may do in a namespace.
var SelfSubjectRulesReviews = api.Kind[authorizationv1.SelfSubjectRulesReview]{
	Group: authorizationv1.GroupName, Version: "v1", Name: "SelfSubjectRulesReview", Plural: "selfsubjectrulesreviews", Question: true,
	Columns: []api.Column[authorizationv1.SelfSubjectRulesReview]{api.NameColumn[authorizationv1.SelfSubjectRulesReview]()},
	Validate: func(r, _ *authorizationv1.SelfSubjectRulesReview) field.ErrorList {
		if r.Spec.Namespace == "" {
			return field.ErrorList{field.Required(field.NewPath("spec", "namespace"), "no namespace on request")}
		}
		return nil
	},
}

func validateSubject(s *authorizationv1.SubjectAccessReviewSpec) field.ErrorList {
	errs := validateAttributes(s.ResourceAttributes, s.NonResourceAttributes)
	if s.User == "" && len(s.Groups) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "user"), s.User, "at least one of user or group must be specified"))
	}
	return errs
}

func validateAttributes(resource *authorizationv1.ResourceAttributes, path *authorizationv1.NonResourceAttributes) field.ErrorList {
	spec := field.NewPath("spec")
	switch {
	case resource != nil && path != nil:
		return field.ErrorList{field.Invalid(spec.Child("nonResourceAttributes"), path, "cannot be specified in combination with resourceAttributes")}
	case resource == nil && path == nil:
		return field.ErrorList{field.Invalid(spec.Child("resourceAttributes"), nil, "exactly one of nonResourceAttributes or resourceAttributes must be specified")}
	}
	return nil
}
