package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/cache"
)

// ask validates a question and fills its status. Nothing is stored.
func (s *Server) ask(ctx context.Context, q *api.Request, obj api.Object) (*cache.Entry, error) {
	r := q.Resource
	if r.Validate != nil {
		if errs := r.Validate(obj, nil); len(errs) > 0 {
			return nil, apierrors.NewInvalid(r.GroupVersionKind().GroupKind(), obj.GetName(), errs)
		}
	}
	r.SetType(obj)
	switch o := obj.(type) {
	case *authorizationv1.SubjectAccessReview:
		o.Status = s.mayDo(ctx, subjectOf(&o.Spec), o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
	case *authorizationv1.LocalSubjectAccessReview:
		o.Status = s.mayDo(ctx, subjectOf(&o.Spec), o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
	case *authorizationv1.SelfSubjectAccessReview:
		o.Status = s.mayDo(ctx, q.User, o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
	case *authorizationv1.SelfSubjectRulesReview:
		o.Status = s.allRules(q.User, o.Spec.Namespace)
	case *authenticationv1.SelfSubjectReview:
		o.Status.UserInfo = describeUser(q.User)
	case *authenticationv1.TokenReview:
		o.Status = s.whose(ctx, &o.Spec)
	default:
		return nil, apierrors.NewInternalError(fmt.Errorf("nobody answers %T", obj))
	}
	return &cache.Entry{Object: obj}, nil
}

func subjectOf(s *authorizationv1.SubjectAccessReviewSpec) user.Info {
	who := &user.DefaultInfo{Name: s.User, Groups: s.Groups, UID: s.UID, Extra: map[string][]string{}}
	for key, values := range s.Extra {
		who.Extra[key] = values
	}
	return who
}

func (s *Server) mayDo(ctx context.Context, who user.Info, resource *authorizationv1.ResourceAttributes, path *authorizationv1.NonResourceAttributes) authorizationv1.SubjectAccessReviewStatus {
	a := &authorizer.AttributesRecord{User: who}
	if resource != nil {
		a.ResourceRequest, a.Verb, a.Namespace, a.APIGroup, a.APIVersion = true, resource.Verb, resource.Namespace, resource.Group, resource.Version
		a.Resource, a.Subresource, a.Name = resource.Resource, resource.Subresource, resource.Name
	} else {
		a.Verb, a.Path = path.Verb, path.Path
	}
	decision, reason, err := s.Authorizer.Authorize(ctx, a)
	out := authorizationv1.SubjectAccessReviewStatus{Allowed: decision == authorizer.DecisionAllow, Reason: reason}
	if err != nil {
		out.EvaluationError = err.Error()
	}
	return out
}

// allRules lists what a user may do. What agents may do is not written in rules, so that theirs are incomplete.
func (s *Server) allRules(who user.Info, namespace string) authorizationv1.SubjectRulesReviewStatus {
	rules := auth.NewRBAC(s.Cache, s.Registry).Rules(who, namespace)
	if slices.Contains(who.GetGroups(), user.SystemPrivilegedGroup) {
		rules = append(rules,
			rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
			rbacv1.PolicyRule{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}})
	}
	out := authorizationv1.SubjectRulesReviewStatus{
		ResourceRules: []authorizationv1.ResourceRule{}, NonResourceRules: []authorizationv1.NonResourceRule{},
	}
	for _, r := range rules {
		if len(r.Resources) > 0 {
			out.ResourceRules = append(out.ResourceRules, authorizationv1.ResourceRule{
				Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames,
			})
		}
		if len(r.NonResourceURLs) > 0 {
			out.NonResourceRules = append(out.NonResourceRules, authorizationv1.NonResourceRule{Verbs: r.Verbs, NonResourceURLs: r.NonResourceURLs})
		}
	}
	if _, agent := auth.NodeName(who); agent {
		out.Incomplete, out.EvaluationError = true, "node authorizer does not support user rule resolution"
	}
	return out
}

func describeUser(who user.Info) authenticationv1.UserInfo {
	out := authenticationv1.UserInfo{Username: who.GetName(), UID: who.GetUID(), Groups: who.GetGroups()}
	for key, values := range who.GetExtra() {
		if out.Extra == nil {
			out.Extra = map[string]authenticationv1.ExtraValue{}
		}
		out.Extra[key] = values
	}
	return out
}

// TokenChecker knows whose tokens it has not issued.
type TokenChecker interface {
	// Check returns whom a token is for; [auth.ErrNoCredentials] for tokens that it knows nothing of.
	Check(ctx context.Context, token string) (user.Info, error)
}

// whose reviews a token.
func (s *Server) whose(ctx context.Context, spec *authenticationv1.TokenReviewSpec) authenticationv1.TokenReviewStatus {
	self := auth.Issuer
	if s.Tokens != nil {
		self = s.Tokens.Issuer()
	}
	audiences := spec.Audiences
	if len(audiences) == 0 {
		audiences = []string{self}
	}
	// Their audiences are their own affair; a token that is good for this server is good for those who act for it.
	if s.Issuers != nil && slices.Contains(audiences, self) {
		who, err := s.Issuers.Check(ctx, spec.Token)
		if err == nil {
			return authenticationv1.TokenReviewStatus{Authenticated: true, User: describeUser(who), Audiences: []string{self}}
		}
		if !errors.Is(err, auth.ErrNoCredentials) {
			return authenticationv1.TokenReviewStatus{Error: err.Error()}
		}
	}
	if s.Tokens == nil {
		return authenticationv1.TokenReviewStatus{Error: "no tokens are issued here"}
	}
	who, err := s.Tokens.Check(spec.Token, audiences)
	if err != nil {
		return authenticationv1.TokenReviewStatus{Error: err.Error()}
	}
	return authenticationv1.TokenReviewStatus{Authenticated: true, User: describeUser(who), Audiences: audiences}
}
