// Package admission changes or refuses writes on their way into the store.
//
// A plugin is a file; [Default] lists those that run, in order. Mutating comes before the server's own
// preparation and validation, validating after them.
package admission

import (
	"context"

	"github.com/gantryio/gantry/core/api"
)

// Operation is what a write does.
type Operation string

// The operations.
const (
	Create Operation = "CREATE"
	Update Operation = "UPDATE"
	Delete Operation = "DELETE"
)

// Attributes describe one write.
type Attributes struct {
	*api.Request
	Operation Operation
	// Object is the new version, which mutators may change; nil for a deletion.
	Object api.Object
	// Old is the stored version, shared; nil for a creation.
	Old api.Object
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

// Finisher is told how a write ended that it had let through: err is nil when it is stored and seen. It is asked once for each
// object that all validators have let through.
type Finisher interface {
	Finish(ctx context.Context, a *Attributes, err error)
}

// Chain runs plugins in order until one refuses.
type Chain []Plugin

// Admit runs the mutators.
func (c Chain) Admit(ctx context.Context, a *Attributes) error {
	for _, p := range c {
		if m, ok := p.(Mutator); ok {
			if err := m.Admit(ctx, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// Validate runs the validators.
func (c Chain) Validate(ctx context.Context, a *Attributes) error {
	for _, p := range c {
		if v, ok := p.(Validator); ok {
			if err := v.Validate(ctx, a); err != nil {
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
		NodeRestriction{},
	}
}
