package client

import (
	"context"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Status implements client.StatusClient.
func (c *Client) Status() client.SubResourceWriter { return c.SubResource("status") }

// SubResource implements client.SubResourceClientConstructor.
func (c *Client) SubResource(name string) client.SubResourceClient { return &subresource{c, name} }

type subresource struct {
	*Client
	name string
}

var _ client.SubResourceClient = (*subresource)(nil)

func (s *subresource) Get(ctx context.Context, obj, out client.Object, _ ...client.SubResourceGetOption) error {
	if _, ok := out.(*autoscalingv1.Scale); !ok || s.name != "scale" {
		return fmt.Errorf("get subresource %s: only scale can be read", s.name)
	}
	r, err := s.resource(obj)
	if err != nil {
		return err
	}
	if r.GetScale == nil {
		return apierrors.NewNotFound(schema.GroupResource{Group: r.Group, Resource: r.Plural + "/scale"}, obj.GetName())
	}
	r = r.Stored()
	stored := r.New()
	if err := s.Client.Get(ctx, types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}, stored.(client.Object)); err != nil {
		return err
	}
	return fill(out, r.GetScale(stored))
}

func (s *subresource) Create(ctx context.Context, obj, sub client.Object, opts ...client.SubResourceCreateOption) error {
	r, err := s.resource(obj)
	if err != nil {
		return err
	}
	o := (&client.SubResourceCreateOptions{}).ApplyOptions(opts)
	q := s.request(r, obj.GetNamespace(), obj.GetName(), s.name)
	withOptions(q, o.DryRun, o.FieldManager)
	out, err := s.Server.RunSubresource(ctx, q, sub)
	if err != nil {
		return err
	}
	if _, only := out.(*metav1.Status); only { // Whether it went well is all that it says.
		return nil
	}
	return fill(sub, out)
}

func (s *subresource) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	o := (&client.SubResourceUpdateOptions{}).ApplyOptions(opts)
	body := obj
	if o.SubResourceBody != nil {
		body = o.SubResourceBody
	}
	return s.update(ctx, obj, body, s.name, &o.UpdateOptions)
}

func (s *subresource) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	o := (&client.SubResourcePatchOptions{}).ApplyOptions(opts)
	body := obj
	if o.SubResourceBody != nil {
		body = o.SubResourceBody
	}
	return s.patch(ctx, obj, body, patch, s.name, &o.PatchOptions)
}

func (s *subresource) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
	o := (&client.SubResourceApplyOptions{}).ApplyOpts(opts)
	return s.apply(ctx, obj, s.name, &o.ApplyOptions)
}
