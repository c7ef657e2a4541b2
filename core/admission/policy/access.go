package policy

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
)

// Access lets nobody name parameters that they may not read, for messages of policies could tell what is in them.
type Access struct {
	Objects admission.Reader
	May     authorizer.UnconditionalAuthorizer
}

var _ admission.Validator = Access{}

// Name implements [admission.Plugin]; in Kubernetes it is a part of the registry.
func (Access) Name() string { return "AdmissionPolicyParams" }

// About implements [admission.Selective].
func (Access) About(r *api.Resource) bool { return r.Group == admissionv1.GroupName }

// Validate implements [admission.Validator].
func (p Access) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Operation == admission.Delete || a.Resource.Group != admissionv1.GroupName || a.Subresource != "" || a.User == nil {
		return nil
	}
	kind, _, _ := paramsNamed(a.Object)
	oldKind, _, _ := paramsNamed(a.Old)
	if kind != nil && !equality.Semantic.DeepEqual(kind, oldKind) {
		return p.mayReadKind(ctx, a, kind)
	}
	_, policy, ref := paramsNamed(a.Object)
	_, oldPolicy, oldRef := paramsNamed(a.Old)
	if ref != nil && (policy != oldPolicy || !equality.Semantic.DeepEqual(ref, oldRef)) {
		return p.mayReadRef(ctx, a, policy, ref)
	}
	return nil
}

// paramsNamed is what a policy or a binding says of parameters.
func paramsNamed(obj api.Object) (kind *admissionv1.ParamKind, policy string, ref *admissionv1.ParamRef) {
	switch o := obj.(type) {
	case *admissionv1.ValidatingAdmissionPolicy:
		return o.Spec.ParamKind, "", nil
	case *admissionv1.MutatingAdmissionPolicy:
		return o.Spec.ParamKind, "", nil
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		return nil, o.Spec.PolicyName, o.Spec.ParamRef
	case *admissionv1.MutatingAdmissionPolicyBinding:
		return nil, o.Spec.PolicyName, o.Spec.ParamRef
	}
	return nil, "", nil
}

// question asks for a kind; where that is not known, for all.
func (p Access) question(a *admission.Attributes, kind *admissionv1.ParamKind) *authorizer.AttributesRecord {
	q := &authorizer.AttributesRecord{User: a.User, ResourceRequest: true, APIGroup: "*", APIVersion: "*", Resource: "*"}
	if kind == nil {
		return q
	}
	gvk := schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind)
	q.APIGroup, q.APIVersion = gvk.Group, gvk.Version
	if r := p.Objects.Registry.Kind(gvk); r != nil {
		q.Resource = r.Plural
	}
	return q
}

func (p Access) mayReadKind(ctx context.Context, a *admission.Attributes, kind *admissionv1.ParamKind) error {
	q := p.question(a, kind)
	q.Verb, q.Name, q.Namespace = "get", "*", "*"
	return p.ask(ctx, a, q, "paramKind", fmt.Sprintf(
		`user %v must have "get" permission on all objects of the referenced paramKind (kind=%s, apiVersion=%s)`, a.User, kind.Kind, kind.APIVersion))
}

func (p Access) mayReadRef(ctx context.Context, a *admission.Attributes, policy string, ref *admissionv1.ParamRef) error {
	plural := "validatingadmissionpolicies"
	if _, mutating := a.Object.(*admissionv1.MutatingAdmissionPolicyBinding); mutating {
		plural = "mutatingadmissionpolicies"
	}
	var kind *admissionv1.ParamKind
	if r := p.Objects.Registry.Resource(admissionv1.SchemeGroupVersion.WithResource(plural)); r != nil {
		if e := p.Objects.Cache.Of(r).Get(r.Key("", policy)); e != nil {
			kind, _, _ = paramsNamed(e.Object)
		}
	}
	q := p.question(a, kind)
	q.Verb, q.Name, q.Namespace = "get", ref.Name, ref.Namespace
	if ref.Name == "" {
		q.Verb = "list"
	}
	return p.ask(ctx, a, q, "paramRef", fmt.Sprintf(`user %v does not have "%v" permission on the object referenced by paramRef`, a.User, q.Verb))
}

func (p Access) ask(ctx context.Context, a *admission.Attributes, q *authorizer.AttributesRecord, name, refusal string) error {
	decision, _, err := p.May.Authorize(ctx, q)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if decision == authorizer.DecisionAllow {
		return nil
	}
	return apierrors.NewInvalid(a.Resource.GroupVersionKind().GroupKind(), a.Name, field.ErrorList{field.Forbidden(field.NewPath("spec", name), refusal)})
}
