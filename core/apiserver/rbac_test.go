package apiserver_test

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/auth"
)

func TestRolesThatAreBound(t *testing.T) {
	ns, rbac := shared.namespace(t), auth.NewRBAC(shared.cache, shared.api.Registry)
	objects := shared.typed(t).RbacV1()
	must(objects.Roles(ns).Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"pods", "*/status"}},
		{Verbs: []string{"*"}, APIGroups: []string{"apps"}, Resources: []string{"deployments/scale"}, ResourceNames: []string{"web"}},
	}}, metav1.CreateOptions{}))(t)
	bind := func(name, role string, subjects ...rbacv1.Subject) {
		must(objects.RoleBindings(ns).Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: role}, Subjects: subjects,
		}, metav1.CreateOptions{}))(t)
	}
	bind("b", "r", rbacv1.Subject{Kind: "User", Name: "jane"}, rbacv1.Subject{Kind: "ServiceAccount", Name: "robot"})
	bind("broken", "none", rbacv1.Subject{Kind: "Group", Name: "lost"})
	must(objects.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: ns}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics", "/logs/*"}},
	}}, metav1.CreateOptions{}))(t)
	must(objects.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: ns}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: ns},
		Subjects: []rbacv1.Subject{{Kind: "Group", Name: ns}},
	}, metav1.CreateOptions{}))(t)

	jane := &user.DefaultInfo{Name: "jane"}
	watcher := &user.DefaultInfo{Name: "w", Groups: []string{ns}}
	resource := func(who user.Info, verb, namespace, group, resource, sub, name string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{User: who, Verb: verb, Namespace: namespace, APIGroup: group, Resource: resource, Subresource: sub, Name: name, ResourceRequest: true}
	}
	for _, test := range []struct {
		name    string
		asked   authorizer.AttributesRecord
		allowed bool
		reason  string
	}{
		{"pods", resource(jane, "get", ns, "", "pods", "", "x"), true, `RBAC: allowed by RoleBinding "b/` + ns + `" of Role "r" to User "jane"`},
		{"another verb", resource(jane, "delete", ns, "", "pods", "", "x"), false, ""},
		{"another namespace", resource(jane, "get", "other", "", "pods", "", "x"), false, ""},
		{"all namespaces", resource(jane, "list", "", "", "pods", "", ""), false, ""},
		{"a subresource", resource(jane, "get", ns, "", "pods", "log", "x"), false, ""},
		{"that subresource of anything", resource(jane, "get", ns, "", "services", "status", "x"), true, ""},
		{"by name", resource(jane, "patch", ns, "apps", "deployments", "scale", "web"), true, ""},
		{"another name", resource(jane, "patch", ns, "apps", "deployments", "scale", "db"), false, ""},
		{"a service account", resource(&user.DefaultInfo{Name: "system:serviceaccount:" + ns + ":robot"}, "list", ns, "", "pods", "", ""), true, ""},
		{"of another namespace", resource(&user.DefaultInfo{Name: "system:serviceaccount:x:robot"}, "list", ns, "", "pods", "", ""), false, ""},
		{"a role that is not there", resource(&user.DefaultInfo{Name: "x", Groups: []string{"lost"}}, "get", ns, "", "pods", "", ""), false, `RBAC: role.rbac.authorization.k8s.io "none" not found`},
		{"a path", authorizer.AttributesRecord{User: watcher, Verb: "get", Path: "/metrics"}, true, ""},
		{"below a path", authorizer.AttributesRecord{User: watcher, Verb: "get", Path: "/logs/a/b"}, true, ""},
		{"another path", authorizer.AttributesRecord{User: watcher, Verb: "get", Path: "/metrics/x"}, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			decision, reason, err := rbac.Authorize(t.Context(), test.asked)
			if err != nil || (decision == authorizer.DecisionAllow) != test.allowed || !strings.HasPrefix(reason, test.reason) {
				t.Errorf("got %v %q %v", decision, reason, err)
			}
		})
	}
}

func TestNobodyGivesAwayWhatTheyDoNotHave(t *testing.T) {
	ns, rbac := shared.namespace(t), auth.NewRBAC(shared.cache, shared.api.Registry)
	check := admission.Escalation{RBAC: rbac, May: auth.Chain{auth.Masters{}, rbac}}
	objects := shared.typed(t).RbacV1()
	must(objects.Roles(ns).Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods", "secrets"}},
	}}, metav1.CreateOptions{}))(t)
	must(objects.RoleBindings(ns).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "mine"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "mine"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "jane"}},
	}, metav1.CreateOptions{}))(t)
	try := func(who user.Info, plural string, obj api.Object) error {
		q := shared.in(plural, ns, obj.GetName())
		q.User = who
		q.Resource = shared.api.Registry.Resource(rbacv1.SchemeGroupVersion.WithResource(plural))
		return check.Validate(t.Context(), &admission.Attributes{Request: q, Operation: admission.Create, Object: obj})
	}
	jane, master := &user.DefaultInfo{Name: "jane"}, &user.DefaultInfo{Name: "m", Groups: []string{user.SystemPrivilegedGroup}}
	role := func(resource string) *rbacv1.Role {
		return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: ns}, Rules: []rbacv1.PolicyRule{
			{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{resource}},
		}}
	}
	binding := func(kind, name string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: ns}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}}
	}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"a part of it":        {try(jane, "roles", role("secrets")), ""},
		"more":                {try(jane, "roles", role("nodes")), `is attempting to grant RBAC permissions not currently held:` + "\n" + `{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}`},
		"a master":            {try(master, "roles", role("nodes")), ""},
		"the own role":        {try(jane, "rolebindings", binding("Role", "mine")), ""},
		"a larger role":       {try(jane, "rolebindings", binding("ClusterRole", "cluster-admin")), "not currently held"},
		"one that is not":     {try(jane, "rolebindings", binding("ClusterRole", "none")), "not found"},
		"a master's, of none": {try(master, "rolebindings", binding("ClusterRole", "none")), ""},
	} {
		if test.want == "" && test.err != nil || test.want != "" && (test.err == nil || !strings.Contains(test.err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, test.err, test.want)
		}
	}
}

// Who may list one object by its name may do so by a selector of that name, as kubectl and informers do.
func TestNamedBySelector(t *testing.T) {
	ns := shared.namespace(t)
	before := shared.api.Authorizer
	shared.api.Authorizer = auth.Chain{auth.Masters{}, auth.NewRBAC(shared.cache, shared.api.Registry)}
	defer func() { shared.api.Authorizer = before }()
	objects := shared.typed(t).RbacV1()
	must(objects.Roles(ns).Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "one"}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"list", "watch"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"mine"}},
	}}, metav1.CreateOptions{}))(t)
	must(objects.RoleBindings(ns).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "one"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "one"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "jane"}},
	}, metav1.CreateOptions{}))(t)
	maps := must(kubernetes.NewForConfig(shared.config(t, "jane")))(t).CoreV1().ConfigMaps(ns)
	for selector, allowed := range map[string]bool{
		"metadata.name=mine": true, "metadata.name==mine": true, "metadata.name=other": false, "metadata.name!=mine": false, "metadata.name=mi/ne": false, "": false,
	} {
		_, err := maps.List(t.Context(), metav1.ListOptions{FieldSelector: selector})
		if (err == nil) != allowed || err != nil && !apierrors.IsForbidden(err) {
			t.Errorf("list %q: %v", selector, err)
		}
		w, err := maps.Watch(t.Context(), metav1.ListOptions{FieldSelector: selector})
		if err == nil {
			w.Stop()
		}
		if (err == nil) != allowed {
			t.Errorf("watch %q: %v", selector, err)
		}
	}
}
