package client

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api"
)

// Objects of computed kinds are in no cache: the server makes them for whoever asks.

func errNotCached(r *api.Resource) error {
	return fmt.Errorf("read %s from the cache: they are computed when asked for", r.GroupResource())
}

func (c *Client) getComputed(ctx context.Context, r *api.Resource, key types.NamespacedName, out client.Object) error {
	entries, err := c.Server.Compute(ctx, c.request(r, key.Namespace, key.Name, ""), nil, fields.OneTermEqualSelector("metadata.name", key.Name))
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return apierrors.NewNotFound(r.GroupResource(), key.Name)
	}
	return fill(out, entries[0].Object)
}

func (c *Client) listComputed(ctx context.Context, r *api.Resource, out client.ObjectList, opts []client.ListOption) error {
	o := (&client.ListOptions{}).ApplyOptions(opts)
	entries, err := c.Server.Compute(ctx, c.request(r, o.Namespace, "", ""), o.LabelSelector, o.FieldSelector)
	if err != nil {
		return err
	}
	return setItems(ctx, r, out, limited(entries, o.Limit))
}
