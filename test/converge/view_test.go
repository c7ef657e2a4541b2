package converge

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// view is a cache that shows each kind as it was some changes ago.
type view struct {
	mu      sync.Mutex
	kinds   map[schema.GroupVersionKind]*kindView
	indexes map[string]ctrlclient.IndexerFunc // by kind and name
}

type kindView struct {
	seen map[types.NamespacedName]ctrlclient.Object
	// coming are the changes that it does not show yet, oldest first.
	coming []changed
}

// changed is an object's new state; nil is that it is gone.
type changed struct {
	key types.NamespacedName
	obj ctrlclient.Object
}

func newView() *view {
	return &view{kinds: map[schema.GroupVersionKind]*kindView{}, indexes: map[string]ctrlclient.IndexerFunc{}}
}

func kindOf(obj runtime.Object) schema.GroupVersionKind {
	gvk, err := apiutil.GVKForObject(obj, scheme.Scheme)
	if err != nil {
		panic(err)
	}
	gvk.Kind = strings.TrimSuffix(gvk.Kind, "List")
	return gvk
}

func (v *view) of(gvk schema.GroupVersionKind) *kindView {
	if v.kinds[gvk] == nil {
		v.kinds[gvk] = &kindView{seen: map[types.NamespacedName]ctrlclient.Object{}}
	}
	return v.kinds[gvk]
}

func (v *view) index(obj ctrlclient.Object, name string, values ctrlclient.IndexerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.indexes[kindOf(obj).String()+name] = values
}

// add lets a change be seen some time later.
func (v *view) add(gvk schema.GroupVersionKind, c changed) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := v.of(gvk)
	k.coming = append(k.coming, c)
}

// lagging are the kinds that are behind.
func (v *view) lagging() []schema.GroupVersionKind {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []schema.GroupVersionKind
	for gvk, k := range v.kinds {
		if len(k.coming) > 0 {
			out = append(out, gvk)
		}
	}
	slices.SortFunc(out, func(a, b schema.GroupVersionKind) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// advance shows n further changes of a kind, all when n is negative.
func (v *view) advance(gvk schema.GroupVersionKind, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := v.of(gvk)
	if n < 0 || n > len(k.coming) {
		n = len(k.coming)
	}
	for _, c := range k.coming[:n] {
		if c.obj == nil {
			delete(k.seen, c.key)
		} else {
			k.seen[c.key] = c.obj
		}
	}
	k.coming = k.coming[n:]
}

func (v *view) keys() []types.NamespacedName {
	v.mu.Lock()
	defer v.mu.Unlock()
	set := map[types.NamespacedName]bool{}
	for _, k := range v.kinds {
		for key := range k.seen {
			set[key] = true
		}
	}
	out := make([]types.NamespacedName, 0, len(set))
	for key := range set {
		out = append(out, key)
	}
	slices.SortFunc(out, func(a, b types.NamespacedName) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Get implements client.Reader.
func (v *view) Get(_ context.Context, key types.NamespacedName, out ctrlclient.Object, _ ...ctrlclient.GetOption) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	gvk := kindOf(out)
	have := v.of(gvk).seen[key]
	if have == nil {
		return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, key.Name)
	}
	return assign(out, have)
}

// List implements client.Reader.
func (v *view) List(_ context.Context, out ctrlclient.ObjectList, opts ...ctrlclient.ListOption) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	o := (&ctrlclient.ListOptions{}).ApplyOptions(opts)
	gvk := kindOf(out)
	var items []runtime.Object
	for key, obj := range v.of(gvk).seen {
		ok, err := v.selects(gvk, o, key, obj)
		if err != nil {
			return err
		}
		if ok {
			items = append(items, obj.DeepCopyObject())
		}
	}
	slices.SortFunc(items, func(a, b runtime.Object) int {
		return cmp.Compare(a.(ctrlclient.Object).GetName(), b.(ctrlclient.Object).GetName())
	})
	return meta.SetList(out, items)
}

func (v *view) selects(gvk schema.GroupVersionKind, o *ctrlclient.ListOptions, key types.NamespacedName, obj ctrlclient.Object) (bool, error) {
	if o.Namespace != "" && o.Namespace != key.Namespace || o.LabelSelector != nil && !o.LabelSelector.Matches(labels.Set(obj.GetLabels())) {
		return false, nil
	}
	if o.FieldSelector == nil {
		return true, nil
	}
	for _, r := range o.FieldSelector.Requirements() {
		values := v.indexes[gvk.String()+r.Field]
		if values == nil {
			return false, fmt.Errorf("list %s: no index %s", gvk.Kind, r.Field)
		}
		if !slices.Contains(values(obj), r.Value) {
			return false, nil
		}
	}
	return true, nil
}
