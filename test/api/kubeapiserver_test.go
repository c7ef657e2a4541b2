//go:build e2e

package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gantryio/gantry/test/upstream"
)

// kubernetesDir has what test/conformance builds of Kubernetes: kube-apiserver, and valid objects of all its kinds.
const kubernetesDir = "../../bin/conformance"

// kubeAPIServer is a kube-apiserver with the keys of a Gantry's data folder, so that one may follow the other.
type kubeAPIServer struct {
	data, etcd string
	port       int
	// config is that of the administrator, whom both servers know by the same certificate.
	config *rest.Config
	*process
}

func (k *kubeAPIServer) start(t testing.TB) {
	t.Helper()
	args, config, err := upstream.APIServer(filepath.Join(k.data, "pki"), k.etcd, k.port)
	if err != nil {
		t.Fatal(err)
	}
	k.config = config
	k.process = start(t, filepath.Join(t.TempDir(), "log"), nil, filepath.Join(kubernetesDir, "kube-apiserver"), args...)
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
