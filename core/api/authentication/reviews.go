// Package authentication declares the questions of authentication.k8s.io/v1: who somebody is.
package authentication

import (
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/gantryio/gantry/core/api"
)

// TokenReviews asks whose a token is.
var TokenReviews = api.Kind[authenticationv1.TokenReview]{
	Group: authenticationv1.GroupName, Version: "v1", Name: "TokenReview", Plural: "tokenreviews", Question: true,
	Columns: []api.Column[authenticationv1.TokenReview]{api.NameColumn[authenticationv1.TokenReview]()},
}

// SelfSubjectReviews asks who the one who asks is.
var SelfSubjectReviews = api.Kind[authenticationv1.SelfSubjectReview]{
	Group: authenticationv1.GroupName, Version: "v1", Name: "SelfSubjectReview", Plural: "selfsubjectreviews", Question: true,
	Columns: []api.Column[authenticationv1.SelfSubjectReview]{api.NameColumn[authenticationv1.SelfSubjectReview]()},
}
