package policy

import (
	"context"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/cache"
)

// reader may read ConfigMaps alone.
type reader struct {
	authorizer.UnconditionalAuthorizer
}

func (reader) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if a.GetVerb() == "get" && a.GetAPIGroup() == "" && a.GetResource() == "configmaps" {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func TestAccess(t *testing.T) {
	registry := all.Kinds()
	p := Access{Objects: admission.Reader{Cache: cache.New(nil, registry), Registry: registry}, May: reader{}}
	policy := func(kind string) *admissionv1.ValidatingAdmissionPolicy {
		return &admissionv1.ValidatingAdmissionPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: "p"},
			Spec:       admissionv1.ValidatingAdmissionPolicySpec{ParamKind: &admissionv1.ParamKind{APIVersion: "v1", Kind: kind}},
		}
	}
	bound := &admissionv1.ValidatingAdmissionPolicyBinding{Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: "unknown", ParamRef: &admissionv1.ParamRef{Name: "x", Namespace: "y"},
	}}
	for _, tc := range []struct {
		name        string
		resource    string
		object, old api.Object
		allowed     bool
	}{
		{"readable", "validatingadmissionpolicies", policy("ConfigMap"), nil, true},
		{"secret", "validatingadmissionpolicies", policy("Secret"), nil, false},
		{"no longer readable", "validatingadmissionpolicies", policy("Secret"), policy("ConfigMap"), false},
		{"as before", "validatingadmissionpolicies", policy("Secret"), policy("Secret"), true},
		{"of an unknown policy", "validatingadmissionpolicybindings", bound, nil, false},
		{"bound as before", "validatingadmissionpolicybindings", bound, bound, true},
	} {
		q := &api.Request{User: &user.DefaultInfo{Name: "somebody"}, Resource: registry.Resource(admissionv1.SchemeGroupVersion.WithResource(tc.resource)), Name: "p"}
		err := p.Validate(t.Context(), &admission.Attributes{Request: q, Operation: admission.Create, Object: tc.object, Old: tc.old})
		if (err == nil) != tc.allowed || err != nil && !apierrors.IsInvalid(err) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
