package auth

import (
	"context"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Chain asks its members in order until one allows or denies; with no opinion it denies.
type Chain []authorizer.UnconditionalAuthorizer

var _ authorizer.UnconditionalAuthorizer = Chain(nil)

// Authorize implements authorizer.UnconditionalAuthorizer.
func (c Chain) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	for _, one := range c {
		decision, reason, err := one.Authorize(ctx, a)
		if err != nil || decision != authorizer.DecisionNoOpinion {
			return decision, reason, err
		}
	}
	return authorizer.DecisionDeny, "", nil
}

// Masters allows everything to the group system:masters.
type Masters struct{}

// Authorize implements authorizer.UnconditionalAuthorizer.
func (Masters) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if who := a.GetUser(); who != nil && slices.Contains(who.GetGroups(), user.SystemPrivilegedGroup) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// nodeUser begins the names of agents; their group is system:nodes.
const nodeUser = "system:node:"

// NodeName returns the node whose agent the user is.
func NodeName(who user.Info) (string, bool) {
	if who == nil || !slices.Contains(who.GetGroups(), user.NodesGroup) {
		return "", false
	}
	return strings.CutPrefix(who.GetName(), nodeUser)
}

// rule allows verbs on resources written as "group/resource" or "group/resource/subresource".
type rule struct {
	resources, verbs []string
}

var read = []string{"get", "list", "watch"}

const resourceSlices = "resource.k8s.io/resourceslices"

// agentRules are what an agent needs; which objects of these it may touch is the concern of
// [Nodes.Authorize] and of the admission of nodes.
var agentRules = []rule{
	{[]string{"/nodes"}, []string{"get", "list", "watch", "create", "update", "patch"}},
	{[]string{"/nodes/status"}, []string{"update", "patch"}},
	{[]string{"/pods"}, []string{"get", "list", "watch", "create", "delete"}},
	{[]string{"/pods/status"}, []string{"update", "patch"}},
	{[]string{"/pods/eviction"}, []string{"create"}},
	{[]string{"/configmaps", "/secrets"}, read},
	{[]string{"/services", "/endpoints", "discovery.k8s.io/endpointslices", "networking.k8s.io/servicecidrs", "node.k8s.io/runtimeclasses"}, read},
	{[]string{"/namespaces", "/serviceaccounts"}, []string{"get"}},
	{[]string{"/serviceaccounts/token"}, []string{"create"}},
	{[]string{"/events"}, []string{"create", "update", "patch"}},
	{[]string{resourceSlices}, []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}},
	{[]string{"plugins.gantry.dev/plugins", "plugins.gantry.dev/pluginpolicies"}, read},
	{[]string{"plugins.gantry.dev/nodeplugins"}, []string{"get", "list", "watch", "create"}},
	{[]string{"plugins.gantry.dev/nodeplugins/status"}, []string{"update", "patch"}},
	{[]string{"coordination.k8s.io/leases"}, []string{"get", "create", "update", "patch", "delete"}},
}

// References tells what the pods of a node refer to.
type References interface {
	// NodeUses tells whether a pod that is bound to the node refers to the object; resource is
	// "configmaps" or "secrets". Of "resourceslices" the node uses those that name it.
	NodeUses(node, resource, namespace, name string) bool
}

// Nodes allows agents what their node needs: its own node and lease, pods, and of ConfigMaps and Secrets
// only those that its pods refer to, one at a time.
type Nodes struct{ References References }

// Authorize implements authorizer.UnconditionalAuthorizer.
func (n Nodes) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	node, ok := NodeName(a.GetUser())
	if !ok || !a.IsResourceRequest() {
		return authorizer.DecisionNoOpinion, "", nil
	}
	if !allows(agentRules, a) {
		return authorizer.DecisionNoOpinion, "", nil
	}
	write := !slices.Contains(read, a.GetVerb())
	switch a.GetResource() {
	case "nodes", "nodeplugins":
		if write && a.GetName() != "" && a.GetName() != node {
			return authorizer.DecisionNoOpinion, "node " + node + " is not allowed to modify node " + a.GetName(), nil
		}
	case "leases":
		if a.GetNamespace() != "kube-node-lease" || a.GetName() != "" && a.GetName() != node {
			return authorizer.DecisionNoOpinion, "can only access node lease with the same name as the requesting node", nil
		}
	case "resourceslices":
		return n.slices(node, a)
	case "configmaps", "secrets":
		if a.GetName() == "" || !n.References.NodeUses(node, a.GetResource(), a.GetNamespace(), a.GetName()) {
			return unrelated(node)
		}
	}
	return authorizer.DecisionAllow, "", nil
}

func unrelated(node string) (authorizer.Decision, string, error) {
	return authorizer.DecisionNoOpinion, "no relationship found between node '" + node + "' and this object", nil
}

// slices allows an agent its own node's slices. Whether a new one is for that node is seen by admission.
func (n Nodes) slices(node string, a authorizer.Attributes) (authorizer.Decision, string, error) {
	switch a.GetVerb() {
	case "create":
	case "list", "watch", "deletecollection":
		if selected(a, resourcev1.ResourceSliceSelectorNodeName) != node {
			return authorizer.DecisionNoOpinion, "can only list/watch/deletecollection resourceslices with nodeName field selector", nil
		}
	default:
		if !n.References.NodeUses(node, "resourceslices", "", a.GetName()) {
			return unrelated(node)
		}
	}
	return authorizer.DecisionAllow, "", nil
}

// selected is what a list or watch wants a field to be; "" for anything.
func selected(a authorizer.Attributes, field string) string {
	requirements, err := a.GetFieldSelector()
	if err != nil {
		return ""
	}
	for _, req := range requirements {
		if req.Field == field && req.Operator == selection.Equals {
			return req.Value
		}
	}
	return ""
}

func allows(rules []rule, a authorizer.Attributes) bool {
	resource := a.GetAPIGroup() + "/" + a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	return slices.ContainsFunc(rules, func(r rule) bool {
		return slices.Contains(r.resources, resource) && slices.Contains(r.verbs, a.GetVerb())
	})
}
