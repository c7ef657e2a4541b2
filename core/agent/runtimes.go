package agent

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/interfaces/runtime"
)

// Ref names the plugin that made something.
type Ref struct {
	Plugin, Version string
}

// Instance is one runtime plugin of this node.
type Instance struct {
	Ref
	Runtime  runtime.Runtime
	Handlers []string
	// Adopted runtimes are run by somebody else, and may be away for good.
	Adopted bool
}

// Runtimes finds container runtimes. A runtime that is down now may still be returned; its calls then wait or fail.
type Runtimes interface {
	// Runtime picks the runtime for a RuntimeClass handler, "" being the default. inner is the handler to name in
	// RunPodSandbox: empty where the asked one names the plugin itself.
	Runtime(handler string) (rt runtime.Runtime, ref Ref, inner string, err error)
	// Instances lists all runtimes.
	Instances() []Instance
}

// RuntimeChanges is an optional power of Runtimes: the channel yields a value when the set of runtimes has changed or
// one of them has come back.
type RuntimeChanges interface {
	Changed() <-chan struct{}
}

// Static is a fixed set of runtimes, the first being the default.
type Static []Instance

var _ Runtimes = Static(nil)

// Runtime implements Runtimes.
func (s Static) Runtime(handler string) (runtime.Runtime, Ref, string, error) {
	for _, i := range s {
		if handler == "" || handler == i.Plugin {
			return i.Runtime, i.Ref, "", nil
		}
		if slices.Contains(i.Handlers, handler) {
			return i.Runtime, i.Ref, handler, nil
		}
	}
	return nil, Ref{}, "", fmt.Errorf("find runtime for handler %q: no such handler", handler)
}

// Instances implements Runtimes.
func (s Static) Instances() []Instance { return s }

// runtimeOf finds the runtime that made a sandbox: the same plugin of the same version, or else of another one.
func (a *Agent) runtimeOf(ref Ref) (runtime.Runtime, error) {
	var same runtime.Runtime
	for _, i := range a.Runtimes.Instances() {
		if i.Ref == ref {
			return i.Runtime, nil
		}
		if i.Plugin == ref.Plugin {
			same = i.Runtime
		}
	}
	if same != nil {
		return same, nil
	}
	return nil, fmt.Errorf("find runtime plugin %s %s: not on this node", ref.Plugin, ref.Version)
}

// handlerOf resolves a pod's RuntimeClass.
func (a *Agent) handlerOf(ctx context.Context, p *corev1.Pod) (string, error) {
	name := p.Spec.RuntimeClassName
	if name == nil || *name == "" {
		return "", nil
	}
	var class nodev1.RuntimeClass
	if err := a.API.Get(ctx, client.ObjectKey{Name: *name}, &class); err != nil {
		return "", fmt.Errorf("get RuntimeClass %s: %w", *name, err)
	}
	return class.Handler, nil
}
