package client

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// Get implements client.Reader.
func (c *Client) Get(ctx context.Context, key types.NamespacedName, out client.Object, _ ...client.GetOption) error {
	r, err := c.resource(out)
	switch {
	case c.elsewhere(err):
		return c.Elsewhere.Get(ctx, key, out)
	case err != nil:
		return err
	case r.Computed:
		return c.getComputed(ctx, r, key, out)
	}
	if err := c.Cache.LatestOf(ctx, r); err != nil {
		return err
	}
	return getKind(ctx, r, c.Cache, key, out)
}

func get(ctx context.Context, g *api.Registry, from *cache.Cache, key types.NamespacedName, out client.Object) error {
	r, err := resourceOf(g, out)
	if err != nil {
		return err
	}
	return getKind(ctx, r, from, key, out)
}

func getKind(ctx context.Context, r *api.Resource, from *cache.Cache, key types.NamespacedName, out client.Object) error {
	if r.Computed {
		return errNotCached(r)
	}
	entry := from.Of(r.Stored()).Get(r.Key(key.Namespace, key.Name))
	if entry == nil {
		return apierrors.NewNotFound(r.GroupResource(), key.Name)
	}
	return show(ctx, r, entry.Object, out)
}

// List implements client.Reader. Items share everything below their first level with the cache.
func (c *Client) List(ctx context.Context, out client.ObjectList, opts ...client.ListOption) error {
	r, err := c.resource(out)
	switch {
	case c.elsewhere(err):
		return c.Elsewhere.List(ctx, out, opts...)
	case err != nil:
		return err
	case r.Computed:
		return c.listComputed(ctx, r, out, opts)
	}
	if err := c.Cache.Latest(ctx); err != nil {
		return err
	}
	return listKind(ctx, r, c.Cache, out, opts)
}

// None tells, at no cost, that the cache has nothing of the list's kind in a namespace, nor anywhere with "". Unlike a list it waits for no
// write that was acknowledged and has not arrived: that comes with an event.
func (c *Client) None(of client.ObjectList, namespace string) bool {
	r, err := c.resource(of)
	if err != nil || r.Computed {
		return false
	}
	_, none := c.Cache.Of(r.Stored()).None(namespace)
	return none
}

// NoneBy is None for what an index made by [Cache.IndexField] has under a value. It is false when there is no such index.
func (c *Client) NoneBy(of client.ObjectList, index, value string) bool {
	r, err := c.resource(of)
	return err == nil && !r.Computed && c.Cache.Of(r.Stored()).NoneByIndex(index, value)
}

func list(ctx context.Context, g *api.Registry, from *cache.Cache, out client.ObjectList, opts []client.ListOption) error {
	r, err := resourceOf(g, out)
	if err != nil {
		return err
	}
	return listKind(ctx, r, from, out, opts)
}

func listKind(ctx context.Context, r *api.Resource, from *cache.Cache, out client.ObjectList, opts []client.ListOption) error {
	if r.Computed {
		return errNotCached(r)
	}
	o := (&client.ListOptions{}).ApplyOptions(opts)
	entries, revision, err := find(r.Stored(), from.Of(r.Stored()), o)
	if err != nil {
		return err
	}
	out.SetResourceVersion(strconv.FormatInt(revision, 10))
	return setItems(ctx, r, out, entries)
}

// find collects what the options select, by an index when the one field that they name has one.
func find(r *api.Resource, col *cache.Collection, o *client.ListOptions) ([]*cache.Entry, int64, error) {
	// Controllers ask with every event of a pod what there is that may concern it, mostly nothing: that needs no selectors.
	if entries, rest, ok := indexed(col, o); ok {
		if len(entries) == 0 {
			return nil, col.Snapshot().Revision, nil
		}
		sel, err := cache.NewSelector(r, o.LabelSelector, rest)
		if err != nil {
			return nil, 0, err
		}
		out := entries[:0]
		for _, e := range entries {
			if (o.Namespace == "" || e.Object.GetNamespace() == o.Namespace) && sel.Matches(e.Object) {
				out = append(out, e)
			}
		}
		return limited(out, o.Limit), col.Snapshot().Revision, nil
	}
	if o.FieldSelector == nil {
		if revision, none := col.None(o.Namespace); none {
			return nil, revision, nil
		}
	}
	sel, err := cache.NewSelector(r, o.LabelSelector, o.FieldSelector)
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", r.Plural, err)
	}
	snap := col.Snapshot()
	var out []*cache.Entry
	for e := range snap.Select(&sel, o.Namespace, "") {
		out = append(out, e)
		if o.Limit > 0 && int64(len(out)) == o.Limit {
			break
		}
	}
	return out, snap.Revision, nil
}

func limited(entries []*cache.Entry, limit int64) []*cache.Entry {
	if limit > 0 && int64(len(entries)) > limit {
		return entries[:limit]
	}
	return entries
}

// indexed answers the first requirement that an index exists for and returns the others.
func indexed(col *cache.Collection, o *client.ListOptions) ([]*cache.Entry, fields.Selector, bool) {
	if o.FieldSelector == nil {
		return nil, nil, false
	}
	reqs := o.FieldSelector.Requirements()
	for i, req := range reqs {
		if req.Operator == selection.NotEquals {
			continue
		}
		entries, ok := col.ByIndex(req.Field, req.Value)
		if !ok {
			continue
		}
		if len(entries) == 0 {
			return nil, nil, true
		}
		var rest []fields.Selector
		for j, other := range reqs {
			if j != i && other.Operator != selection.NotEquals {
				rest = append(rest, fields.OneTermEqualSelector(other.Field, other.Value))
			} else if j != i {
				rest = append(rest, fields.OneTermNotEqualSelector(other.Field, other.Value))
			}
		}
		return entries, fields.AndSelectors(rest...), true
	}
	return nil, nil, false
}

var itemFields sync.Map // reflect.Type of a list → reflect.StructField, for finding one by its name takes as long as the rest of a list of nothing

// itemsOf finds the items of a type of lists, false when they are no slice.
func itemsOf(list reflect.Type) (reflect.StructField, bool) {
	if have, ok := itemFields.Load(list); ok {
		return have.(reflect.StructField), true
	}
	field, ok := list.FieldByName("Items")
	if !ok || field.Type.Kind() != reflect.Slice {
		return reflect.StructField{}, false
	}
	itemFields.Store(list, field)
	return field, true
}

func setItems(ctx context.Context, r *api.Resource, out client.ObjectList, entries []*cache.Entry) error {
	switch out := out.(type) {
	case *metav1.PartialObjectMetadataList:
		out.Items = make([]metav1.PartialObjectMetadata, len(entries))
		for i, e := range entries {
			if err := show(ctx, r, e.Object, &out.Items[i]); err != nil {
				return err
			}
		}
		return nil
	case *unstructured.UnstructuredList:
		objs := make([]api.Object, len(entries))
		for i, e := range entries {
			objs[i] = e.Object
		}
		objs, err := r.InVersion(ctx, objs) // all at once, for a webhook may have to be asked
		if err != nil {
			return err
		}
		out.Items = make([]unstructured.Unstructured, len(objs))
		for i, obj := range objs {
			if err := fill(&out.Items[i], obj); err != nil {
				return err
			}
		}
		return nil
	}
	list := reflect.ValueOf(out).Elem()
	field, ok := itemsOf(list.Type())
	if !ok || field.Type.Elem() != r.Type() {
		return fmt.Errorf("list %s into %T", r.Plural, out)
	}
	items := list.FieldByIndex(field.Index)
	items.Set(reflect.MakeSlice(items.Type(), len(entries), len(entries)))
	for i, e := range entries {
		items.Index(i).Set(reflect.ValueOf(r.FromStored(e.Object)).Elem())
	}
	return nil
}
