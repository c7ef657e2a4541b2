package api

import (
	"fmt"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Version serves a stored kind in another version of its group, such as autoscaling/v1 beside autoscaling/v2. There is
// one stored version of a kind; the others are pure functions of it, applied where objects come in and go out, so that
// nothing else of the server knows of them. T is the struct of this version, S that of the stored one.
//
// Everything but what stands here is that of the stored kind: names, scope, validation, columns, subresources.
type Version[T, S any] struct {
	// Of is the declaration of the stored kind.
	Of Kind[S]
	// Version is this one's name.
	Version string
	// Group is this one's group when it is another, as with Event, which Kubernetes serves in two.
	Group string
	// Fields are the selectable fields that this version has, by the names that the stored kind has for them; all of these,
	// under the same names, when nil.
	Fields map[string]string
	// Validate checks what is written in this version, in its stored form and beside the stored kind's own checks.
	Validate func(obj, old *S) field.ErrorList
	// Default fills what the user left out of this version, before ToStored.
	Default func(obj *T)
	// ToStored returns the stored form of obj, which it owns. It need not look at the type.
	ToStored func(obj *T) *S
	// FromStored returns a new object of this version. What it is given is shared: below the first level it may be
	// shared with, but must not be changed.
	FromStored func(stored *S) *T
}

// Former is a version of a kind in which objects may be stored, and which is not served: see [NewFormer].
type Former struct {
	apiVersion string
	new        func() Object
	read       func(Object) (Object, error)
}

// NewFormer declares that objects may be stored as T, in the version that apiVersion names with its group. read returns the
// stored kind, S, and owns what it is given.
func NewFormer[T, S any](apiVersion string, read func(*T) (*S, error)) Former {
	return Former{
		apiVersion: apiVersion,
		new:        func() Object { return any(new(T)).(Object) },
		read: func(o Object) (Object, error) {
			out, err := read(cast[T](o))
			if err != nil {
				return nil, err
			}
			return any(out).(Object), nil
		},
	}
}

// Resource erases the types of the declaration. [NewRegistry] joins it to the stored kind.
func (v Version[T, S]) Resource() *Resource {
	of := v.Of
	of.Version, of.Indexed = v.Version, nil
	if v.Group != "" {
		of.Group = v.Group
	}
	r := of.describe()
	r.storedGroup, r.storedFields = v.Of.Group, v.Fields
	if v.Validate != nil {
		r.ValidateStored = func(o, old Object) field.ErrorList { return v.Validate(cast[S](o), cast[S](old)) }
	}
	r.setType(any(new(T)).(Object))
	if v.Default != nil {
		r.Default = func(o Object) { v.Default(cast[T](o)) }
	}
	r.toStored = func(o Object) Object { return any(v.ToStored(cast[T](o))).(Object) }
	r.fromStored = func(o Object) Object { return any(v.FromStored(cast[S](o))).(Object) }
	v.Of.addColumns(r)
	if cells := r.Cells; cells != nil {
		r.Cells = func(o Object) []any { return cells(r.ToStored(o.DeepCopyObject().(Object))) }
	}
	return r
}

// Stored is the kind in the version that is stored: r itself, unless r is another version of it.
func (r *Resource) Stored() *Resource {
	if r.stored != nil {
		return r.stored
	}
	return r
}

// ToStored turns an object of this version, which it takes over, into the stored version. Objects of stored kinds are
// returned as they are.
func (r *Resource) ToStored(obj Object) Object {
	if r.toStored == nil {
		return obj
	}
	out := r.toStored(obj)
	r.Stored().SetType(out)
	return out
}

// FromStored shows a stored object, which is shared, in this version. Objects of stored kinds are returned as they are.
func (r *Resource) FromStored(stored Object) Object {
	if r.fromStored == nil {
		return stored
	}
	out := r.fromStored(stored)
	r.SetType(out)
	return out
}

// StoredFields turns a selector over this version's fields into one over those of the stored kind.
func (r *Resource) StoredFields(selector fields.Selector) (fields.Selector, error) {
	if r.storedFields == nil || selector == nil {
		return selector, nil
	}
	return selector.Transform(func(name, value string) (string, string, error) {
		if name == "metadata.name" || name == "metadata.namespace" {
			return name, value, nil
		}
		stored, ok := r.storedFields[name]
		if !ok {
			return "", "", fmt.Errorf("field label not supported: %s", name)
		}
		return stored, value, nil
	})
}
