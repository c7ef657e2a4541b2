package apiserver_test

import (
	"net/http"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/gantryio/gantry/core/auth"
)

func TestQuestions(t *testing.T) {
	ns := shared.namespace(t)
	before := shared.api.Authorizer
	shared.api.Authorizer = auth.Chain{auth.Masters{}, auth.NewRBAC(shared.cache, shared.api.Registry)}
	defer func() { shared.api.Authorizer = before }()
	admin := shared.typed(t)
	must(admin.RbacV1().Roles(ns).Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}},
	}}, metav1.CreateOptions{}))(t)
	must(admin.RbacV1().RoleBindings(ns).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "b"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "r"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "jane"}},
	}, metav1.CreateOptions{}))(t)
	jane, err := kubernetes.NewForConfig(shared.config(t, "jane"))
	if err != nil {
		t.Fatal(err)
	}
	pods := &authorizationv1.ResourceAttributes{Namespace: ns, Verb: "get", Resource: "pods"}

	mine := must(jane.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: pods},
	}, metav1.CreateOptions{}))(t)
	if !mine.Status.Allowed || mine.Status.Reason == "" {
		t.Errorf("mine: %+v", mine.Status)
	}
	hers := must(admin.AuthorizationV1().LocalSubjectAccessReviews(ns).Create(t.Context(), &authorizationv1.LocalSubjectAccessReview{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns},
		Spec:       authorizationv1.SubjectAccessReviewSpec{User: "joe", ResourceAttributes: pods},
	}, metav1.CreateOptions{}))(t)
	if hers.Status.Allowed {
		t.Errorf("joe: %+v", hers.Status)
	}
	all := must(jane.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: ns},
	}, metav1.CreateOptions{}))(t)
	found := false
	for _, r := range all.Status.ResourceRules {
		found = found || len(r.Resources) == 1 && r.Resources[0] == "pods"
	}
	if !found {
		t.Errorf("rules: %+v", all.Status)
	}
	who := must(jane.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{}))(t)
	if who.Status.UserInfo.Username != "jane" {
		t.Errorf("who: %+v", who.Status)
	}
	token := must(admin.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: "x"},
	}, metav1.CreateOptions{}))(t)
	if token.Status.Authenticated || token.Status.Error == "" {
		t.Errorf("token: %+v", token.Status)
	}
	_, err = admin.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{}, metav1.CreateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "spec.resourceAttributes")
	if a := shared.request(t, http.MethodGet, "/apis/authorization.k8s.io/v1/subjectaccessreviews", ""); a.Code != http.StatusMethodNotAllowed {
		t.Errorf("a list: %d %s", a.Code, a.Body)
	}
}
