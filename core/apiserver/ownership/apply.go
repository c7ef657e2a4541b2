package ownership

import (
	"bytes"
	"reflect"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Apply is a server-side apply. It merges patch into obj, both pointers to structs of the shape's type, and returns obj's new
// managedFields. given is what the client sent and patch was decoded from, as JSON has it, for a Go object does not tell
// which fields were given; entries are those of obj as it was. obj and patch must be the caller's alone; afterwards obj has parts of
// patch.
//
// It returns false when the library has to be asked: where there is a conflict, which the library puts into words; where an object has no
// entries yet; where the last part of something is to be removed; and where something is given
// that the Go object does not keep as it stands (null, an empty list, a zero that is left out, a quantity that is not in its
// canonical form), so that the library would find it changed with every apply. obj is then of no use any more.
func (s *Shape) Apply(obj, patch any, given map[string]any, entries []metav1.ManagedFieldsEntry, w Write, force bool) ([]metav1.ManagedFieldsEntry, bool) {
	return s.apply(obj, patch, given, entries, w, force, nil)
}

// ApplyToMetadata is Apply for an obj of which only the metadata is the caller's alone: what else it has is read. It returns false, too, when
// anything else would be changed. patch can be used once more then.
func (s *Shape) ApplyToMetadata(obj, patch any, given map[string]any, entries []metav1.ManagedFieldsEntry, w Write, force bool) ([]metav1.ManagedFieldsEntry, bool) {
	return s.apply(obj, patch, given, entries, w, force, s.root)
}

// apply changes nothing but the metadata in a struct of the node spare.
func (s *Shape) apply(obj, patch any, given map[string]any, entries []metav1.ManagedFieldsEntry, w Write, force bool, spare *node) ([]metav1.ManagedFieldsEntry, bool) {
	if len(entries) == 0 && !w.Creates {
		return nil, false
	}
	a := applying{fresh: len(entries) == 0, spare: spare}
	to, from := reflect.ValueOf(obj).Elem(), reflect.ValueOf(patch).Elem()
	applied := a.object(s.root, given, from, to, true, s.reset)
	if a.unsure {
		return nil, false
	}
	mine := written{set: ownable(applied.own)}
	if len(mine.set) > 0 {
		mine.raw = encode(mine.set)
	}
	others, last, ok := s.parted(entries, w, mine)
	if !ok || last.unmarked() {
		return nil, false
	}
	gone, _ := without(last, applied.own)
	kept := applied.own
	out := make([]metav1.ManagedFieldsEntry, 0, len(entries)+1)
	for _, o := range others {
		after, changed := without(o.owned, applied.gained)
		if changed && !force {
			return nil, false
		}
		gone, _ = without(gone, o.owned)
		if len(last) > 0 {
			kept = union(kept, o.owned)
		}
		if len(after) == 0 {
			continue
		}
		out = append(out, *o.entry)
		if changed {
			out[len(out)-1].FieldsV1 = &metav1.FieldsV1{Raw: encode(after)}
		}
	}
	if len(gone) > 0 {
		if spare != nil && (len(gone) > 1 || gone[0].name != metadata) {
			return nil, false
		}
		removed, ok := s.prune(to, gone, kept)
		if !ok {
			return nil, false
		}
		a.differs = a.differs || removed
	}
	if len(mine.set) > 0 {
		out = append(out, entryOf(entries, w, mine.raw, a.differs))
	}
	if len(out) == 0 {
		return nil, true
	}
	slices.SortFunc(out, order)
	return out, true
}

// owner is an entry and what it says.
type owner struct {
	entry *metav1.ManagedFieldsEntry
	owned set
}

// written is a set and its encoding.
type written struct {
	set set
	raw []byte
}

// parted parses the entries, and parts what the writer has applied last from the others. As a rule that is what it applies now.
func (s *Shape) parted(entries []metav1.ManagedFieldsEntry, w Write, now written) (others []owner, last set, ok bool) {
	for i := range entries {
		e := &entries[i]
		if !regular(e, entries[:i], w.APIVersion) {
			return nil, nil, false
		}
		own := w.applied(e)
		if own && bytes.Equal(e.FieldsV1.Raw, now.raw) {
			last = now.set
			continue
		}
		owned, ok := parse(e.FieldsV1.Raw, s.root)
		switch {
		case !ok:
			return nil, nil, false
		case own:
			last = owned
		default:
			others = append(others, owner{e, owned})
		}
	}
	return others, last, true
}

// applied tells the entry of what the writer has applied before.
func (w *Write) applied(e *metav1.ManagedFieldsEntry) bool {
	return e.Operation == metav1.ManagedFieldsOperationApply && e.Manager == w.Manager && e.Subresource == w.Subresource
}

// entryOf is the entry of what has been applied. An apply that changed nothing keeps its time.
func entryOf(entries []metav1.ManagedFieldsEntry, w Write, own []byte, differs bool) metav1.ManagedFieldsEntry {
	e := metav1.ManagedFieldsEntry{
		Manager: w.Manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: w.APIVersion,
		Subresource: w.Subresource, FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: own},
	}
	if i := slices.IndexFunc(entries, func(e metav1.ManagedFieldsEntry) bool { return w.applied(&e) }); i >= 0 {
		e.Time = entries[i].Time
		if bytes.Equal(entries[i].FieldsV1.Raw, own) {
			e.FieldsV1 = entries[i].FieldsV1
		}
	}
	if differs {
		at := metav1.NewTime(w.At.UTC().Truncate(time.Second))
		e.Time = &at
	}
	return e
}

// unmarked tells a set that has something below an item of a list but not the item, which no apply leaves.
func (s set) unmarked() bool {
	return slices.ContainsFunc(s, func(e element) bool {
		return e.name[0] != 'f' && !e.member || e.below.unmarked()
	})
}

// applied is what an apply does at a point and below: what is given and so owned, and what it gains.
type applied struct {
	own    set
	gained set
	// member says that the point itself is owned, gain that it is gained.
	member, gain bool
}

func (a *applied) add(name string, below applied) {
	if below.member || len(below.own) > 0 {
		a.own = a.own.with(element{name, below.member, below.own}, few)
	}
	if below.gain || len(below.gained) > 0 {
		a.gained = append(a.gained, element{name, below.gain, below.gained})
	}
}

// applying merges what is given into an object. Of what stands opposite each other, j is what was given, p what was decoded from
// it and d the place in the object; there says whether d has a value.
type applying struct {
	walk
	fresh   bool  // nobody owns anything of the object
	spare   *node // what has this form is the object, of which only the metadata may be changed; nil when all of it may
	spared  bool  // what is being merged may not be changed
	differs bool  // the object is no longer what it was
}

// at merges one field, item or value of a map. p and d are of one type, which may be a pointer.
func (a *applying) at(n *node, j any, p, d reflect.Value, there bool, reset *paths) applied {
	pv := valueOf(p)
	if there && n.form != leaf && valueOf(d).null {
		// As a rule what is null and what is not there differ in who gains what, but not where there is nobody to gain from.
		there = false
		a.unsure = a.unsure || !a.fresh
	}
	if a.unsure || j == nil || pv.null {
		a.unsure = true
		return applied{}
	}
	var out applied
	switch n.form {
	case object:
		below, ok := j.(map[string]any)
		if !ok {
			a.unsure = true
			return applied{}
		}
		if there {
			d = valueOf(d).v
		}
		out = a.object(n, below, pv.v, d, there, reset)
		out.member = len(below) == 0
	case dict:
		out = a.dict(n, j, pv, d, there)
	case keyed, values:
		out = a.list(n, j, pv, d, there)
	case leaf:
		return a.leaf(n, j, p, d, there)
	default:
		a.unsure = true
	}
	if out.gain = !there; out.gain {
		a.set(d, p)
	}
	return out
}

const metadata = "f:metadata"

// set puts a value into the object. What is to lie in a value that is new as a whole is there already.
func (a *applying) set(d, p reflect.Value) {
	if a.spared {
		a.unsure = true
		return
	}
	a.differs = true
	if d.IsValid() {
		d.Set(p)
	}
}

func (a *applying) leaf(n *node, j any, p, d reflect.Value, there bool) applied {
	if !same(j, valueOf(p)) || n.lists && !distinct(j, true) {
		a.unsure = true
		return applied{}
	}
	out := applied{member: true, gain: !there || !same(j, valueOf(d))}
	if out.gain {
		a.set(d, p)
	}
	return out
}

func (a *applying) object(n *node, j map[string]any, p, d reflect.Value, there bool, reset *paths) applied {
	var out applied
	seen := 0
	for i := range n.fields {
		f := &n.fields[i]
		given, ok := j[f.json]
		if !ok {
			continue
		}
		if seen++; f.of(p).absent {
			a.unsure = true
			return applied{}
		}
		to, has := reflect.Value{}, false
		if there {
			to, has = f.place(d), !f.of(d).absent
		}
		if n == a.spare {
			a.spared = f.name != metadata
		}
		below, whole := reset.at(f.name)
		if did := a.at(f.node, given, f.place(p), to, has, below); !whole {
			out.add(f.name, did)
		}
		if a.unsure || seen == len(j) {
			break
		}
	}
	if seen != len(j) {
		a.unsure = true
	}
	return out
}

// place is the field as it stands in the struct.
func (f *field) place(s reflect.Value) reflect.Value {
	if len(f.index) == 1 {
		return s.Field(f.index[0])
	}
	return s.FieldByIndex(f.index)
}

func (a *applying) dict(n *node, j any, p val, d reflect.Value, there bool) applied {
	given, ok := j.(map[string]any)
	if !ok || len(given) == 0 || len(given) != p.v.Len() {
		a.unsure = true
		return applied{}
	}
	names := make([]string, 0, len(given))
	for name := range given {
		names = append(names, name)
	}
	slices.Sort(names)
	var out applied
	for _, name := range names {
		key := reflect.ValueOf(name).Convert(p.v.Type().Key())
		value := p.v.MapIndex(key)
		if !value.IsValid() || !plain(name) {
			a.unsure = true
			return applied{}
		}
		// Values of a map cannot be set; a copy can, which shares what is below with the one that it replaces.
		var to reflect.Value
		has := false
		if there {
			to = reflect.New(value.Type()).Elem()
			if old := d.MapIndex(key); old.IsValid() {
				to.Set(old)
				has = true
			}
		}
		did := a.at(n.elem, given[name], value, to, has, nil)
		if a.unsure {
			return applied{}
		}
		if there && (did.gain || len(did.gained) > 0) {
			d.SetMapIndex(key, to)
		}
		did.member = true // as what is no field of the schema
		out.add("f:"+name, did)
	}
	return out
}
