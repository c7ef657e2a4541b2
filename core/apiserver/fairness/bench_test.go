package fairness

import (
	"testing"

	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
)

// BenchmarkUncontended is what the limiter costs a request that nobody hinders.
func BenchmarkUncontended(b *testing.B) {
	for _, bc := range []struct {
		name string
		who  user.Info
	}{
		{"exempt", &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}},
		{"node", &user.DefaultInfo{Name: "system:node:n", Groups: []string{user.NodesGroup, user.AllAuthenticated}}},
		{"account", &user.DefaultInfo{Name: serviceaccount.MakeUsername("default", "x"), Groups: append(serviceaccount.MakeGroupNames("default"), user.AllAuthenticated)}},
		{"user", &user.DefaultInfo{Name: "ann", Groups: []string{user.AllAuthenticated}}},
	} {
		l := &Limiter{Seats: 600}
		l.Configure(complete(nil))
		run := func(b *testing.B, next func() bool) {
			ctx := b.Context()
			for next() {
				r := Request{User: bc.who, Verb: "get", Group: "apps", Resource: "deployments", Namespace: "default"}
				t, _, err := l.Enter(ctx, &r)
				if err != nil {
					b.Fatal(err)
				}
				t.Leave()
			}
		}
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			run(b, b.Loop)
		})
		b.Run(bc.name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(p *testing.PB) { run(b, p.Next) })
		})
	}
}
