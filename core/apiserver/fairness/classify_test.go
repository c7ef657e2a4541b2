package fairness

import (
	"hash/maphash"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
)

func TestClassify(t *testing.T) {
	l := &Limiter{Seats: 600}
	have := complete(nil)
	mine := schemaOf("mine")
	mine.Spec.PriorityLevelConfiguration.Name = "workload-low"
	mine.Spec.Rules = []flowcontrolv1.PolicyRulesWithSubjects{{
		Subjects: []flowcontrolv1.Subject{
			{Kind: "User", User: &flowcontrolv1.UserSubject{Name: "ann"}},
			{Kind: "ServiceAccount", ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Namespace: "a", Name: "s"}},
		},
		ResourceRules: []flowcontrolv1.ResourcePolicyRule{
			{Verbs: []string{"get"}, APIGroups: []string{"apps"}, Resources: []string{"deployments", "deployments/scale"}, Namespaces: []string{"a", "b"}},
			{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"*"}, ClusterScope: true},
		},
		NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/logs", "/x/*"}}},
	}}
	lost := schemaOf("lost")
	lost.Spec.MatchingPrecedence = 2
	lost.Spec.Rules[0].Subjects[0].Group.Name = user.AllAuthenticated
	have.Schemas = append(have.Schemas, mine, lost) // there is no level "lost"
	l.Configure(have)

	account := func(namespace, name string) user.Info {
		return &user.DefaultInfo{Name: serviceaccount.MakeUsername(namespace, name), Groups: append(serviceaccount.MakeGroupNames(namespace), user.AllAuthenticated)}
	}
	of := func(name string, groups ...string) user.Info {
		return &user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)}
	}
	res := func(who user.Info, verb, group, resource, sub, namespace string) Request {
		return Request{User: who, Verb: verb, Group: group, Resource: resource, Subresource: sub, Namespace: namespace}
	}
	for _, tc := range []struct {
		name, want string
		r          Request
	}{
		{"masters", "exempt", res(of("admin", user.SystemPrivilegedGroup), "delete", "", "pods", "", "a")},
		{"masters at a path", "exempt", Request{User: of("admin", user.SystemPrivilegedGroup), Verb: "post", Path: "/x"}},
		{"a probe", "probes", Request{User: of("ann"), Verb: "get", Path: "/healthz"}},
		{"a part of a probe", "probes", Request{User: of("ann"), Verb: "get", Path: "/livez/etcd"}},
		{"no probe", "global-default", Request{User: of("ann"), Verb: "get", Path: "/healthzz"}},
		{"a node's status", "system-node-high", res(of("system:node:n", user.NodesGroup), "patch", "", "nodes", "status", "")},
		{"a node's lease", "system-node-high", res(of("system:node:n", user.NodesGroup), "update", "coordination.k8s.io", "leases", "", "kube-node-lease")},
		{"a node's pods", "system-nodes", res(of("system:node:n", user.NodesGroup), "list", "", "pods", "", "")},
		{"the leader of a controller", "system-leader-election", res(account("kube-system", "c"), "update", "coordination.k8s.io", "leases", "", "kube-system")},
		{"a system's account", "kube-system-service-accounts", res(account("kube-system", "c"), "watch", "coordination.k8s.io", "leases", "", "kube-system")},
		{"one whose namespace begins so", "service-accounts", res(account("kube-system2", "c"), "watch", "", "pods", "", "")},
		{"the scheduler", "kube-scheduler", res(of(user.KubeScheduler), "create", "", "pods", "binding", "a")},
		{"a user", "global-default", res(of("ann"), "get", "", "pods", "", "a")},
		{"nobody known", "catch-all", res(&user.DefaultInfo{Name: "?"}, "get", "", "pods", "", "a")},
		{"own schema", "mine", res(of("ann"), "get", "apps", "deployments", "", "b")},
		{"its account", "mine", res(account("a", "s"), "get", "apps", "deployments", "scale", "b")},
		{"another account", "service-accounts", res(account("a", "t"), "get", "apps", "deployments", "scale", "b")},
		{"another namespace", "global-default", res(of("ann"), "get", "apps", "deployments", "", "c")},
		{"another subresource", "global-default", res(of("ann"), "get", "apps", "deployments", "status", "b")},
		{"another group", "global-default", res(of("ann"), "get", "", "deployments", "", "b")},
		{"another verb", "global-default", res(of("ann"), "put", "apps", "deployments", "", "b")},
		{"all of the cluster", "mine", res(of("ann"), "list", "", "nodes", "", "")},
		{"all of a namespace", "global-default", res(of("ann"), "list", "", "pods", "", "a")},
		{"own path", "mine", Request{User: of("ann"), Verb: "get", Path: "/logs"}},
		{"below it", "mine", Request{User: of("ann"), Verb: "get", Path: "/x/y"}},
		{"beside it", "global-default", Request{User: of("ann"), Verb: "get", Path: "/xy"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := classify(*l.schemas.Load(), &tc.r); got.name != tc.want {
				t.Errorf("got %s, want %s", got.name, tc.want)
			}
		})
	}
}

// TestFlows: who is told from whom.
func TestFlows(t *testing.T) {
	seed := maphash.MakeSeed()
	byUser, byNamespace, alike := &schema{byUser: true}, &schema{byNamespace: true}, &schema{}
	for _, s := range []*schema{byUser, byNamespace, alike} {
		s.seed = seed
	}
	ann, bob := request("x", "ann"), request("x", "bob")
	bob.Namespace = "b"
	again := request("x", "ann")
	again.Namespace = "b"
	for _, tc := range []struct {
		name string
		s    *schema
		a, b *Request
		same bool
	}{
		{"users", byUser, ann, bob, false},
		{"one user", byUser, ann, again, true},
		{"namespaces", byNamespace, ann, again, false},
		{"one namespace", byNamespace, bob, again, true},
		{"no difference", alike, ann, bob, true},
	} {
		if got := tc.s.flow(tc.a) == tc.s.flow(tc.b); got != tc.same {
			t.Errorf("%s: the same flow: %t", tc.name, got)
		}
	}
}
