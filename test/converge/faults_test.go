package converge

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

// How often things go wrong: once in so many writes.
const (
	losesRequest = 14
	losesAnswer  = 14
	dies         = 25
)

// write lets a process write, or not, and tell it, or not. Where the process dies, no later write of it
// does anything.
func (p *process) write(obj ctrlclient.Object, do func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.dead:
		return errDead
	case p.chance(dies):
		p.dead = true
		return errDead
	case p.chance(losesRequest):
		return errLost
	}
	err := do()
	p.saw(obj)
	switch {
	case p.chance(dies):
		p.dead = true
		return errDead
	case p.chance(losesAnswer):
		return apierrors.NewTimeoutError("the answer was lost", 1)
	}
	return err
}

// saw puts the object's true state among what the caches will show.
func (w *world) saw(obj ctrlclient.Object) {
	if w.proc == nil {
		return
	}
	key := ctrlclient.ObjectKeyFromObject(obj)
	now := obj.DeepCopyObject().(ctrlclient.Object)
	switch err := api.Get(w.ctx, key, now); {
	case apierrors.IsNotFound(err):
		w.proc.view.add(kindOf(obj), changed{key: key})
	case err == nil:
		w.proc.view.add(kindOf(obj), changed{key, now.DeepCopyObject().(ctrlclient.Object)})
	default:
		w.t.Error(err)
	}
}

// act is a write by somebody else, which does not fail.
func (w *world) act(obj ctrlclient.Object, do func() error) {
	w.t.Helper()
	w.must(do())
	w.saw(obj)
}

// Get implements client.Client.
func (p *process) Get(ctx context.Context, key types.NamespacedName, out ctrlclient.Object, opts ...ctrlclient.GetOption) error {
	return p.view.Get(ctx, key, out, opts...)
}

// List implements client.Client.
func (p *process) List(ctx context.Context, out ctrlclient.ObjectList, opts ...ctrlclient.ListOption) error {
	return p.view.List(ctx, out, opts...)
}

// Create implements client.Client.
func (p *process) Create(ctx context.Context, obj ctrlclient.Object, opts ...ctrlclient.CreateOption) error {
	made := obj.DeepCopyObject().(ctrlclient.Object)
	err := p.write(made, func() error { return p.Client.Create(ctx, made, opts...) })
	if err != nil {
		return err
	}
	return assign(obj, made)
}

// Update implements client.Client.
func (p *process) Update(ctx context.Context, obj ctrlclient.Object, opts ...ctrlclient.UpdateOption) error {
	return p.write(obj, func() error { return p.Client.Update(ctx, obj, opts...) })
}

// Patch implements client.Client.
func (p *process) Patch(ctx context.Context, obj ctrlclient.Object, patch ctrlclient.Patch, opts ...ctrlclient.PatchOption) error {
	return p.write(obj, func() error { return p.Client.Patch(ctx, obj, patch, opts...) })
}

// Delete implements client.Client.
func (p *process) Delete(ctx context.Context, obj ctrlclient.Object, opts ...ctrlclient.DeleteOption) error {
	return p.write(obj, func() error { return p.Client.Delete(ctx, obj, opts...) })
}

// Status implements client.Client.
func (p *process) Status() ctrlclient.SubResourceWriter { return statusOf{p.Client.Status(), p} }

// SubResource implements client.Client: parts are read past the caches, and written like everything.
func (p *process) SubResource(name string) ctrlclient.SubResourceClient {
	return partOf{p.Client.SubResource(name), p}
}

type partOf struct {
	ctrlclient.SubResourceClient
	p *process
}

func (s partOf) Create(ctx context.Context, obj, sub ctrlclient.Object, opts ...ctrlclient.SubResourceCreateOption) error {
	return s.p.write(obj, func() error { return s.SubResourceClient.Create(ctx, obj, sub, opts...) })
}

// Update writes a scale; what changes is the object that it is a part of.
func (s partOf) Update(ctx context.Context, obj ctrlclient.Object, opts ...ctrlclient.SubResourceUpdateOption) error {
	target := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: obj.GetNamespace(), Name: obj.GetName()}}
	return s.p.write(target, func() error { return s.SubResourceClient.Update(ctx, obj, opts...) })
}

type statusOf struct {
	ctrlclient.SubResourceWriter
	p *process
}

func (s statusOf) Update(ctx context.Context, obj ctrlclient.Object, opts ...ctrlclient.SubResourceUpdateOption) error {
	return s.p.write(obj, func() error { return s.SubResourceWriter.Update(ctx, obj, opts...) })
}

func (s statusOf) Patch(ctx context.Context, obj ctrlclient.Object, patch ctrlclient.Patch, opts ...ctrlclient.SubResourcePatchOption) error {
	return s.p.write(obj, func() error { return s.SubResourceWriter.Patch(ctx, obj, patch, opts...) })
}

// liveReader reads the truth, but for when the connection is lost.
type liveReader struct{ p *process }

func (r liveReader) Get(ctx context.Context, key types.NamespacedName, out ctrlclient.Object, opts ...ctrlclient.GetOption) error {
	if err := r.lost(); err != nil {
		return err
	}
	return r.p.Client.Get(ctx, key, out, opts...)
}

func (r liveReader) List(ctx context.Context, out ctrlclient.ObjectList, opts ...ctrlclient.ListOption) error {
	if err := r.lost(); err != nil {
		return err
	}
	return r.p.Client.List(ctx, out, opts...)
}

func (r liveReader) lost() error {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	switch {
	case r.p.dead:
		return errDead
	case r.p.chance(losesRequest):
		return errLost
	}
	return nil
}
