package ownership

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// form is how the parts of a value are owned.
type form uint8

const (
	leaf    form = iota // as a whole
	object              // a struct: each field on its own
	dict                // a map: each key on its own
	keyed               // a list: each item on its own, found by some of its fields
	values              // a list: each item on its own, found by its value
	unknown             // the library must say
)

// node is the shape of a Go type that is not a pointer.
type node struct {
	form   form
	atomic bool // a leaf that has parts
	lists  bool // a leaf that has lists in it whose items must not stand there twice
	fields []nodeField
	byName map[string]*node // of the fields
	elem   *node
	keys   []key
}

type nodeField struct {
	*field
	name string // as an element of a set
	node *node
}

// key is one of the fields by which an item is found.
type key struct {
	field    *field
	prefix   string // "name":
	fallback string // rendered, if the field has a default
}

// child is the shape of what an element of a set leads to, nil when the shape knows nothing of it.
func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	if n.form == object {
		return n.byName[name]
	}
	return n.elem
}

type planKey struct {
	t   reflect.Type
	ref string
}

type planner struct {
	schema *schema.Schema
	made   map[planKey]*node
}

func (p *planner) plan(t reflect.Type, ref schema.TypeRef) *node {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	id := planKey{t, refName(ref)}
	if have, ok := p.made[id]; ok {
		return have
	}
	n := &node{}
	p.made[id] = n // before its parts, which may lead back to it
	if atom, ok := p.schema.Resolve(ref); ok {
		p.fill(n, t, atom)
	} else {
		n.form = unknown
	}
	return n
}

func refName(ref schema.TypeRef) string {
	relation := ""
	if ref.ElementRelationship != nil {
		relation = string(*ref.ElementRelationship)
	}
	if ref.NamedType != nil {
		return *ref.NamedType + " " + relation
	}
	return fmt.Sprintf("%p %p %p %s", ref.Inlined.Scalar, ref.Inlined.List, ref.Inlined.Map, relation)
}

func (p *planner) fill(n *node, t reflect.Type, atom schema.Atom) {
	atomicMap := atom.Map != nil && atom.Map.ElementRelationship == schema.Atomic
	atomicList := atom.List != nil && atom.List.ElementRelationship == schema.Atomic
	n.form = unknown
	switch {
	case value.TypeReflectEntryOf(t).CanConvertToUnstructured():
		if (atom.Map == nil || atomicMap) && (atom.List == nil || atomicList) {
			n.form, n.atomic = leaf, atomicMap || atomicList
			n.lists = n.atomic && p.associative(atom, map[string]bool{})
		}
	case t.Kind() == reflect.Struct && atomicMap, t.Kind() == reflect.Map && atomicMap, isList(t) && atomicList:
		n.form, n.atomic = leaf, true
		n.lists = p.associative(atom, map[string]bool{})
	case t.Kind() == reflect.Struct && atom.Map != nil:
		p.object(n, t, atom.Map)
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String && atom.Map != nil && len(atom.Map.Fields) == 0:
		n.form, n.elem = dict, p.plan(t.Elem(), atom.Map.ElementType)
	case isList(t) && atom.List != nil && atom.List.ElementRelationship == schema.Associative:
		p.list(n, t, atom.List)
	case isScalar(t) && atom.Scalar != nil:
		n.form = leaf
	}
}

// associative tells that there is a list with names for its items anywhere in what has this schema; seen are the types that have been
// looked at.
func (p *planner) associative(atom schema.Atom, seen map[string]bool) bool {
	in := func(ref schema.TypeRef) bool {
		name := refName(ref)
		below, ok := p.schema.Resolve(ref)
		if seen[name] || !ok {
			return false
		}
		seen[name] = true
		return p.associative(below, seen)
	}
	if atom.List != nil && (atom.List.ElementRelationship == schema.Associative || in(atom.List.ElementType)) {
		return true
	}
	return atom.Map != nil && (in(atom.Map.ElementType) || slices.ContainsFunc(atom.Map.Fields, func(f schema.StructField) bool { return in(f.Type) }))
}

func isList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8
}

func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Float64:
		return true
	}
	return t.Kind() == reflect.Slice // of bytes
}

func (p *planner) object(n *node, t reflect.Type, m *schema.Map) {
	fields, ok := fieldsOf(t)
	if !ok {
		return
	}
	n.form, n.byName = object, make(map[string]*node, len(fields))
	for i := range fields {
		f := &fields[i]
		ref := m.ElementType
		if sf, ok := m.FindField(f.json); ok {
			ref = sf.Type
		}
		nf := nodeField{field: f, name: "f:" + f.json, node: p.plan(f.typ, ref)}
		n.fields = append(n.fields, nf)
		n.byName[nf.name] = nf.node
	}
}

func (p *planner) list(n *node, t reflect.Type, l *schema.List) {
	n.elem = p.plan(t.Elem(), l.ElementType)
	if len(l.Keys) == 0 {
		if n.elem.form == leaf && !n.elem.atomic {
			n.form = values
		}
		return
	}
	item, ok := p.schema.Resolve(l.ElementType)
	if !ok || item.Map == nil || t.Elem().Kind() != reflect.Struct || n.elem.form != object && n.elem.form != leaf {
		return
	}
	fields, ok := fieldsOf(t.Elem())
	if !ok {
		return
	}
	for _, name := range l.Keys {
		i := slices.IndexFunc(fields, func(f field) bool { return f.json == name })
		if i < 0 {
			return
		}
		k := key{field: &fields[i], prefix: `"` + name + `":`}
		if sf, _ := item.Map.FindField(name); sf.Default != nil {
			text, ok := renderScalar(reflect.ValueOf(sf.Default))
			if !ok {
				return
			}
			k.fallback = text
		}
		n.keys = append(n.keys, k)
	}
	slices.SortFunc(n.keys, func(a, b key) int { return cmp.Compare(a.field.json, b.field.json) })
	n.form = keyed
}

// field is a field of a struct as JSON has it, those of embedded structs included.
type field struct {
	json      string
	typ       reflect.Type
	index     []int
	omitEmpty bool
	entry     *value.FieldCacheEntry // says whether to leave it out by omitzero, nil otherwise
}

// val is a value, or its absence, which is not the same as null.
type val struct {
	v      reflect.Value
	absent bool
	null   bool
}

var nothing = val{absent: true}

// of returns the field of a struct.
func (f *field) of(s reflect.Value) val {
	var v reflect.Value
	if len(f.index) == 1 {
		v = s.Field(f.index[0])
	} else {
		v = s.FieldByIndex(f.index)
	}
	if f.entry != nil && f.entry.CanOmit(v) {
		return nothing
	}
	if f.omitEmpty {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if v.IsNil() {
				return nothing
			}
		case reflect.Map, reflect.Slice, reflect.String:
			if v.Len() == 0 {
				return nothing
			}
		case reflect.Struct:
		default:
			if v.IsZero() {
				return nothing
			}
		}
	}
	return valueOf(v)
}

// valueOf follows a pointer.
func valueOf(v reflect.Value) val {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return val{null: true}
		}
		return valueOf(v.Elem())
	case reflect.Map, reflect.Slice, reflect.Interface:
		return val{v: v, null: v.IsNil()}
	}
	return val{v: v}
}

var layouts sync.Map // reflect.Type → []field

// fieldsOf are the fields of a struct by name, false when one is embedded in a way that is not foreseen.
func fieldsOf(t reflect.Type) ([]field, bool) {
	if have, ok := layouts.Load(t); ok {
		return have.([]field), true
	}
	byName := map[string]field{}
	if !collect(t, nil, byName) {
		return nil, false
	}
	entries := value.TypeReflectEntryOf(t).Fields()
	out := make([]field, 0, len(byName))
	for name, f := range byName {
		if entries[name] == nil {
			return nil, false
		}
		if f.entry != nil {
			f.entry = entries[name]
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b field) int { return strings.Compare(a.json, b.json) })
	layouts.Store(t, out)
	return out, true
}

func collect(t reflect.Type, index []int, out map[string]field) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		at := append(slices.Clone(index), i)
		if f.Anonymous && name == "" {
			if f.Type.Kind() != reflect.Struct || !collect(f.Type, at, out) {
				return false
			}
			continue
		}
		made := field{json: cmp.Or(name, f.Name), typ: f.Type, index: at}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "omitempty":
				made.omitEmpty = true
			case "omitzero":
				made.entry = &value.FieldCacheEntry{}
			}
		}
		out[made.json] = made
	}
	return true
}
