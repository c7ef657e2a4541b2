package admission

import (
	"context"
	"testing"

	"github.com/gantryio/gantry/core/api"
)

type idle struct{}

func (idle) Name() string                                { return "Idle" }
func (idle) Admit(context.Context, *Attributes) error    { return nil }
func (idle) Validate(context.Context, *Attributes) error { return nil }

// BenchmarkCounted is what counting costs a write with twenty plugins.
func BenchmarkCounted(b *testing.B) {
	var chain Chain
	for range 20 {
		chain = append(chain, idle{})
	}
	a := &Attributes{Request: &api.Request{}, Operation: Create}
	b.ReportAllocs()
	for b.Loop() {
		_ = chain.Admit(b.Context(), a)
		_ = chain.Validate(b.Context(), a)
	}
}
