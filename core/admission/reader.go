package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// Reader reads what plugins decide by, as of every acknowledged write.
type Reader struct {
	Cache    *cache.Cache
	Registry *api.Registry
}

// current returns once the cache has every acknowledged write to a kind. A plugin that cannot know what there is must not let anything through.
func (r Reader) current(ctx context.Context, res *api.Resource) error {
	if err := r.Cache.LatestOf(ctx, res); err != nil {
		return apierrors.NewTimeoutError(err.Error(), 1)
	}
	return nil
}

// get returns an object, nil when there is none.
func get[T any](ctx context.Context, r Reader, gvr schema.GroupVersionResource, namespace, name string) (*T, error) {
	res := r.Registry.Resource(gvr)
	if res == nil {
		return nil, nil
	}
	if err := r.current(ctx, res); err != nil {
		return nil, err
	}
	entry := r.Cache.Of(res).Get(res.Key(namespace, name))
	if entry == nil {
		return nil, nil
	}
	obj, _ := any(entry.Object).(*T)
	return obj, nil
}

// list returns all objects of a kind that has no namespace.
func list[T any](ctx context.Context, r Reader, gvr schema.GroupVersionResource) ([]*T, error) {
	return within[T](ctx, r, gvr, "")
}

// Namespace returns a namespace, nil when there is none.
func (r Reader) Namespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	return get[corev1.Namespace](ctx, r, corev1.SchemeGroupVersion.WithResource("namespaces"), "", name)
}

// Pods returns the pods of a namespace, in order of their names. They are shared, the list is the caller's.
func (r Reader) Pods(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
	return within[corev1.Pod](ctx, r, corev1.SchemeGroupVersion.WithResource("pods"), namespace)
}

func (r Reader) runtimeClass(ctx context.Context, name string) (*nodev1.RuntimeClass, error) {
	return get[nodev1.RuntimeClass](ctx, r, nodev1.SchemeGroupVersion.WithResource("runtimeclasses"), "", name)
}

func (r Reader) node(ctx context.Context, name string) (*corev1.Node, error) {
	return get[corev1.Node](ctx, r, corev1.SchemeGroupVersion.WithResource("nodes"), "", name)
}

func (r Reader) serviceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return get[corev1.ServiceAccount](ctx, r, corev1.SchemeGroupVersion.WithResource("serviceaccounts"), namespace, name)
}

var priorityClasses = schedulingv1.SchemeGroupVersion.WithResource("priorityclasses")

func (r Reader) priorityClass(ctx context.Context, name string) (*schedulingv1.PriorityClass, error) {
	return get[schedulingv1.PriorityClass](ctx, r, priorityClasses, "", name)
}

// globalDefault returns the lowest of the priority classes that are the default, nil without one.
func (r Reader) globalDefault(ctx context.Context) (*schedulingv1.PriorityClass, error) {
	classes, err := list[schedulingv1.PriorityClass](ctx, r, priorityClasses)
	var found *schedulingv1.PriorityClass
	for _, class := range classes {
		if class.GlobalDefault && (found == nil || class.Value < found.Value) {
			found = class
		}
	}
	return found, err
}

// limitRanges are those of a namespace, in order of their names.
func (r Reader) limitRanges(ctx context.Context, namespace string) ([]*corev1.LimitRange, error) {
	return within[corev1.LimitRange](ctx, r, corev1.SchemeGroupVersion.WithResource("limitranges"), namespace)
}

// quotas are those of a namespace, in order of their names.
func (r Reader) quotas(ctx context.Context, namespace string) ([]*corev1.ResourceQuota, error) {
	return within[corev1.ResourceQuota](ctx, r, corev1.SchemeGroupVersion.WithResource("resourcequotas"), namespace)
}

// within returns all objects of a kind in a namespace, "" for all, in order of their names. Most writes ask, and mostly there are none.
func within[T any](ctx context.Context, r Reader, gvr schema.GroupVersionResource, namespace string) ([]*T, error) {
	res := r.Registry.Resource(gvr)
	if res == nil {
		return nil, nil
	}
	if err := r.current(ctx, res); err != nil {
		return nil, err
	}
	col := r.Cache.Of(res)
	if _, none := col.None(namespace); none {
		return nil, nil
	}
	var all []*T
	for _, e := range col.Snapshot().From(namespace, "") {
		all = append(all, any(e.Object).(*T))
	}
	return all, nil
}
