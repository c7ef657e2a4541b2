// Package client gives the parts that run in the server's process controller-runtime's cache and
// client: reads come from the watch cache without copies, writes go through the API server's verbs
// without sockets or encodings. The same parts run elsewhere with the ordinary ones over HTTPS.
//
// Objects that it returns are shared with everybody and must not be changed: copy first.
package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// Server is what the client needs of the API server.
type Server interface {
	Create(ctx context.Context, q *api.Request, obj api.Object) (*cache.Entry, error)
	Update(ctx context.Context, q *api.Request, obj api.Object) (*cache.Entry, bool, error)
	Patch(ctx context.Context, q *api.Request, p api.Patch) (*cache.Entry, bool, error)
	Delete(ctx context.Context, q *api.Request, opts *metav1.DeleteOptions) (*cache.Entry, bool, error)
	RunSubresource(ctx context.Context, q *api.Request, obj runtime.Object) (runtime.Object, error)
	// Compute makes the objects of a computed kind that the selectors, nil for all, select in q's namespace.
	Compute(ctx context.Context, q *api.Request, labels labels.Selector, fields fields.Selector) ([]*cache.Entry, error)
}

// Client is a client.WithWatch in the server's process. Its reads see every write that was acknowledged
// before them.
type Client struct {
	Server   Server
	Cache    *cache.Cache
	Registry *api.Registry
	// User is whom the requests come from; Manager is their field manager.
	User    user.Info
	Manager string
	// Elsewhere is asked for kinds that the registry does not have, those of aggregated API servers; nil when there are none.
	Elsewhere client.Client
}

var _ client.WithWatch = (*Client)(nil)

// As returns a client that acts as the service account NAME of kube-system.
func (c *Client) As(name string) *Client {
	as := *c
	as.Manager = name
	as.User = &user.DefaultInfo{
		Name:   "system:serviceaccount:kube-system:" + name,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", user.AllAuthenticated},
	}
	return &as
}

// AsUser returns a client that acts as another user.
func (c *Client) AsUser(who user.Info, manager string) *Client {
	as := *c
	as.User, as.Manager = who, manager
	return &as
}

// Scheme implements client.Client.
func (c *Client) Scheme() *runtime.Scheme { return scheme.Scheme }

// RESTMapper implements client.Client.
func (c *Client) RESTMapper() meta.RESTMapper { return mapKinds(c.Registry) }

// GroupVersionKindFor implements client.Client.
func (c *Client) GroupVersionKindFor(obj runtime.Object) (schema.GroupVersionKind, error) {
	r, err := c.resource(obj)
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	return r.GroupVersionKind(), nil
}

// IsObjectNamespaced implements client.Client.
func (c *Client) IsObjectNamespaced(obj runtime.Object) (bool, error) {
	r, err := c.resource(obj)
	if c.elsewhere(err) {
		return c.Elsewhere.IsObjectNamespaced(obj)
	}
	return err == nil && r.Namespaced, err
}

// elsewhere tells that another server may know the kind of which err says that it is not known here.
func (c *Client) elsewhere(err error) bool { return c.Elsewhere != nil && meta.IsNoMatchError(err) }

// resource finds the kind of an object or list, typed or not.
func (c *Client) resource(obj runtime.Object) (*api.Resource, error) {
	return resourceOf(c.Registry, obj)
}

func resourceOf(g *api.Registry, obj runtime.Object) (*api.Resource, error) {
	if r := g.ForType(reflect.TypeOf(obj)); r != nil {
		return r, nil
	}
	gvk, err := kindOf(obj)
	if err != nil {
		return nil, err
	}
	if r := g.Kind(gvk); r != nil {
		return r, nil
	}
	if item := itemOf(gvk); item != gvk {
		if r := g.Kind(item); r != nil {
			return r, nil
		}
		gvk = item
	}
	return nil, &meta.NoKindMatchError{GroupKind: gvk.GroupKind(), SearchedVersions: []string{gvk.Version}}
}

// kinds are those of Go types, and for a list that of its items: controllers list with every event, and the scheme is slow to ask.
var kinds sync.Map // reflect.Type → schema.GroupVersionKind

func kindOf(obj runtime.Object) (schema.GroupVersionKind, error) {
	t := reflect.TypeOf(obj)
	if have, ok := kinds.Load(t); ok {
		return have.(schema.GroupVersionKind), nil
	}
	if gvk := obj.GetObjectKind().GroupVersionKind(); !gvk.Empty() {
		return gvk, nil
	}
	all, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	gvk := all[0]
	if meta.IsListType(obj) {
		gvk = itemOf(gvk)
	}
	kinds.Store(t, gvk)
	return gvk, nil
}

// itemOf is the kind whose lists have the given one, or that itself.
func itemOf(gvk schema.GroupVersionKind) schema.GroupVersionKind {
	if name, ok := strings.CutSuffix(gvk.Kind, "List"); ok && name != "" {
		gvk.Kind = name
	}
	return gvk
}

func (c *Client) request(r *api.Resource, namespace, name, subresource string) *api.Request {
	q := &api.Request{
		User: c.User, Resource: r.Stored(), Namespace: namespace, Name: name, Subresource: subresource, Manager: c.Manager,
	}
	if r != q.Resource {
		q.Version = r
	}
	return q
}

// withOptions puts the options that all writes have into the request.
func withOptions(q *api.Request, dryRun []string, manager string) {
	q.DryRun = slices.Contains(dryRun, metav1.DryRunAll)
	if manager != "" {
		q.Manager = manager
	}
}

// fill makes out show a stored object: a typed one shares everything below its first level, the others
// are converted.
func fill(out, stored runtime.Object) error {
	if from, ok := stored.(*unstructured.Unstructured); ok {
		if out, ok := out.(*unstructured.Unstructured); ok {
			from.DeepCopyInto(out) // its first level is a map, which would be shared
			return nil
		}
	}
	to, from := reflect.ValueOf(out).Elem(), reflect.ValueOf(stored).Elem()
	if to.Type() == from.Type() {
		to.Set(from)
		return nil
	}
	switch out := out.(type) {
	case *metav1.PartialObjectMetadata:
		out.TypeMeta = metav1.TypeMeta{}
		out.SetGroupVersionKind(stored.GetObjectKind().GroupVersionKind())
		out.ObjectMeta = *api.Metadata(stored)
		return nil
	case *unstructured.Unstructured:
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(stored)
		out.Object = content
		return err
	}
	return fmt.Errorf("show %T as %T", stored, out)
}

// typed returns obj in the stored version of its kind, as a copy that the server may take over.
func typed(ctx context.Context, r *api.Resource, obj runtime.Object) (api.Object, error) {
	own, err := spoken(r, obj)
	if err != nil || r.Stored() == r {
		return own, err
	}
	if r.Default != nil {
		r.Default(own)
	}
	return r.ForStore(ctx, own)
}

// spoken returns a copy of obj as the Go type of its version.
func spoken(r *api.Resource, obj runtime.Object) (api.Object, error) {
	if own, ok := obj.DeepCopyObject().(api.Object); ok && reflect.TypeOf(obj).Elem() == r.Type() {
		return own, nil
	}
	content, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, errors.New("write needs a typed or an unstructured object, metadata alone can only be patched or deleted")
	}
	out := r.New()
	return out, runtime.DefaultUnstructuredConverter.FromUnstructured(content.Object, out)
}
