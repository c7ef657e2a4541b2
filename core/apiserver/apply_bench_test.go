package apiserver

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
)

// A pod that is applied again with another label, decoded each time as from a request.
func BenchmarkApply(b *testing.B) {
	s := &Server{Registry: all.Kinds()}
	s.managed.init(s.Registry)
	r := s.Registry.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	q := &api.Request{Resource: r, Namespace: "default", Name: "pod-1", Manager: "bench"}
	body := func(i int) []byte {
		return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod-1","labels":{"app":"bench","tier":"web-%d","i":"1"}},"spec":{"schedulerName":"nobody",`+
			`"containers":[{"name":"main","image":"docker.io/library/demo:1","args":["sleep","1000000"],"env":[{"name":"A","value":"one"},{"name":"B","value":"two"}],`+
			`"ports":[{"containerPort":80}],"resources":{"requests":{"cpu":"100m","memory":"100Mi"}}}]}}`, i)
	}
	apply := func(b *testing.B, live api.Object, data []byte, quick bool) api.Object {
		c, _, err := decodeApplied(q, &api.Patch{Data: data})
		if err != nil {
			b.Fatal(err)
		}
		c.plain = c.plain && quick
		out, _, err := s.merge(q, live, c, false)
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
	none := r.New()
	r.SetType(none)
	live := apply(b, none, body(0), true)
	live.SetUID("1")
	r.Default(live)
	for _, quick := range []bool{true, false} {
		b.Run(map[bool]string{true: "own", false: "library"}[quick], func(b *testing.B) {
			b.ReportAllocs()
			for i := 1; b.Loop(); i++ {
				apply(b, live, body(i), quick)
			}
		})
		b.Run(map[bool]string{true: "created/own", false: "created/library"}[quick], func(b *testing.B) {
			b.ReportAllocs()
			for i := 1; b.Loop(); i++ {
				apply(b, none, body(i), quick)
			}
		})
	}
}
