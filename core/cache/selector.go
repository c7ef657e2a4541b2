package cache

import (
	"iter"
	"slices"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gantryio/gantry/core/api"
)

// Selector is a compiled pair of a label and a field selector over one kind.
type Selector struct {
	resource *api.Resource
	labels   labels.Selector
	fields   []fields.Requirement
}

// NewSelector compiles the selectors, each of which may be nil; it fails for fields that the kind does
// not have.
func NewSelector(r *api.Resource, byLabels labels.Selector, byFields fields.Selector) (Selector, error) {
	s := Selector{resource: r}
	if byLabels != nil && !byLabels.Empty() {
		s.labels = byLabels
	}
	if byFields != nil && !byFields.Empty() {
		if err := r.CheckFields(byFields); err != nil {
			return s, err
		}
		s.fields = byFields.Requirements()
	}
	return s, nil
}

// Empty tells that everything matches.
func (s *Selector) Empty() bool { return s.labels == nil && len(s.fields) == 0 }

// Matches tells whether the selectors let obj through.
func (s *Selector) Matches(obj api.Object) bool {
	for i := range s.fields {
		req := &s.fields[i]
		value, _ := s.resource.Field(obj, req.Field)
		if (value == req.Value) == (req.Operator == selection.NotEquals) {
			return false
		}
	}
	return s.labels == nil || s.labels.Matches(labels.Set(obj.GetLabels()))
}

// Scope is the narrowest scope with all that the selector lets through in a namespace, "" for all.
func (s *Selector) Scope(namespace string) Scope {
	out := Scope{Namespace: namespace}
	for _, req := range s.fields {
		switch {
		case req.Operator == selection.NotEquals:
		case req.Field == "metadata.name":
			out.Name = req.Value
		case slices.Contains(s.resource.Indexed, req.Field):
			out.Field, out.Value = req.Field, req.Value
		}
	}
	return out
}

// See turns a change into what it looks like through the selector: an object that begins to match is
// added, one that ceases to match is deleted, shown as it was last with the revision of the change.
func (s *Selector) See(ev *Event) (Event, bool) {
	out := *ev
	if s.Empty() {
		return out, true
	}
	before := ev.Prev != nil && s.Matches(ev.Prev.Object)
	now := ev.Type != watch.Deleted && s.Matches(ev.Entry.Object)
	switch {
	case ev.Type == watch.Deleted:
		return out, before
	case now && before:
	case now:
		out.Type, out.Prev = watch.Added, nil
	case before:
		last := s.resource.ShallowCopy(ev.Prev.Object)
		last.SetResourceVersion(formatRevision(ev.Entry.Revision))
		out.Type = watch.Deleted
		out.Entry = &Entry{Key: ev.Entry.Key, Revision: ev.Entry.Revision, Object: last}
	default:
		return out, false
	}
	return out, true
}

// Select walks what the selector lets through in a namespace ("" for all), in order of keys, after the
// given key ("" for the start).
func (s *Snapshot) Select(sel *Selector, namespace, after string) iter.Seq[*Entry] {
	scope := sel.Scope(namespace)
	if scope.Name != "" && (namespace != "" || !sel.resource.Namespaced) {
		return func(yield func(*Entry) bool) {
			e := s.Get(sel.resource.Key(namespace, scope.Name))
			if e != nil && e.Key > after && sel.Matches(e.Object) {
				yield(e)
			}
		}
	}
	return func(yield func(*Entry) bool) {
		for _, e := range s.From(namespace, after) {
			if sel.Matches(e.Object) && !yield(e) {
				return
			}
		}
	}
}
