package api

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
	// Default fills what the user left out of this version, before ToStored.
	Default func(obj *T)
	// ToStored returns the stored form of obj, which it owns. It need not look at the type.
	ToStored func(obj *T) *S
	// FromStored returns a new object of this version. What it is given is shared: below the first level it may be
	// shared with, but must not be changed.
	FromStored func(stored *S) *T
}

// Resource erases the types of the declaration. [NewRegistry] joins it to the stored kind.
func (v Version[T, S]) Resource() *Resource {
	of := v.Of
	of.Version, of.Indexed = v.Version, nil
	r := of.describe()
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
