package rbac

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func texts(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, string(e.Type)+" "+e.Field)
	}
	return out
}

func TestRules(t *testing.T) {
	good := rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}
	for _, test := range []struct {
		name       string
		rule       rbacv1.PolicyRule
		namespaced bool
		want       []string
	}{
		{name: "resources", rule: good, namespaced: true},
		{name: "URLs", rule: rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz"}}},
		{name: "URLs in a namespace", rule: rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz"}}, namespaced: true, want: []string{"FieldValueInvalid rules[0].nonResourceURLs"}},
		{name: "both", rule: rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/"}, Resources: []string{"pods"}}, want: []string{"FieldValueInvalid rules[0].nonResourceURLs"}},
		{name: "nothing", want: []string{"FieldValueRequired rules[0].verbs", "FieldValueRequired rules[0].apiGroups", "FieldValueRequired rules[0].resources"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if d := cmp.Diff(test.want, texts(validateRules([]rbacv1.PolicyRule{test.rule}, test.namespaced, field.NewPath("rules")))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBindings(t *testing.T) {
	ref := rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}
	for _, test := range []struct {
		name     string
		binding  rbacv1.ClusterRoleBinding
		old      *rbacv1.ClusterRoleBinding
		want     []string
		wantRole []string // of the same as a RoleBinding
	}{
		{name: "defaulted", binding: rbacv1.ClusterRoleBinding{RoleRef: ref, Subjects: []rbacv1.Subject{
			{Kind: "User", Name: "u"}, {Kind: "Group", Name: "g"}, {Kind: "ServiceAccount", Name: "s", Namespace: "n"},
		}}},
		{
			name: "no namespace", binding: rbacv1.ClusterRoleBinding{RoleRef: ref, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "s"}}},
			want: []string{"FieldValueRequired subjects[0].namespace"},
		},
		{
			name: "a role", binding: rbacv1.ClusterRoleBinding{RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "r"}},
			want: []string{"FieldValueNotSupported roleRef.kind"},
		},
		{
			name: "strange", binding: rbacv1.ClusterRoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: "x", Kind: "y"}, Subjects: []rbacv1.Subject{{Kind: "z"}}},
			want:     []string{"FieldValueNotSupported roleRef.apiGroup", "FieldValueNotSupported roleRef.kind", "FieldValueRequired roleRef.name", "FieldValueRequired subjects[0].name", "FieldValueNotSupported subjects[0].kind"},
			wantRole: []string{"FieldValueNotSupported roleRef.apiGroup", "FieldValueNotSupported roleRef.kind", "FieldValueRequired roleRef.name", "FieldValueRequired subjects[0].name", "FieldValueNotSupported subjects[0].kind"},
		},
		{
			name: "another role", binding: rbacv1.ClusterRoleBinding{RoleRef: ref},
			old:  &rbacv1.ClusterRoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"}},
			want: []string{"FieldValueInvalid roleRef"}, wantRole: []string{"FieldValueInvalid roleRef"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := test.binding.DeepCopy()
			ClusterRoleBindings.Default(b)
			if d := cmp.Diff(test.want, texts(ClusterRoleBindings.Validate(b, test.old))); d != "" {
				t.Error(d)
			}
			r := &rbacv1.RoleBinding{RoleRef: b.RoleRef, Subjects: b.Subjects}
			var old *rbacv1.RoleBinding
			if test.old != nil {
				old = &rbacv1.RoleBinding{RoleRef: test.old.RoleRef}
			}
			if d := cmp.Diff(test.wantRole, texts(RoleBindings.Validate(r, old))); d != "" {
				t.Error(d)
			}
		})
	}
}
