package admission

import (
	"context"
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/auth"
)

// Escalation lets nobody give away, by a role or a binding, what they may not do themselves, unless they have the
// verb "escalate" on the role or "bind" on it.
type Escalation struct {
	RBAC *auth.RBAC
	// May answers for the verbs, and for whoever may do all.
	May authorizer.UnconditionalAuthorizer
}

var _ Validator = Escalation{}

// Name implements [Plugin]; in Kubernetes it is a part of the registry.
func (Escalation) Name() string { return "RBACEscalation" }

// About implements [Selective].
func (Escalation) About(r *api.Resource) bool { return r.Group == rbacv1.GroupName }

// Validate implements [Validator].
func (e Escalation) Validate(ctx context.Context, a *Attributes) error {
	if a.Operation == Delete || a.Resource.Group != rbacv1.GroupName || a.User == nil {
		return nil
	}
	var verb string
	var gives []rbacv1.PolicyRule
	ref := rbacv1.RoleRef{Kind: a.Resource.Kind, Name: a.Name}
	switch obj := a.Object.(type) {
	case *rbacv1.Role:
		verb, gives = "escalate", obj.Rules
		if old, ok := a.Old.(*rbacv1.Role); ok && equality.Semantic.DeepEqual(old.Rules, obj.Rules) {
			return nil
		}
	case *rbacv1.ClusterRole:
		verb, gives = "escalate", obj.Rules
		old, ok := a.Old.(*rbacv1.ClusterRole)
		if ok && equality.Semantic.DeepEqual(old.Rules, obj.Rules) && equality.Semantic.DeepEqual(old.AggregationRule, obj.AggregationRule) {
			return nil
		}
		if obj.AggregationRule != nil && !ok || ok && obj.AggregationRule != nil && !equality.Semantic.DeepEqual(old.AggregationRule, obj.AggregationRule) {
			// It may come to allow anything.
			gives = []rbacv1.PolicyRule{
				{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}},
				{NonResourceURLs: []string{"*"}, Verbs: []string{"*"}},
			}
		}
	case *rbacv1.RoleBinding:
		verb, ref = "bind", obj.RoleRef
		if old, ok := a.Old.(*rbacv1.RoleBinding); ok && equality.Semantic.DeepEqual(old.Subjects, obj.Subjects) {
			return nil
		}
	case *rbacv1.ClusterRoleBinding:
		verb, ref = "bind", obj.RoleRef
		if old, ok := a.Old.(*rbacv1.ClusterRoleBinding); ok && equality.Semantic.DeepEqual(old.Subjects, obj.Subjects) {
			return nil
		}
	default:
		return nil
	}
	return e.check(ctx, a, verb, ref, gives)
}

func (e Escalation) check(ctx context.Context, a *Attributes, verb string, ref rbacv1.RoleRef, gives []rbacv1.PolicyRule) error {
	resource := "clusterroles"
	if ref.Kind == "Role" {
		resource = "roles"
	}
	decision, _, err := e.May.Authorize(ctx, &authorizer.AttributesRecord{
		User: a.User, Verb: verb, Namespace: a.Namespace, APIGroup: rbacv1.GroupName, APIVersion: "v1",
		Resource: resource, Name: ref.Name, ResourceRequest: true,
	})
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if verb == "bind" {
		rules, ok := e.RBAC.RulesOf(ref, a.Namespace)
		if !ok {
			return apierrors.NewNotFound(rbacv1.Resource(strings.ToLower(ref.Kind)), ref.Name)
		}
		gives = rules
	}
	covered, missing := validation.Covers(e.RBAC.Rules(a.User, a.Namespace), gives)
	if covered {
		return nil
	}
	texts := make([]string, len(missing))
	for i := range missing {
		texts[i] = describeRule(&missing[i])
	}
	return apierrors.NewForbidden(a.Resource.GroupResource(), a.Object.GetName(), fmt.Errorf(
		"user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s",
		a.User.GetName(), a.User.GetGroups(), strings.Join(texts, "\n")))
}

// describeRule prints a rule as kube-apiserver does.
func describeRule(r *rbacv1.PolicyRule) string {
	var parts []string
	for _, f := range []struct {
		name string
		list []string
	}{{"APIGroups", r.APIGroups}, {"Resources", r.Resources}, {"NonResourceURLs", r.NonResourceURLs}, {"ResourceNames", r.ResourceNames}, {"Verbs", r.Verbs}} {
		if len(f.list) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%q", f.name, f.list))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
