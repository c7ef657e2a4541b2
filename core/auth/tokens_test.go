package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// objects are there by their names with the UIDs that they map to.
type objects map[string]types.UID

func (o objects) meta(key string) (metav1.ObjectMeta, bool) {
	uid, ok := o[key]
	return metav1.ObjectMeta{UID: uid}, ok
}

func (o objects) ServiceAccount(namespace, name string) *corev1.ServiceAccount {
	if m, ok := o.meta("sa/" + namespace + "/" + name); ok {
		return &corev1.ServiceAccount{ObjectMeta: m}
	}
	return nil
}

func (o objects) Pod(namespace, name string) *corev1.Pod {
	if m, ok := o.meta("pod/" + namespace + "/" + name); ok {
		return &corev1.Pod{ObjectMeta: m}
	}
	return nil
}

func (o objects) Node(name string) *corev1.Node {
	if m, ok := o.meta("node/" + name); ok {
		return &corev1.Node{ObjectMeta: m}
	}
	return nil
}

func (o objects) Secret(namespace, name string) *corev1.Secret {
	if m, ok := o.meta("secret/" + namespace + "/" + name); ok {
		return &corev1.Secret{ObjectMeta: m}
	}
	return nil
}

func key(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestTokensHoldAsLongAsWhatTheyAreBoundTo(t *testing.T) {
	now := time.Now()
	there := objects{"sa/n/robot": "1", "pod/n/p": "2"}
	tokens := &Tokens{Key: key(t), Objects: there, Now: func() time.Time { return now }}
	bound := Binding{Namespace: "n", ServiceAccount: Bound{"robot", "1"}, Pod: &Bound{"p", "2"}, Node: &Bound{"a", "9"}}
	issue := func(b Binding, audience string) string {
		t.Helper()
		text, err := tokens.Issue(b, []string{audience}, now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	text := issue(bound, Issuer)
	ask := func(text string) (string, error) {
		who, err := tokens.Authenticate(&http.Request{Header: http.Header{"Authorization": {"Bearer " + text}}})
		if err != nil {
			return "", err
		}
		if !slices.Contains(who.GetGroups(), "system:serviceaccounts:n") || !slices.Contains(who.GetGroups(), "system:authenticated") ||
			!slices.Equal(who.GetExtra()["authentication.kubernetes.io/pod-name"], []string{"p"}) {
			t.Errorf("who: %+v", who)
		}
		return who.GetName(), nil
	}
	for range 2 { // verified, and remembered
		if name, err := ask(text); err != nil || name != "system:serviceaccount:n:robot" {
			t.Fatalf("got %q %v", name, err)
		}
	}
	refused := func(what, text, want string) {
		t.Helper()
		if _, err := ask(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	refused("another audience", issue(bound, "vault"), "token is for")
	refused("a broken one", text[:len(text)-4]+"AAAA", "verify token")
	other := &Tokens{Key: key(t), Objects: there, Now: tokens.Now}
	foreign, err := other.Issue(bound, []string{Issuer}, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	refused("another key", foreign, "verify token")
	there["pod/n/p"] = "3"
	refused("another pod of the name", text, "pod n/p of the token is gone")
	there["pod/n/p"] = "2"
	delete(there, "sa/n/robot")
	refused("no account", text, "service account n/robot of the token is gone")
	there["sa/n/robot"] = "1"
	now = now.Add(2 * time.Hour)
	refused("too old", text, "expired")
	if _, err := (Any{Certificates{}, tokens}).Authenticate(&http.Request{Header: http.Header{}}); err == nil {
		t.Error("nobody was let in")
	}
}
