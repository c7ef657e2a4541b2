package webhook

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/cache"
)

// TestIdle keeps writes free of cost where nobody has configured a webhook.
func TestIdle(t *testing.T) {
	registry := all.Kinds()
	caller, err := NewCaller(admission.Reader{Cache: cache.New(nil, registry), Registry: registry}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	mutating, validating := NewMutating(caller), NewValidating(caller)
	a := &admission.Attributes{
		Request:   &api.Request{Resource: registry.Resource(corev1.SchemeGroupVersion.WithResource("pods"))},
		Operation: admission.Create, Object: &corev1.Pod{},
	}
	ctx := t.Context()
	allocations := testing.AllocsPerRun(100, func() {
		if mutating.Admit(ctx, a) != nil || validating.Validate(ctx, a) != nil || !mutating.Idle() || !validating.Idle() {
			t.Error("asked somebody")
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for a write that concerns nobody", allocations)
	}
}
