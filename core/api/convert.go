package api

import "context"

// InVersion returns stored objects, which are shared, in this version. Without a converter it cannot fail.
func (r *Resource) InVersion(ctx context.Context, objs []Object) ([]Object, error) {
	out := make([]Object, len(objs))
	if r.Convert == nil {
		for i, obj := range objs {
			out[i] = r.FromStored(obj)
		}
		return out, nil
	}
	var others []Object
	var at []int
	for i, obj := range objs {
		if out[i] = obj; obj.GetObjectKind().GroupVersionKind() != r.GroupVersionKind() {
			others, at = append(others, obj), append(at, i)
		}
	}
	if len(others) == 0 {
		return out, nil
	}
	converted, err := r.Convert(ctx, others, r.GroupVersionKind().GroupVersion())
	if err != nil {
		return nil, err
	}
	for i, obj := range converted {
		if r.Prune != nil {
			r.Prune(obj)
		}
		out[at[i]] = obj
	}
	return out, nil
}

// ForStore returns an object of this version, which it takes over, in the stored version.
func (r *Resource) ForStore(ctx context.Context, obj Object) (Object, error) {
	if r.Convert == nil {
		return r.ToStored(obj), nil
	}
	out, err := r.Stored().InVersion(ctx, []Object{obj})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}
