package apiserver_test

import (
	"slices"
	"testing"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/apiserver"
)

// BenchmarkPodUnlabelled is a new pod in a namespace that asks for no standard, up to the store, with and without pod security: it must
// not allocate more for it.
func BenchmarkPodUnlabelled(b *testing.B) {
	without, stop, err := startClusterWith(b.TempDir(), "10.96.0.0/24", func(s *apiserver.Server) {
		s.Admission = slices.DeleteFunc(s.Admission, func(p admission.Plugin) bool { return p.Name() == "PodSecurity" })
	})
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	for _, variant := range []struct {
		name string
		*cluster
	}{{"with", shared}, {"without", without}} {
		q := variant.in("pods", "default", "")
		q.DryRun = true
		b.Run(variant.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				one := *q
				if _, err := variant.api.Create(b.Context(), &one, pod("bench")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
