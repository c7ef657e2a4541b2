package ownership

import (
	"reflect"
	"slices"
)

// pruning takes out of an object what its applier no longer gives and nobody else owns.
type pruning struct {
	walk
	removed bool // the object is no longer what it was
}

// prune removes gone, paths that only the applier has owned, from a struct of the shape; kept is all that is owned by anybody from now
// on. A field below which nothing is owned any more goes as a whole, with what nobody has ever owned in it. It returns false where the
// library has to say: it leaves null where the last part of something goes whose name is still owned.
func (s *Shape) prune(obj reflect.Value, gone, kept set) (removed, ok bool) {
	var p pruning
	p.object(s.root, obj, gone, kept)
	return p.removed, !p.unsure
}

// find returns what a level says of a name.
func (s set) find(name string) (element, bool) {
	i, ok := slices.BinarySearchFunc(s, name, func(e element, name string) int { return compareNames(e.name, name) })
	if !ok {
		return element{}, false
	}
	return s[i], true
}

// object returns how many fields it has removed as a whole.
func (p *pruning) object(n *node, v reflect.Value, gone, kept set) (fields int) {
	for _, e := range gone {
		i := slices.IndexFunc(n.fields, func(f nodeField) bool { return f.name == e.name })
		if i < 0 {
			p.unsure = true
			return fields
		}
		f := &n.fields[i]
		at := f.of(v)
		if at.absent {
			continue
		}
		owned, some := kept.find(e.name)
		if !some {
			f.place(v).SetZero()
			p.removed = true
			fields++
			continue
		}
		if e.member || at.null {
			p.unsure = true
			return fields
		}
		if p.below(f.node, f.place(v), at.v, e.below, owned.below); p.unsure {
			return fields
		}
	}
	return fields
}

// below removes parts of the value v, which stands at place and stays.
func (p *pruning) below(n *node, place, v reflect.Value, gone, kept set) {
	switch n.form {
	case object:
		has := 0 // fields that always stand there have to be counted before
		for i := range n.fields {
			if !n.fields[i].of(v).absent {
				has++
			}
		}
		removed := p.object(n, v, gone, kept)
		p.unsure = p.unsure || removed == has
	case dict:
		p.dict(n, v, gone, kept)
	case keyed, values:
		p.list(n, place, v, gone, kept)
	default:
		p.unsure = true
	}
}

func (p *pruning) dict(n *node, v reflect.Value, gone, kept set) {
	for _, e := range gone {
		if _, some := kept.find(e.name); some || !e.member || len(e.below) > 0 || n.elem.form != leaf {
			p.unsure = true
			return
		}
		key := reflect.ValueOf(e.name[len("f:"):]).Convert(v.Type().Key())
		if v.MapIndex(key).IsValid() {
			v.SetMapIndex(key, reflect.Value{})
			p.removed = true
		}
	}
	p.unsure = p.unsure || v.Len() == 0
}

func (p *pruning) list(n *node, place, v reflect.Value, gone, kept set) {
	a := applying{}
	names := a.names(n, v)
	if p.unsure = a.unsure || place.Kind() != reflect.Slice || len(find(names)) != len(names); p.unsure {
		return
	}
	drop := make([]bool, len(names))
	left := len(names)
	for _, e := range gone {
		i := slices.IndexFunc(names, func(l listed) bool { return l.name == e.name })
		if i < 0 {
			continue
		}
		owned, some := kept.find(e.name)
		switch {
		case e.member && !some:
			drop[i] = true
			left--
		case e.member || n.form != keyed || n.elem.form != object || n.identified(e.below):
			p.unsure = true
			return
		default:
			if p.object(n.elem, valueOf(v.Index(i)).v, e.below, owned.below); p.unsure {
				return
			}
		}
	}
	if left == len(names) {
		return
	}
	p.removed = true
	if p.unsure = left == 0; p.unsure {
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, left)
	for i := range names {
		if !drop[i] {
			out = reflect.Append(out, v.Index(i))
		}
	}
	place.Set(out)
}

// identified tells that a set of fields of an item has some by which it is found.
func (n *node) identified(s set) bool {
	return slices.ContainsFunc(n.keys, func(k key) bool {
		_, ok := s.find("f:" + k.field.json)
		return ok
	})
}
