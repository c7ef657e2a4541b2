package apiserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/auth"
)

func TestTokensOfServiceAccounts(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shared.api.Tokens = &auth.Tokens{Key: key, Objects: shared.api.TokenObjects()}
	defer func() { shared.api.Tokens = nil }()
	ns := shared.namespace(t)
	api := shared.typed(t).CoreV1()
	must(api.ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}))(t)
	made := must(api.Pods(ns).Create(t.Context(), pod("p"), metav1.CreateOptions{}))(t)
	ask := func(account string, spec authenticationv1.TokenRequestSpec) (*authenticationv1.TokenRequest, error) {
		return api.ServiceAccounts(ns).CreateToken(t.Context(), account, &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	}

	got, err := ask("robot", authenticationv1.TokenRequestSpec{})
	if err != nil || *got.Spec.ExpirationSeconds != 3600 || !slices.Equal(got.Spec.Audiences, []string{auth.Issuer}) {
		t.Fatalf("got %+v: %v", got, err)
	}
	who, err := shared.api.Tokens.Check(got.Status.Token, []string{auth.Issuer})
	if err != nil || who.GetName() != "system:serviceaccount:"+ns+":robot" {
		t.Errorf("it is of %v: %v", who, err)
	}

	_, err = ask("nobody", authenticationv1.TokenRequestSpec{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, "nobody")
	_, err = ask("robot", authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(60))})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "may not specify a duration less than 10 minutes")
	ref := func(kind, name string) authenticationv1.TokenRequestSpec {
		return authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: kind, Name: name}}
	}
	_, err = ask("robot", ref("Pod", "p"))
	wantStatus(t, err, 400, metav1.StatusReasonBadRequest, "different serviceaccount name")
	_, err = ask("robot", ref("Secret", "none"))
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, "none")
	_, err = ask("robot", ref("ConfigMap", "x"))
	wantStatus(t, err, 400, metav1.StatusReasonBadRequest, "cannot bind token")

	// The default account is not made here without its controller.
	must(api.ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}))(t)
	spec := ref("Pod", "p")
	spec.BoundObjectRef.UID = "another"
	_, err = ask("default", spec)
	wantStatus(t, err, 409, metav1.StatusReasonConflict, "does not match the UID in record")
	spec.BoundObjectRef.UID = made.UID
	bound, err := ask("default", spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shared.api.Tokens.Check(bound.Status.Token, []string{auth.Issuer}); err != nil {
		t.Errorf("bound: %v", err)
	}
	must(struct{}{}, api.Pods(ns).Delete(t.Context(), "p", metav1.DeleteOptions{}))(t)
	if _, err := shared.api.Tokens.Check(bound.Status.Token, []string{auth.Issuer}); err == nil {
		t.Error("the token outlived its pod")
	}
}
