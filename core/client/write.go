package client

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api"
)

// Create implements client.Writer.
func (c *Client) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	r, err := c.resource(obj)
	if err != nil {
		return err
	}
	o := (&client.CreateOptions{}).ApplyOptions(opts)
	q := c.request(r, obj.GetNamespace(), obj.GetName(), "")
	withOptions(q, o.DryRun, o.FieldManager)
	own, err := typed(ctx, r, obj)
	if err != nil {
		return err
	}
	entry, err := c.Server.Create(ctx, q, own)
	if err != nil {
		return err
	}
	return show(ctx, r, entry.Object, obj)
}

// Update implements client.Writer.
func (c *Client) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	o := (&client.UpdateOptions{}).ApplyOptions(opts)
	return c.update(ctx, obj, obj, "", o)
}

func (c *Client) update(ctx context.Context, obj, body client.Object, subresource string, o *client.UpdateOptions) error {
	r, err := c.resource(obj)
	if err != nil {
		return err
	}
	q := c.request(r, obj.GetNamespace(), obj.GetName(), subresource)
	withOptions(q, o.DryRun, o.FieldManager)
	if subresource != "" && subresource != "status" && !r.Stored().HasPart(subresource) {
		out, err := c.Server.RunSubresource(ctx, q, body)
		if err != nil {
			return err
		}
		return fill(body, out)
	}
	own, err := typed(ctx, r, body)
	if err != nil {
		return err
	}
	entry, _, err := c.Server.Update(ctx, q, own)
	if err != nil {
		return err
	}
	return show(ctx, r, entry.Object, body)
}

// Patch implements client.Writer.
func (c *Client) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	if _, err := c.resource(obj); c.elsewhere(err) {
		return c.Elsewhere.Patch(ctx, obj, patch, opts...)
	}
	o := (&client.PatchOptions{}).ApplyOptions(opts)
	return c.patch(ctx, obj, obj, patch, "", o)
}

func (c *Client) patch(ctx context.Context, obj, body client.Object, patch client.Patch, subresource string, o *client.PatchOptions) error {
	r, err := c.resource(obj)
	if err != nil {
		return err
	}
	data, err := patch.Data(body)
	if err != nil {
		return fmt.Errorf("make a patch of %s %s: %w", r.Kind, obj.GetName(), err)
	}
	q := c.request(r, obj.GetNamespace(), obj.GetName(), subresource)
	withOptions(q, o.DryRun, o.FieldManager)
	entry, _, err := c.Server.Patch(ctx, q, api.Patch{
		Type: patch.Type(), Data: data, Force: o.Force != nil && *o.Force, Validation: api.ValidationIgnore,
	})
	if err != nil {
		return err
	}
	return show(ctx, r, entry.Object, body)
}

// Apply implements client.Writer.
func (c *Client) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	o := (&client.ApplyOptions{}).ApplyOptions(opts)
	return c.apply(ctx, obj, "", o)
}

func (c *Client) apply(ctx context.Context, obj runtime.ApplyConfiguration, subresource string, o *client.ApplyOptions) error {
	data, err := json.Marshal(obj)
	if err != nil {
		return fmt.Errorf("marshal an apply configuration: %w", err)
	}
	var content unstructured.Unstructured
	if err := content.UnmarshalJSON(data); err != nil {
		return fmt.Errorf("read an apply configuration: %w", err)
	}
	r, err := c.resource(&content)
	if err != nil {
		return err
	}
	q := c.request(r, content.GetNamespace(), content.GetName(), subresource)
	withOptions(q, o.DryRun, o.FieldManager)
	entry, _, err := c.Server.Patch(ctx, q, api.Patch{
		Type: types.ApplyYAMLPatchType, Data: data, Force: o.Force != nil && *o.Force, Validation: api.ValidationIgnore,
	})
	if err != nil {
		return err
	}
	if u, ok := obj.(interface{ SetUnstructuredContent(map[string]any) }); ok {
		var shown unstructured.Unstructured
		if err := show(ctx, r, entry.Object, &shown); err != nil {
			return err
		}
		u.SetUnstructuredContent(shown.Object)
	}
	return nil
}

// Delete implements client.Writer.
func (c *Client) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	r, err := c.resource(obj)
	if c.elsewhere(err) {
		return c.Elsewhere.Delete(ctx, untyped(obj), opts...)
	}
	if err != nil {
		return err
	}
	o := (&client.DeleteOptions{}).ApplyOptions(opts)
	q := c.request(r, obj.GetNamespace(), obj.GetName(), "")
	withOptions(q, o.DryRun, "")
	_, _, err = c.Server.Delete(ctx, q, o.AsDeleteOptions())
	return err
}

// untyped names an object of which only the metadata is known: controller-runtime reads the answer to a deletion as the type that it
// is given, and fails, when the deletion has been done, for a kind that has none.
func untyped(obj client.Object) client.Object {
	if _, partial := obj.(*metav1.PartialObjectMetadata); !partial {
		return obj
	}
	out := &unstructured.Unstructured{}
	out.SetGroupVersionKind(obj.GetObjectKind().GroupVersionKind())
	out.SetNamespace(obj.GetNamespace())
	out.SetName(obj.GetName())
	return out
}

// DeleteAllOf implements client.Writer.
func (c *Client) DeleteAllOf(ctx context.Context, obj client.Object, opts ...client.DeleteAllOfOption) error {
	r, err := c.resource(obj)
	if err != nil {
		return err
	}
	o := (&client.DeleteAllOfOptions{}).ApplyOptions(opts)
	if err := c.Cache.Latest(ctx); err != nil {
		return err
	}
	entries, _, err := find(r.Stored(), c.Cache.Of(r.Stored()), &o.ListOptions)
	if err != nil {
		return err
	}
	for _, e := range entries {
		q := c.request(r, e.Object.GetNamespace(), e.Object.GetName(), "")
		if _, _, err := c.Server.Delete(ctx, q, o.AsDeleteOptions()); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}
