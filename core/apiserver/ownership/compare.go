package ownership

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// changes are what a write has done below a point.
type changes struct {
	gained, lost set
}

// outcome is what it has done at a point and below.
type outcome struct {
	changes
	gain, lose bool
}

func (c *changes) add(name string, o outcome) {
	if o.gain || len(o.gained) > 0 {
		c.gained = c.gained.with(element{name, o.gain, o.gained}, few)
	}
	if o.lose || len(o.lost) > 0 {
		c.lost = c.lost.with(element{name, o.lose, o.lost}, few)
	}
}

func (o *outcome) empty() bool {
	return !o.gain && !o.lose && len(o.gained) == 0 && len(o.lost) == 0
}

// paths are fields by the names that lead to them. A nil one is a field with all that is below it.
type paths map[string]*paths

// pathsOf makes them of lists of names.
func pathsOf(lists [][]string) *paths {
	out := paths{}
	for _, path := range lists {
		at := out
		for i, name := range path {
			if i == len(path)-1 {
				at["f:"+name] = nil
				break
			}
			below := at["f:"+name]
			if below == nil {
				below = &paths{}
				at["f:"+name] = below
			}
			at = *below
		}
	}
	return &out
}

// at is what of p is below a field, and whether it is the whole field.
func (p *paths) at(name string) (below *paths, whole bool) {
	if p == nil {
		return nil, false
	}
	below, ok := (*p)[name]
	return below, ok && below == nil
}

func (s *Shape) compare(old, obj reflect.Value) (changes, bool) {
	var w walk
	out := w.object(s.root, valueOf(old), valueOf(obj), s.reset)
	return out.changes, !w.unsure
}

// walk compares two objects. Values that are one and the same in memory need no look, which is most of what a client
// in the same process leaves as it is.
type walk struct {
	unsure bool // something has to be left to the library
}

// at compares one field or item. At most one of the sides is absent.
func (w *walk) at(n *node, l, r val, reset *paths) outcome {
	switch n.form {
	case leaf:
		return w.leaf(l, r)
	case object:
		return w.object(n, l, r, reset)
	case dict, keyed, values:
		if length(l) == 0 && length(r) == 0 {
			return w.leaf(l, r)
		}
		if !l.absent && !r.absent && !l.null && !r.null && l.v.UnsafePointer() == r.v.UnsafePointer() && l.v.Len() == r.v.Len() {
			return outcome{}
		}
		var c changes
		switch n.form {
		case dict:
			c = w.dict(n, l, r)
		case keyed:
			c = w.keyed(n, l, r)
		default:
			c = w.values(l, r)
		}
		return outcome{c, l.absent, r.absent}
	default:
		if !l.absent && !r.absent && equal(l, r) {
			return outcome{}
		}
		w.unsure = true
		return outcome{}
	}
}

func (w *walk) leaf(l, r val) outcome {
	switch {
	case l.absent:
		return outcome{gain: true}
	case r.absent:
		return outcome{lose: true}
	default:
		return outcome{gain: !equal(l, r)}
	}
}

func length(v val) int {
	if v.absent || v.null {
		return 0
	}
	return v.v.Len()
}

func (w *walk) object(n *node, l, r val, reset *paths) outcome {
	hasL, hasR := !l.absent && !l.null, !r.absent && !r.null
	if hasL && hasR && l.v.CanAddr() && r.v.CanAddr() && l.v.Addr().UnsafePointer() == r.v.Addr().UnsafePointer() {
		return outcome{}
	}
	out := outcome{}
	any := false
	for i := range n.fields {
		f := &n.fields[i]
		fl, fr := nothing, nothing
		if hasL {
			fl = f.of(l.v)
		}
		if hasR {
			fr = f.of(r.v)
		}
		if fl.absent && fr.absent {
			continue
		}
		any = true
		below, whole := reset.at(f.name)
		if whole {
			continue
		}
		if o := w.at(f.node, fl, fr, below); !o.empty() {
			out.add(f.name, o)
		}
	}
	if !any {
		return w.leaf(l, r)
	}
	out.gain, out.lose = l.absent, r.absent
	return out
}

// texts are the values of a map as most maps are.
func texts(v val) (m map[string]string, ok bool) {
	if v.absent || v.null {
		return nil, true
	}
	if v.v.Type() == reflect.TypeFor[map[string]string]() && v.v.CanInterface() {
		m, ok = v.v.Interface().(map[string]string)
	}
	return m, ok
}

// texts compares two maps of texts.
func (w *walk) texts(l, r map[string]string) changes {
	var out changes
	names := make([]string, 0, len(l)+len(r))
	for name := range l {
		names = append(names, name)
	}
	for name := range r {
		if _, both := l[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		before, had := l[name]
		now, has := r[name]
		if had && has && before == now {
			continue
		}
		if !plain(name) {
			w.unsure = true
		}
		e := element{name: "f:" + name, member: true}
		if has {
			out.gained = out.gained.with(e, len(names))
		} else {
			out.lost = out.lost.with(e, len(names))
		}
	}
	return out
}

func (w *walk) dict(n *node, l, r val) changes {
	if n.elem.form == leaf {
		left, plainly := texts(l)
		right, too := texts(r)
		if plainly && too {
			return w.texts(left, right)
		}
	}
	var out changes
	names := make([]string, 0, length(l)+length(r))
	find := func(v val) map[string]reflect.Value {
		if length(v) == 0 {
			return nil
		}
		m := make(map[string]reflect.Value, v.v.Len())
		for iter := v.v.MapRange(); iter.Next(); {
			name := iter.Key().String()
			m[name] = iter.Value()
			names = append(names, name)
		}
		return m
	}
	left, right := find(l), find(r)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		vl, vr := nothing, nothing
		if v, ok := left[name]; ok {
			vl = valueOf(v)
		}
		if v, ok := right[name]; ok {
			vr = valueOf(v)
		}
		if o := w.at(n.elem, vl, vr, nil); !o.empty() {
			if !plain(name) {
				w.unsure = true
			}
			out.add("f:"+name, o)
		}
	}
	return out
}

// item is one of a list.
type item struct {
	name string
	l, r val
}

// pair puts the items of two lists that have the same name together, in order; w is unsure when a list holds
// a name twice, which it should not.
func (w *walk) pair(l, r val, name func(reflect.Value) string) []item {
	items := make([]item, 0, max(length(l), length(r)))
	for i := range length(l) {
		v := l.v.Index(i)
		items = append(items, item{name: name(v), l: valueOf(v), r: nothing})
	}
	for i := range length(r) {
		v := r.v.Index(i)
		called := name(v)
		if i < length(l) && items[i].name == called && items[i].r.absent {
			items[i].r = valueOf(v)
			continue
		}
		items = append(items, item{name: called, l: nothing, r: valueOf(v)})
	}
	slices.SortStableFunc(items, func(a, b item) int { return compareNames(a.name, b.name) })
	out := items[:0]
	for _, it := range items {
		last := len(out) - 1
		if last < 0 || out[last].name != it.name {
			out = append(out, it)
			continue
		}
		if out[last].r.absent && it.l.absent {
			out[last].r = it.r
		} else {
			w.unsure = true
		}
	}
	return out
}

func (w *walk) keyed(n *node, l, r val) changes {
	var out changes
	name := func(v reflect.Value) string { return w.keyOf(n, v) }
	for _, it := range w.pair(l, r, name) {
		if o := w.at(n.elem, it.l, it.r, nil); !o.empty() {
			out.add(it.name, o)
		}
	}
	return out
}

func (w *walk) keyOf(n *node, item reflect.Value) string {
	at := valueOf(item)
	if at.null {
		w.unsure = true
		return "k:{}"
	}
	var buf [96]byte
	b := append(buf[:0], "k:{"...)
	for i := range n.keys {
		k := &n.keys[i]
		text := k.fallback
		if v := k.field.of(at.v); !v.absent {
			var ok bool
			if text, ok = renderScalar(v.v); v.null || !ok {
				w.unsure = true
			}
		}
		if text == "" {
			continue // one that lacks the key is another item
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(append(b, k.prefix...), text...)
	}
	if b[len(b)-1] == '{' {
		w.unsure = true
	}
	return string(append(b, '}'))
}

func (w *walk) values(l, r val) changes {
	var out changes
	name := func(v reflect.Value) string {
		text, ok := renderScalar(v)
		if !ok {
			w.unsure = true
		}
		return "v:" + text
	}
	for _, it := range w.pair(l, r, name) {
		if o := w.leaf(it.l, it.r); !o.empty() {
			out.add(it.name, o)
		}
	}
	return out
}

// renderScalar writes a value as it stands in a name, false for one that is not plain.
func renderScalar(v reflect.Value) (string, bool) {
	if !v.IsValid() {
		return "", false
	}
	switch v.Kind() {
	case reflect.String:
		s := v.String()
		return `"` + s + `"`, plain(s)
	case reflect.Int, reflect.Int32, reflect.Int64:
		text := strconv.FormatInt(v.Int(), 10)
		return text, len(text) <= 15 && !strings.HasPrefix(text, "-")
	default:
		return "", false
	}
}
