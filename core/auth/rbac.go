package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// RBAC allows what roles say that are bound to the user. It reads the cache at each question, so that a role holds as
// soon as its write has been answered.
type RBAC struct {
	cache                                         *cache.Cache
	roles, clusterRoles, bindings, clusterBinding *api.Resource
}

var _ authorizer.UnconditionalAuthorizer = (*RBAC)(nil)

// NewRBAC needs the four kinds of rbac.authorization.k8s.io/v1 in the registry.
func NewRBAC(c *cache.Cache, registry *api.Registry) *RBAC {
	of := func(plural string) *api.Resource {
		return registry.Resource(rbacv1.SchemeGroupVersion.WithResource(plural))
	}
	return &RBAC{c, of("roles"), of("clusterroles"), of("rolebindings"), of("clusterrolebindings")}
}

// Authorize implements authorizer.UnconditionalAuthorizer. The reasons are kube-apiserver's.
func (r *RBAC) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	who := a.GetUser()
	if who == nil {
		return authorizer.DecisionNoOpinion, "", nil
	}
	reason, allowed := "", false
	var broken []string
	r.visit(who, a.GetNamespace(), func(g grant) bool {
		if g.missing != "" {
			broken = append(broken, g.missing)
			return true
		}
		if slices.ContainsFunc(g.rules, func(rule rbacv1.PolicyRule) bool { return matches(a, &rule) }) {
			reason, allowed = "RBAC: allowed by "+g.via, true
			return false
		}
		return true
	})
	if allowed {
		return authorizer.DecisionAllow, reason, nil
	}
	if len(broken) > 0 {
		reason = "RBAC: " + broken[0]
		if len(broken) > 1 {
			reason = "RBAC: [" + strings.Join(broken, ", ") + "]"
		}
	}
	return authorizer.DecisionNoOpinion, reason, nil
}

// Rules returns all that a user may do in a namespace, or with "" in all of them.
func (r *RBAC) Rules(who user.Info, namespace string) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	r.visit(who, namespace, func(g grant) bool {
		out = append(out, g.rules...)
		return true
	})
	return out
}

// RulesOf returns what a role allows; namespace is that of a Role. ok is false when there is no such role.
func (r *RBAC) RulesOf(ref rbacv1.RoleRef, namespace string) (rules []rbacv1.PolicyRule, ok bool) {
	res, q := r.clusterRoles, &api.Request{Name: ref.Name}
	if ref.Kind == "Role" {
		res, q.Namespace = r.roles, namespace
	}
	q.Resource = res
	e := r.cache.Of(res).Get(q.Key())
	if e == nil {
		return nil, false
	}
	switch role := e.Object.(type) {
	case *rbacv1.Role:
		return role.Rules, true
	case *rbacv1.ClusterRole:
		return role.Rules, true
	}
	return nil, false
}

// grant is a role by way of a binding.
type grant struct {
	rules []rbacv1.PolicyRule
	// via names both; missing says that the role does not exist.
	via, missing string
}

// visit calls f with what is bound to the user, everywhere and in the namespace, until it returns false.
func (r *RBAC) visit(who user.Info, namespace string, f func(grant) bool) {
	for _, e := range r.cache.Of(r.clusterBinding).Snapshot().All() {
		b := e.Object.(*rbacv1.ClusterRoleBinding)
		if s := subjectOf(b.Subjects, who, ""); s != nil && !f(r.grant("ClusterRoleBinding", b.Name, "", b.RoleRef, s)) {
			return
		}
	}
	if namespace == "" {
		return
	}
	for _, e := range r.cache.Of(r.bindings).Snapshot().From(namespace, "") {
		b := e.Object.(*rbacv1.RoleBinding)
		if s := subjectOf(b.Subjects, who, namespace); s != nil && !f(r.grant("RoleBinding", b.Name, namespace, b.RoleRef, s)) {
			return
		}
	}
}

func (r *RBAC) grant(kind, name, namespace string, ref rbacv1.RoleRef, s *rbacv1.Subject) grant {
	rules, ok := r.RulesOf(ref, namespace)
	if !ok {
		gr := schema.GroupResource{Group: rbacv1.GroupName, Resource: strings.ToLower(ref.Kind)}
		return grant{missing: fmt.Sprintf("%s %q not found", gr, ref.Name)}
	}
	if namespace != "" {
		name += "/" + namespace
	}
	subject := s.Name
	if s.Kind == rbacv1.ServiceAccountKind {
		subject += "/" + s.Namespace
	}
	return grant{rules: rules, via: fmt.Sprintf("%s %q of %s %q to %s %q", kind, name, ref.Kind, ref.Name, s.Kind, subject)}
}

// subjectOf finds the subject that the user is; namespace is the binding's.
func subjectOf(subjects []rbacv1.Subject, who user.Info, namespace string) *rbacv1.Subject {
	for i := range subjects {
		s := &subjects[i]
		switch s.Kind {
		case rbacv1.UserKind:
			if s.Name == who.GetName() {
				return s
			}
		case rbacv1.GroupKind:
			if slices.Contains(who.GetGroups(), s.Name) {
				return s
			}
		case rbacv1.ServiceAccountKind:
			in := s.Namespace
			if in == "" {
				in = namespace
			}
			if in != "" && serviceaccount.MatchesUsername(in, s.Name, who.GetName()) {
				return s
			}
		}
	}
	return nil
}

// matches tells whether a rule allows a request. The wildcards are those of the RBAC documentation.
func matches(a authorizer.Attributes, rule *rbacv1.PolicyRule) bool {
	if !has(rule.Verbs, a.GetVerb()) {
		return false
	}
	if !a.IsResourceRequest() {
		return slices.ContainsFunc(rule.NonResourceURLs, func(url string) bool {
			prefix, wild := strings.CutSuffix(url, "*")
			return url == a.GetPath() || wild && strings.HasPrefix(a.GetPath(), prefix)
		})
	}
	return has(rule.APIGroups, a.GetAPIGroup()) && resourceMatches(rule.Resources, a.GetResource(), a.GetSubresource()) &&
		(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, a.GetName()))
}

func has(list []string, want string) bool {
	return slices.Contains(list, rbacv1.APIGroupAll) || slices.Contains(list, want)
}

func resourceMatches(list []string, resource, subresource string) bool {
	if subresource == "" {
		return has(list, resource)
	}
	return has(list, resource+"/"+subresource) || slices.Contains(list, "*/"+subresource)
}
