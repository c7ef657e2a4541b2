//go:build e2e

package api_test

import (
	"path/filepath"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gantryio/gantry/core/pki"
)

// TestAgentsKeepToTheirSlices has an agent touch what devices its own node and another one say that they have.
func TestAgentsKeepToTheirSlices(t *testing.T) {
	s := &server{data: t.TempDir(), port: 6448}
	s.start(t)
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(s.data, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := pki.Open(filepath.Join(s.data, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("one", pki.Identity{CommonName: "system:node:one", Organizations: []string{user.NodesGroup}})
	if err != nil {
		t.Fatal(err)
	}
	as := rest.AnonymousClientConfig(config)
	as.CertData, as.KeyData = pair.CertPEM, pair.KeyPEM
	agent := kubernetes.NewForConfigOrDie(as).ResourceV1().ResourceSlices()
	admin := s.client(t).ResourceV1().ResourceSlices()
	slice := func(name, node string) *resourcev1.ResourceSlice {
		return &resourcev1.ResourceSlice{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: resourcev1.ResourceSliceSpec{
				Driver: "gpu.example.com", Pool: resourcev1.ResourcePool{Name: node, ResourceSliceCount: 1}, NodeName: &node,
			},
		}
	}
	if _, err := admin.Create(t.Context(), slice("other", "two"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	own, err := agent.Create(t.Context(), slice("own", "one"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	own.Labels = map[string]string{"changed": "yes"}
	if _, err := agent.Update(t.Context(), own, metav1.UpdateOptions{}); err != nil {
		t.Errorf("an agent may not update its slice: %v", err)
	}
	mine := metav1.ListOptions{FieldSelector: "spec.nodeName=one"}
	if got, err := agent.List(t.Context(), mine); err != nil || len(got.Items) != 1 || got.Items[0].Name != "own" {
		t.Errorf("an agent lists %v of its slices: %v", got, err)
	}
	for what, err := range map[string]error{
		"create another's": func() error {
			_, err := agent.Create(t.Context(), slice("third", "two"), metav1.CreateOptions{})
			return err
		}(),
		"get another's":    func() error { _, err := agent.Get(t.Context(), "other", metav1.GetOptions{}); return err }(),
		"delete another's": agent.Delete(t.Context(), "other", metav1.DeleteOptions{}),
		"list all":         func() error { _, err := agent.List(t.Context(), metav1.ListOptions{}); return err }(),
		"delete all":       agent.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("an agent may %s: %v", what, err)
		}
	}
	if err := agent.DeleteCollection(t.Context(), metav1.DeleteOptions{}, mine); err != nil {
		t.Errorf("an agent may not delete its slices: %v", err)
	}
	if got, err := admin.List(t.Context(), metav1.ListOptions{}); err != nil || len(got.Items) != 1 || got.Items[0].Name != "other" {
		t.Errorf("left are %v, %v", got, err)
	}
}
