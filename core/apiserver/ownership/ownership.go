// Package ownership computes the managedFields of an object after a write that is not a server-side apply: who has
// set which fields. It gives, byte for byte, what k8s.io/apimachinery/pkg/util/managedfields gives, straight from
// the Go objects and at a fraction of the cost, for the built-in kinds and for whatever is usual; where something is
// not, it says so and the library is to be asked.
//
// A write gains fields (it added or changed them) and loses fields (it removed them). Its manager owns what it gained;
// nobody else does any longer; nobody owns what was lost. Which fields there are, as opposed to parts of one atomic
// field, is said by the schema that server-side apply goes by.
package ownership

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
)

// maxUpdaters is how many entries of operation Update an object may have before the library merges the oldest.
const maxUpdaters = 10

// Shape is how the objects of one kind consist of fields. It is safe for concurrent use.
type Shape struct {
	root  *node
	reset *paths
}

// ShapeOf learns the shape of a Go type, a struct, from the schema of its kind. It returns nil for a type that has to
// be left to the library.
func ShapeOf(t reflect.Type, s *schema.Schema, ref schema.TypeRef) *Shape {
	p := planner{schema: s, made: map[planKey]*node{}}
	root := p.plan(t, ref)
	if root.form != object {
		return nil
	}
	return (&Shape{root: root}).Except()
}

// Except returns the shape for writes that cannot set some fields, each the names that lead to it: they are neither
// gained nor lost.
func (s *Shape) Except(fields ...[]string) *Shape {
	if s == nil {
		return nil
	}
	// What is computed here is nobody's.
	return &Shape{root: s.root, reset: pathsOf(append(fields, []string{"metadata", "managedFields"}))}
}

// Write says who wrote, and what.
type Write struct {
	Manager, Subresource, APIVersion string
	// At is the time of the write; what the API keeps of it are whole seconds.
	At time.Time
	// Creates says that there was no object before.
	Creates bool
}

// Update returns the managedFields of the object that w made of old, given the entries that old had. Both are pointers to
// structs of the shape's type; old is an empty one with a kind and version when w.Creates. Neither is changed, and
// entries that stay are shared with the result. It returns false when the library has to be asked instead.
func (s *Shape) Update(old, obj any, entries []metav1.ManagedFieldsEntry, w Write) ([]metav1.ManagedFieldsEntry, bool) {
	if len(entries) == 0 && !w.Creates {
		return nil, true // nobody began to track it
	}
	changes, ok := s.compare(reflect.ValueOf(old).Elem(), reflect.ValueOf(obj).Elem())
	if !ok {
		return nil, false
	}
	touched := union(changes.gained, changes.lost)
	out := make([]metav1.ManagedFieldsEntry, 0, len(entries)+1)
	mine, updaters := -1, 0
	for i := range entries {
		e := &entries[i]
		if !regular(e, entries[:i], w.APIVersion) {
			return nil, false
		}
		before, ok := parse(e.FieldsV1.Raw, s.root)
		if !ok {
			return nil, false
		}
		after, changed := without(before, touched)
		own := e.Operation == metav1.ManagedFieldsOperationUpdate && e.Manager == w.Manager && e.Subresource == w.Subresource
		if own {
			if gained := ownable(changes.gained); len(gained) > 0 {
				after, changed, mine = union(after, gained), true, len(out)
			}
		}
		if len(after) == 0 {
			continue
		}
		out = append(out, *e)
		if e.Operation == metav1.ManagedFieldsOperationUpdate {
			updaters++
		}
		if changed {
			out[len(out)-1].FieldsV1 = &metav1.FieldsV1{Raw: encode(after)}
		}
	}
	if mine < 0 {
		if gained := ownable(changes.gained); len(gained) > 0 {
			mine = len(out)
			updaters++
			out = append(out, metav1.ManagedFieldsEntry{
				Manager: w.Manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: w.APIVersion,
				Subresource: w.Subresource, FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: encode(gained)},
			})
		}
	}
	if updaters > maxUpdaters {
		return nil, false
	}
	if mine >= 0 {
		at := metav1.NewTime(w.At.UTC().Truncate(time.Second))
		out[mine].Time = &at
	}
	slices.SortFunc(out, order)
	if len(out) == 0 {
		return nil, true
	}
	return out, true
}

// regular says whether an entry is what a write of this version leaves, and the only one of its kind.
func regular(e *metav1.ManagedFieldsEntry, before []metav1.ManagedFieldsEntry, version string) bool {
	if e.APIVersion != version || e.FieldsType != "FieldsV1" || e.FieldsV1 == nil || e.Manager == "" ||
		e.Operation != metav1.ManagedFieldsOperationApply && e.Operation != metav1.ManagedFieldsOperationUpdate {
		return false
	}
	return !slices.ContainsFunc(before, func(o metav1.ManagedFieldsEntry) bool {
		return o.Manager == e.Manager && o.Operation == e.Operation && o.Subresource == e.Subresource
	})
}

// order is that of the entries in managedFields.
func order(a, b metav1.ManagedFieldsEntry) int {
	if c := strings.Compare(string(a.Operation), string(b.Operation)); c != 0 {
		return c
	}
	if c := seconds(a.Time) - seconds(b.Time); c != 0 {
		return int(min(max(c, -1), 1))
	}
	if c := strings.Compare(a.Manager, b.Manager); c != 0 {
		return c
	}
	return strings.Compare(a.Subresource, b.Subresource)
}

func seconds(t *metav1.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}

// ownable is what of a set a manager may own: not what the server sets, nor what identifies the object.
func ownable(s set) set {
	out := make(set, 0, len(s))
	for _, e := range s {
		switch e.name {
		case "f:apiVersion", "f:kind":
			e.member = false
		case "f:metadata":
			e.member = false
			below := make(set, 0, len(e.below))
			for _, m := range e.below {
				if unowned[m.name] {
					m.member = false
				}
				if m.member || len(m.below) > 0 {
					below = append(below, m)
				}
			}
			e.below = below
		}
		if e.member || len(e.below) > 0 {
			out = append(out, e)
		}
	}
	return out
}

var unowned = map[string]bool{
	"f:name": true, "f:namespace": true, "f:creationTimestamp": true, "f:selfLink": true, "f:uid": true,
	"f:clusterName": true, "f:generation": true, "f:managedFields": true, "f:resourceVersion": true,
}

// Same says whether two lists of entries are equal; a client that writes its own is the library's business.
func Same(a, b []metav1.ManagedFieldsEntry) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 || &a[0] == &b[0] {
		return true
	}
	return slices.EqualFunc(a, b, func(x, y metav1.ManagedFieldsEntry) bool {
		return x.Manager == y.Manager && x.Operation == y.Operation && x.APIVersion == y.APIVersion &&
			x.Subresource == y.Subresource && x.FieldsType == y.FieldsType && x.Time.Equal(y.Time) &&
			(x.FieldsV1 == y.FieldsV1 || x.FieldsV1 != nil && y.FieldsV1 != nil && bytes.Equal(x.FieldsV1.Raw, y.FieldsV1.Raw))
	})
}
