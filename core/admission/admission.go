// Package admission changes or refuses writes on their way into the store.
//
// A plugin is a file; [Default] lists those that run, in order. Mutating comes before the server's own
// preparation and validation, validating after them.
package admission

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	upstream "k8s.io/apiserver/pkg/admission"

	"github.com/gantryio/gantry/core/api"
)

// Operation is what a write does.
type Operation string

// The operations.
const (
	Create Operation = "CREATE"
	Update Operation = "UPDATE"
	Delete Operation = "DELETE"
	// Connect is what joins a client with a pod, service or node.
	Connect Operation = "CONNECT"
)

// Attributes describe one write.
type Attributes struct {
	*api.Request
	Operation Operation
	// Object is the new version, which mutators may change; nil for a deletion.
	Object api.Object
	// Old is the stored version, shared; nil for a creation.
	Old api.Object
	// Body is what a subresource or a connection is about where that is no object of the kind (a Scale, an Eviction, the
	// options of an exec), and OldBody what it was. Only plugins that are [External] meet them; Object and Old are nil then.
	Body, OldBody runtime.Object
	// BodyKind is the kind of Body.
	BodyKind schema.GroupVersionKind
	// Options are those of a deletion; others are made of the request.
	Options *metav1.DeleteOptions
	// Mutated tells that an external plugin has changed the object: what only the server may set was kept, but the object
	// may be named otherwise.
	Mutated bool

	record upstream.Attributes
}

// Plugin has at least one of the two powers below.
type Plugin interface {
	// Name is the plugin's name in Kubernetes, where it has one.
	Name() string
}

// Mutator changes a.Object or refuses the write with an API status.
type Mutator interface {
	Admit(ctx context.Context, a *Attributes) error
}

// Validator refuses writes with an API status and changes nothing.
type Validator interface {
	Validate(ctx context.Context, a *Attributes) error
}

// External is a plugin that asks what is configured through the API. It also sees deletions before they are validated,
// subresources and connections.
type External interface {
	Plugin
	// Idle tells that nothing is configured, so that nothing will be asked.
	Idle() bool
}

// Selective is a plugin that is about some kinds alone: it has nothing to say to a write of any other, whatever is written.
type Selective interface {
	Plugin
	// About tells whether it has something to say to writes of a kind. The answer is always the same.
	About(r *api.Resource) bool
}

// Finisher is told how a write ended that it had let through: err is nil when it is stored and seen. It is asked once for each
// object that all validators have let through.
type Finisher interface {
	Finish(ctx context.Context, a *Attributes, err error)
}

// Chain runs plugins in order until one refuses.
type Chain []Plugin

// About are the plugins that may have something to say to writes of a kind, in order.
func (c Chain) About(r *api.Resource) Chain {
	return slices.DeleteFunc(slices.Clone(c), func(p Plugin) bool { s, ok := p.(Selective); return ok && !s.About(r) })
}

// isOf tells whether a kind is one of those of a group.
func isOf(r *api.Resource, group string, kinds ...string) bool {
	return r.Group == group && slices.Contains(kinds, r.Kind)
}

// Externals are the plugins that are external, in order.
func (c Chain) Externals() Chain {
	return slices.DeleteFunc(slices.Clone(c), func(p Plugin) bool { _, ok := p.(External); return !ok })
}

// Idle tells that none of the plugins has anything to ask; all of them must be external.
func (c Chain) Idle() bool {
	return !slices.ContainsFunc(c, func(p Plugin) bool { return !p.(External).Idle() })
}

// Internals are the plugins that are not external, in order.
func (c Chain) Internals() Chain {
	return slices.DeleteFunc(slices.Clone(c), func(p Plugin) bool { _, ok := p.(External); return ok })
}

// Admit runs the mutators, and all of them a second time when an external one asks for it, for what it has changed may mean
// something to those before it.
func (c Chain) Admit(ctx context.Context, a *Attributes) error {
	begin := time.Now()
	err := c.admitAll(ctx, a)
	a.publish(ctx)
	Metrics.observe(figure{step: stepAdmit, operation: a.Operation, rejected: err != nil}, begin)
	return err
}

func (c Chain) admitAll(ctx context.Context, a *Attributes) error {
	if err := c.admit(ctx, a); err != nil {
		return err
	}
	if a.record == nil || !a.record.GetReinvocationContext().ShouldReinvoke() {
		return nil
	}
	a.record.GetReinvocationContext().SetIsReinvoke()
	return c.admit(ctx, a)
}

func (c Chain) admit(ctx context.Context, a *Attributes) error {
	for _, p := range c {
		if m, ok := p.(Mutator); ok {
			begin := Metrics.begin(p)
			err := m.Admit(ctx, a)
			Metrics.end(figure{p.Name(), stepAdmit, a.Operation, err != nil}, begin)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Validate runs the validators.
func (c Chain) Validate(ctx context.Context, a *Attributes) error {
	begin := time.Now()
	err := c.validate(ctx, a)
	a.publish(ctx)
	Metrics.observe(figure{step: stepValidate, operation: a.Operation, rejected: err != nil}, begin)
	return err
}

func (c Chain) validate(ctx context.Context, a *Attributes) error {
	for _, p := range c {
		if v, ok := p.(Validator); ok {
			begin := Metrics.begin(p)
			err := v.Validate(ctx, a)
			Metrics.end(figure{p.Name(), stepValidate, a.Operation, err != nil}, begin)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Finish runs the finishers.
func (c Chain) Finish(ctx context.Context, a *Attributes, err error) {
	for _, p := range c {
		if f, ok := p.(Finisher); ok {
			f.Finish(ctx, a, err)
		}
	}
}

// Default is what every server runs.
func Default(objects Reader) Chain {
	return Chain{
		NamespaceLifecycle{objects},
		LimitRanger{objects},
		TaintNewNodes{},
		ServiceAccount{objects},
		Priority{objects},
		RuntimeClass{objects},
		DefaultTolerations{},
		DefaultStorageClass{objects},
		DefaultIngressClass{objects},
		StorageProtection{},
		ClaimResize{objects},
		PodResize{objects},
		NodeRestriction{},
	}
}
