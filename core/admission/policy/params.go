package policy

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	clientcache "k8s.io/client-go/tools/cache"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
)

// params shows the objects that are the parameters of a policy to the library, in the version that the policy names.
type params struct {
	objects   admission.Reader
	resource  *api.Resource
	namespace string
}

var (
	_ informers.GenericInformer          = params{}
	_ clientcache.GenericLister          = params{}
	_ clientcache.GenericNamespaceLister = params{}
)

func paramsOf(objects admission.Reader, k *admissionv1.ParamKind) (params, error) {
	gvk := schema.FromAPIVersionAndKind(k.APIVersion, k.Kind)
	r := objects.Registry.Kind(gvk)
	if r == nil || r.Question || r.Computed {
		return params{}, fmt.Errorf("failed to find resource referenced by paramKind: '%v'", gvk)
	}
	return params{objects: objects, resource: r}, nil
}

func (p params) scope() meta.RESTScope {
	if p.resource.Namespaced {
		return scope(meta.RESTScopeNameNamespace)
	}
	return scope(meta.RESTScopeNameRoot)
}

// Informer implements informers.GenericInformer.
func (p params) Informer() clientcache.SharedIndexInformer { return synced{} }

// Lister implements informers.GenericInformer.
func (p params) Lister() clientcache.GenericLister { return p }

// ByNamespace implements cache.GenericLister.
func (p params) ByNamespace(namespace string) clientcache.GenericNamespaceLister {
	p.namespace = namespace
	return p
}

// Get implements cache.GenericNamespaceLister.
func (p params) Get(name string) (runtime.Object, error) {
	stored := p.resource.Stored()
	if err := p.objects.Cache.Latest(context.Background()); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	e := p.objects.Cache.Of(stored).Get(stored.Key(p.namespace, name))
	if e == nil {
		return nil, apierrors.NewNotFound(p.resource.GroupResource(), name)
	}
	return p.resource.FromStored(e.Object), nil
}

// List implements cache.GenericNamespaceLister.
func (p params) List(selector labels.Selector) ([]runtime.Object, error) {
	if err := p.objects.Cache.Latest(context.Background()); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	var out []runtime.Object
	for _, e := range p.objects.Cache.Of(p.resource.Stored()).Snapshot().From(p.namespace, "") {
		if (p.namespace == metav1.NamespaceAll || e.Object.GetNamespace() == p.namespace) && selector.Matches(labels.Set(e.Object.GetLabels())) {
			out = append(out, p.resource.FromStored(e.Object))
		}
	}
	return out, nil
}

// synced is an informer that is asked for nothing else.
type synced struct {
	clientcache.SharedIndexInformer
}

// HasSynced implements cache.SharedInformer.
func (synced) HasSynced() bool { return true }
