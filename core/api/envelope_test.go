package api

import (
	"bytes"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

func TestEnvelopeAround(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 70_000} {
		raw := bytes.Repeat([]byte{'x'}, size)
		u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
		before, after := EnvelopeAround(&u, size)
		got := append(append(before, raw...), after...)
		if want := Envelope(&u, raw); !bytes.Equal(got, want) {
			t.Errorf("around %d bytes: %q, want %q", size, got[:min(60, len(got))], want[:min(60, len(want))])
		}
	}
}
