// Package webhook asks the webhooks of MutatingWebhookConfigurations and ValidatingWebhookConfigurations about writes and
// connections. Which webhooks are asked, what they are sent and how their answers are read is that of the libraries in
// k8s.io/apiserver.
package webhook

import (
	"context"
	"fmt"
	"slices"
	"sync"

	admissionreviewv1 "k8s.io/api/admission/v1"
	admissionreviewv1beta1 "k8s.io/api/admission/v1beta1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	upstream "k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/matching"
	"k8s.io/apiserver/pkg/admission/plugin/webhook"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/generic"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/admission/versioned"
	"github.com/gantryio/gantry/core/cache"
)

// Caller asks webhooks. One may serve both plugins.
type Caller struct {
	objects admission.Reader
	may     authorizer.UnconditionalAuthorizer
	matcher *matching.Matcher
	clients webhookutil.ClientManager
}

// NewCaller makes a caller that finds services by resolve and answers what conditions ask of an authorizer by may.
func NewCaller(objects admission.Reader, may authorizer.UnconditionalAuthorizer, resolve webhookutil.ServiceResolver) (*Caller, error) {
	clients, err := webhookutil.NewClientManager(
		[]schema.GroupVersion{admissionreviewv1beta1.SchemeGroupVersion, admissionreviewv1.SchemeGroupVersion},
		admissionreviewv1beta1.AddToScheme, admissionreviewv1.AddToScheme,
	)
	if err != nil {
		return nil, fmt.Errorf("make clients of webhooks: %w", err)
	}
	clients.SetAuthenticationInfoResolver(Bounded{})
	clients.SetServiceResolver(resolve)
	return &Caller{objects: objects, may: may, matcher: versioned.NewMatcher(objects), clients: clients}, nil
}

// hook is one webhook with what is compiled of it.
type hook struct {
	webhook.WebhookAccessor
	match admissionv1.MatchResources
}

var _ matching.MatchCriteria = (*hook)(nil)

// GetMatchResources implements matching.MatchCriteria.
func (h *hook) GetMatchResources() admissionv1.MatchResources { return h.match }

// GetParsedNamespaceSelector implements matching.MatchCriteria.
func (h *hook) GetParsedNamespaceSelector() (labels.Selector, error) {
	return h.WebhookAccessor.GetParsedNamespaceSelector()
}

func newHook(a webhook.WebhookAccessor) *hook {
	h := &hook{WebhookAccessor: a, match: admissionv1.MatchResources{MatchPolicy: a.GetMatchPolicy()}}
	for _, r := range a.GetRules() {
		h.match.ResourceRules = append(h.match.ResourceRules, admissionv1.NamedRuleWithOperations{RuleWithOperations: r})
	}
	return h
}

// set is all webhooks of one kind, in the order in which they are asked.
type set struct {
	hooks []*hook
	of    map[*cache.Entry][]*hook
}

// makeSet keeps the hooks of configurations that have not changed, with their connections and compiled conditions.
func makeSet(before *set, entries []*cache.Entry, hooksOf func(*cache.Entry) []webhook.WebhookAccessor) *set {
	s := &set{of: map[*cache.Entry][]*hook{}}
	for _, e := range entries {
		var hooks []*hook
		if before != nil {
			hooks = before.of[e]
		}
		if hooks == nil {
			for _, a := range hooksOf(e) {
				if len(a.GetRules()) > 0 {
					hooks = append(hooks, newHook(a))
				}
			}
		}
		s.of[e] = hooks
		s.hooks = append(s.hooks, hooks...)
	}
	if len(s.hooks) == 0 {
		return nil
	}
	return s
}

// concerns tells, at little cost, that some rule may be about the write. The objects of the group itself concern nobody, lest a
// webhook that does not answer could not be taken away.
func (s *set) concerns(a *admission.Attributes) bool {
	if a.Resource.Group == admissionv1.GroupName {
		return false
	}
	return slices.ContainsFunc(s.hooks, func(h *hook) bool {
		return slices.ContainsFunc(h.match.ResourceRules, func(r admissionv1.NamedRuleWithOperations) bool {
			return slices.Contains(r.Operations, admissionv1.OperationAll) || slices.Contains(r.Operations, admissionv1.OperationType(a.Operation))
		})
	})
}

// versions gives the write in the version that a webhook wants.
type versions func(kind schema.GroupVersionKind) (*upstream.VersionedAttributes, error)

// invocation tells how to ask a webhook, nil when it is not to be asked.
func (c *Caller) invocation(ctx context.Context, h *hook, record upstream.Attributes, objects versioned.Objects, in versions) (*generic.WebhookInvocation, error) {
	matches, resource, kind, err := c.matcher.Matches(record, objects, h)
	if err != nil || !matches {
		return nil, err
	}
	if len(h.GetMatchConditions()) > 0 {
		attr, err := in(kind)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		switch result := h.GetCompiledMatcher(conditionCompiler()).Match(ctx, attr, nil, c.may); {
		case result.Error != nil:
			return nil, apierrors.NewForbidden(record.GetResource().GroupResource(), record.GetName(), result.Error)
		case !result.Matches:
			return nil, nil
		}
	}
	return &generic.WebhookInvocation{Webhook: h, Resource: resource, Subresource: record.GetSubresource(), Kind: kind}, nil
}

// conditionCompiler is made when the first condition is compiled, for that takes a while.
var conditionCompiler = sync.OnceValue(func() plugincel.ConditionCompiler {
	return plugincel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
})

// objectsOf is what the libraries have to know of the write's objects.
func (c *Caller) objectsOf(a *admission.Attributes) versioned.Objects {
	return versioned.Objects{Registry: c.objects.Registry, Body: a.BodyKind}
}
