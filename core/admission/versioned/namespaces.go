package versioned

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/admission/plugin/policy/matching"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	listersv1 "k8s.io/client-go/listers/core/v1"

	"github.com/gantryio/gantry/core/admission"
)

// NewMatcher decides by rules and selectors whether a write concerns somebody.
func NewMatcher(objects admission.Reader) *matching.Matcher {
	return matching.NewMatcher(namespaces{objects}, client{namespaces: namespaces{objects}})
}

// patience is how long a store is waited for that does not answer, where nobody says for how long.
const patience = 10 * time.Second

// namespaces reads the cache, both as a lister and as the client that is asked for what the lister does not have.
type namespaces struct{ objects admission.Reader }

var _ listersv1.NamespaceLister = namespaces{}

// Get implements listersv1.NamespaceLister.
func (n namespaces) Get(name string) (*corev1.Namespace, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if ns, err := n.objects.Namespace(ctx, name); ns != nil || err != nil {
		return ns, err
	}
	return nil, apierrors.NewNotFound(corev1.Resource("namespaces"), name)
}

// List implements listersv1.NamespaceLister. Nobody lists namespaces.
func (n namespaces) List(labels.Selector) ([]*corev1.Namespace, error) { return nil, nil }

type client struct {
	kubernetes.Interface
	namespaces namespaces
}

// CoreV1 implements kubernetes.Interface.
func (c client) CoreV1() typedcorev1.CoreV1Interface { return coreClient{namespaces: c.namespaces} }

type coreClient struct {
	typedcorev1.CoreV1Interface
	namespaces namespaces
}

// Namespaces implements typedcorev1.CoreV1Interface.
func (c coreClient) Namespaces() typedcorev1.NamespaceInterface {
	return namespaceClient{namespaces: c.namespaces}
}

type namespaceClient struct {
	typedcorev1.NamespaceInterface
	namespaces namespaces
}

// Get implements typedcorev1.NamespaceInterface.
func (c namespaceClient) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Namespace, error) {
	return c.namespaces.Get(name)
}
