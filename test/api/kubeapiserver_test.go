//go:build e2e

package api_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gantryio/gantry/core/pki"
)

// kubernetesDir has what test/conformance builds of Kubernetes: kube-apiserver, and valid objects of all its kinds.
const kubernetesDir = "../../bin/conformance"

// kubeAPIServer is a kube-apiserver with the keys of a Gantry's data folder, so that one may follow the other.
type kubeAPIServer struct {
	data, etcd string
	port       int
	*process
}

// config is that of the administrator, whom both servers know by the same certificate.
func (k *kubeAPIServer) config(t testing.TB) *rest.Config {
	t.Helper()
	authority, err := pki.Open(filepath.Join(k.data, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := authority.Issue("admin", pki.Identity{CommonName: "kubernetes-admin", Organizations: []string{user.SystemPrivilegedGroup}})
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{
		Host: "https://127.0.0.1:" + strconv.Itoa(k.port), QPS: -1, Timeout: 30 * time.Second, UserAgent: "move", WarningHandler: rest.NoWarnings{},
		TLSClientConfig: rest.TLSClientConfig{CAData: authority.CertPEM, CertData: admin.CertPEM, KeyData: admin.KeyPEM},
	}
}

func (k *kubeAPIServer) start(t testing.TB) {
	t.Helper()
	dir := filepath.Join(k.data, "pki")
	config := k.config(t)
	authority, err := pki.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authority.Issue("kube-apiserver", pki.Identity{CommonName: "kube-apiserver", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}); err != nil {
		t.Fatal(err)
	}
	key, err := pki.SigningKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sa.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	k.process = start(t, filepath.Join(t.TempDir(), "log"), nil, filepath.Join(kubernetesDir, "kube-apiserver"),
		"--etcd-servers", k.etcd, "--secure-port", strconv.Itoa(k.port), "--bind-address", "127.0.0.1", "--advertise-address", "192.0.2.1",
		"--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "RBAC", "--runtime-config", "api/all=true",
		"--client-ca-file", file("ca.crt"), "--tls-cert-file", file("kube-apiserver.crt"), "--tls-private-key-file", file("kube-apiserver.key"),
		"--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file", file("sa.pub"), "--service-account-signing-key-file", file("sa.key"))
	client := kubernetes.NewForConfigOrDie(config)
	eventually(t, 90*time.Second, func() error {
		select {
		case <-k.done:
			t.Fatal("kube-apiserver ended")
		default:
		}
		return client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(t.Context()).Error()
	})
}

type apiextension = apiextensionsv1.CustomResourceDefinition

// examples are valid objects of all kinds of Kubernetes, as its own tests have them.
type examples struct {
	Definitions []apiextension
	Examples    []example
}

type example struct {
	Group, Version, Resource string
	Object                   map[string]any
}

func (e example) copy() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: runtime.DeepCopyJSON(e.Object)}
}

func (e example) name() string { return (&unstructured.Unstructured{Object: e.Object}).GetName() }

func (e example) gvr() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: e.Group, Version: e.Version, Resource: e.Resource}
}

func readExamples() (*examples, error) {
	data, err := os.ReadFile(filepath.Join(kubernetesDir, "examples.json"))
	if err != nil {
		return nil, fmt.Errorf("run `make test-tools` first: %w", err)
	}
	out := &examples{}
	return out, utiljson.Unmarshal(data, out)
}
