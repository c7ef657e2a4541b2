package auth

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/api"
)

// The rules that people of a Kubernetes cluster expect to find; see
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings.

var (
	writeVerbs = []string{"create", "delete", "deletecollection", "patch", "update"}
	allVerbs   = append(append([]string{}, writeVerbs...), read...)
)

func allow(verbs []string, group string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: slices.Clone(verbs), APIGroups: []string{group}, Resources: resources}
}

func urls(paths ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: paths}
}

// workloads are what both those who edit and those who view are given, with the verbs for them.
func workloads(verbs []string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		allow(verbs, "", "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "replicationcontrollers/scale",
			"serviceaccounts", "services", "endpoints"),
		allow(verbs, "apps", "daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale",
			"statefulsets", "statefulsets/scale"),
		allow(verbs, "autoscaling", "horizontalpodautoscalers"),
		allow(verbs, "batch", "cronjobs", "jobs"),
		allow(verbs, "policy", "poddisruptionbudgets"),
		allow(verbs, "networking.k8s.io", "ingresses", "networkpolicies"),
	}
}

func viewRules() []rbacv1.PolicyRule {
	return append(workloads(read),
		allow(read, "", "bindings", "events", "limitranges", "namespaces", "namespaces/status", "persistentvolumeclaims/status",
			"pods/log", "pods/status", "replicationcontrollers/status", "resourcequotas", "resourcequotas/status", "services/status"),
		allow(read, "apps", "controllerrevisions", "daemonsets/status", "deployments/status", "replicasets/status", "statefulsets/status"),
		allow(read, "batch", "cronjobs/status", "jobs/status"),
		allow(read, "autoscaling", "horizontalpodautoscalers/status"),
		allow(read, "policy", "poddisruptionbudgets/status"),
		allow(read, "networking.k8s.io", "ingresses/status"),
		allow(read, "discovery.k8s.io", "endpointslices"),
		allow(read, "resource.k8s.io", "resourceclaims", "resourceclaims/status", "resourceclaimtemplates"),
	)
}

func editRules() []rbacv1.PolicyRule {
	return append(workloads(writeVerbs),
		allow(read, "", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"),
		allow(writeVerbs, "", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"),
		allow([]string{"create", "patch", "update"}, "", "events"),
		allow([]string{"create"}, "", "pods/eviction", "serviceaccounts/token"),
		allow([]string{"impersonate"}, "", "serviceaccounts"),
		allow([]string{"create"}, "apps", "deployments/rollback"),
		allow(allVerbs, "coordination.k8s.io", "leases"),
		allow(writeVerbs, "resource.k8s.io", "resourceclaims", "resourceclaimtemplates"),
	)
}

// metricsReader lets all who may view objects view what these use, as metrics-server does.
func metricsReader() *rbacv1.ClusterRole {
	role := bootstrapRole("system:aggregated-metrics-reader", allow(read, "metrics.k8s.io", "nodes", "pods"))
	for _, level := range []string{"admin", "edit", "view"} {
		role.Labels[aggregateTo+level] = "true"
	}
	return role
}

func adminRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		allow(allVerbs, rbacv1.GroupName, "rolebindings", "roles"),
		allow([]string{"create"}, "authorization.k8s.io", "localsubjectaccessreviews"),
	}
}

// autoscalerRole is for an autoscaler that runs outside of the server; the one inside may do anything.
const autoscalerRole = "system:controller:horizontal-pod-autoscaler"

const requestsRole = "system:certificates.k8s.io:certificatesigningrequests:"

const issuerRole = "system:service-account-issuer-discovery"

const aggregateTo = "rbac.authorization.k8s.io/aggregate-to-"

// BootstrapRoles are the cluster roles that every cluster has. They share no memory: who creates an object may change all of it.
func BootstrapRoles() []*rbacv1.ClusterRole {
	out := []*rbacv1.ClusterRole{
		bootstrapRole("cluster-admin", allow([]string{"*"}, "*", "*"), rbacv1.PolicyRule{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}),
		bootstrapRole("system:discovery", urls("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/")),
		bootstrapRole("system:public-info-viewer", urls("/healthz", "/livez", "/readyz", "/version", "/version/")),
		bootstrapRole(issuerRole, urls("/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/")),
		bootstrapRole("system:basic-user",
			allow([]string{"create"}, "authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
			allow([]string{"create"}, "authentication.k8s.io", "selfsubjectreviews")),
		bootstrapRole("system:auth-delegator",
			allow([]string{"create"}, "authentication.k8s.io", "tokenreviews"),
			allow([]string{"create"}, "authorization.k8s.io", "subjectaccessreviews")),
		metricsReader(),
		bootstrapRole("system:node-bootstrapper", allow([]string{"create", "get", "list", "watch"}, "certificates.k8s.io", "certificatesigningrequests")),
		bootstrapRole(requestsRole+"nodeclient", allow([]string{"create"}, "certificates.k8s.io", "certificatesigningrequests/nodeclient")),
		bootstrapRole(requestsRole+"selfnodeclient", allow([]string{"create"}, "certificates.k8s.io", "certificatesigningrequests/selfnodeclient")),
		bootstrapRole(autoscalerRole,
			allow(read, "autoscaling", "horizontalpodautoscalers"),
			allow([]string{"update"}, "autoscaling", "horizontalpodautoscalers/status"),
			allow([]string{"get", "update"}, "*", "*/scale"),
			allow([]string{"list"}, "", "pods"),
			allow([]string{"create", "patch", "update"}, "", "events"),
			allow([]string{"create", "patch", "update"}, "events.k8s.io", "events"),
			allow([]string{"list"}, "metrics.k8s.io", "pods"),
			allow([]string{"get", "list"}, "custom.metrics.k8s.io", "*"),
			allow([]string{"get", "list"}, "external.metrics.k8s.io", "*")),
	}
	for _, signer := range []string{"kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving"} {
		rule := allow([]string{"approve"}, "certificates.k8s.io", "signers")
		rule.ResourceNames = []string{"kubernetes.io/" + signer}
		out = append(out, bootstrapRole("system:certificates.k8s.io:"+signer+"-approver", rule))
	}
	for _, level := range []struct {
		name  string
		from  []string
		rules []rbacv1.PolicyRule
	}{{"view", []string{"view"}, viewRules()}, {"edit", []string{"edit", "view"}, editRules()}, {"admin", []string{"admin", "edit", "view"}, adminRules()}} {
		part := bootstrapRole("system:aggregate-to-"+level.name, level.rules...)
		part.Labels[aggregateTo+level.name] = "true"
		whole := bootstrapRole(level.name)
		whole.AggregationRule = &rbacv1.AggregationRule{}
		for _, from := range level.from {
			whole.AggregationRule.ClusterRoleSelectors = append(whole.AggregationRule.ClusterRoleSelectors,
				metav1.LabelSelector{MatchLabels: map[string]string{aggregateTo + from: "true"}})
		}
		out = append(out, part, whole)
	}
	return out
}

// BootstrapBindings are the cluster role bindings that every cluster has.
func BootstrapBindings() []*rbacv1.ClusterRoleBinding {
	return []*rbacv1.ClusterRoleBinding{
		bootstrapBinding("cluster-admin", user.SystemPrivilegedGroup),
		bootstrapBinding("system:discovery", user.AllAuthenticated),
		bootstrapBinding("system:basic-user", user.AllAuthenticated),
		bootstrapBinding(issuerRole, serviceaccount.AllServiceAccountsGroup),
		bootstrapBinding("system:public-info-viewer", user.AllAuthenticated, user.AllUnauthenticated),
		{
			ObjectMeta: bootstrapMeta(autoscalerRole),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: autoscalerRole},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "kube-system", Name: "horizontal-pod-autoscaler"}},
		},
	}
}

func bootstrapMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"},
		Annotations: map[string]string{rbacv1.AutoUpdateAnnotationKey: "true"},
	}
}

func bootstrapRole(name string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{ObjectMeta: bootstrapMeta(name), Rules: rules}
}

func bootstrapBinding(role string, groups ...string) *rbacv1.ClusterRoleBinding {
	b := &rbacv1.ClusterRoleBinding{
		ObjectMeta: bootstrapMeta(role),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	}
	for _, g := range groups {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: g})
	}
	return b
}

// BootstrapLocal are the roles and bindings of single namespaces that every cluster has.
func BootstrapLocal() []api.Object {
	const reader = "extension-apiserver-authentication-reader"
	meta := func(name string) metav1.ObjectMeta {
		out := bootstrapMeta(name)
		out.Namespace = metav1.NamespaceSystem
		return out
	}
	rule := allow(read, "", "configmaps")
	rule.ResourceNames = []string{"extension-apiserver-authentication"}
	return []api.Object{
		&rbacv1.Role{ObjectMeta: meta(reader), Rules: []rbacv1.PolicyRule{rule}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta("system::" + reader),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: reader},
			Subjects: []rbacv1.Subject{
				{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user.KubeControllerManager},
				{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user.KubeScheduler},
			},
		},
	}
}
