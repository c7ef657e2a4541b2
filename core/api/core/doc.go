// Package core declares the kinds of the group "" (v1): what the server, the printer and the store know
// of Pod, Service, Node and the rest. The rules of pod templates are exported for the workload kinds.
//
// Defaults, validation and columns follow the API reference of Kubernetes 1.37, so that a manifest gets
// the same defaults, the same refusals with the same field paths, and the same printed table.
package core

import (
	corev1 "k8s.io/api/core/v1"
)

// none is what columns print in place of nothing.
const none = "<none>"

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func setDefaultPointer[T any](p **T, value T) {
	if *p == nil {
		*p = new(value)
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

// roundUp brings quantities to the precision of a thousandth, the finest that is stored.
func roundUp(list corev1.ResourceList) {
	for name, q := range list {
		q.RoundUp(-3)
		list[name] = q
	}
}
