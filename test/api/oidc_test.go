//go:build e2e

package api_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gantryio/gantry/core/auth/oidc/oidctest"
)

// TestLoginWithOpenID has a user come with the token of an issuer, and do what RBAC allows the user's group.
func TestLoginWithOpenID(t *testing.T) {
	issuer := oidctest.New(t)
	ca := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(ca, []byte(issuer.CA()), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{data: t.TempDir(), port: 6447, flags: []string{
		"--oidc-issuer-url", issuer.URL, "--oidc-client-id", "gantry", "--oidc-ca-file", ca, "--oidc-username-claim", "email", "--oidc-groups-claim", "groups",
		"--oidc-groups-prefix", "sso:",
	}}
	s.start(t)
	admin := s.client(t)
	_, err := admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "dev"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "sso:dev"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(s.data, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	as := func(token string) kubernetes.Interface {
		user := rest.AnonymousClientConfig(config)
		user.BearerToken = token
		return kubernetes.NewForConfigOrDie(user)
	}
	token := issuer.Token(t, nil)
	eventually(t, 30*time.Second, func() error { // the issuer is asked meanwhile
		_, err := as(token).CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		return err
	})
	if _, err := as(token).CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("viewers may list secrets: %v", err)
	}
	review, err := admin.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := authenticationv1.UserInfo{Username: "alice@example.com", Groups: []string{"sso:dev", "sso:ops", "system:authenticated"}}
	if diff := cmp.Diff(want, review.Status.User); !review.Status.Authenticated || diff != "" {
		t.Errorf("the review says %+v\n%s", review.Status, diff)
	}
	for name, claims := range map[string]jwt.MapClaims{
		"expired": {"exp": time.Now().Add(-time.Hour).Unix()}, "for somebody else": {"aud": "other"}, "of another issuer": {"iss": "https://other.example.com"},
	} {
		if _, err := as(issuer.Token(t, claims)).CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
			t.Errorf("a token that is %s: %v", name, err)
		}
	}
	issuer.Rotate(t, "second")
	if _, err := as(issuer.Token(t, nil)).CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("after the issuer's key was changed: %v", err)
	}
	// Our own tokens go on being taken.
	own, err := admin.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantAccount(t, config, own.Status.Token, "default")
}
