package ownership

import (
	"reflect"
	"slices"
)

// listed is an item of a list by its name.
type listed struct {
	name string
	at   int
}

// list merges a list whose items are owned each on its own.
func (a *applying) list(n *node, j any, p val, d reflect.Value, there bool) applied {
	given, ok := j.([]any)
	if !ok || len(given) == 0 || len(given) != p.v.Len() {
		a.unsure = true
		return applied{}
	}
	right := a.names(n, p.v)
	for i, item := range given {
		a.unsure = a.unsure || !a.named(n, item, p.v.Index(i))
	}
	var left []listed
	if there {
		left = a.names(n, d)
	}
	// As a rule the same items are given as there are, in the same order.
	alike := slices.EqualFunc(left, right, func(l, r listed) bool { return l.name == r.name })
	if a.unsure || twice(left) || !alike && twice(right) {
		a.unsure = true
		return applied{}
	}
	var places map[string]int
	if !alike {
		places = find(left)
	}
	items := make([]struct {
		name string
		applied
	}, len(right))
	for i, r := range right {
		items[i].name = r.name
		var to reflect.Value
		at, has := i, alike
		if !alike {
			at, has = places[r.name]
		}
		if has {
			to = d.Index(at)
		}
		if n.form == keyed {
			items[i].applied = a.at(n.elem, given[i], p.v.Index(i), to, has, nil)
			items[i].member = true
		} else {
			items[i].applied = a.leaf(n.elem, given[i], p.v.Index(i), to, has)
		}
		if a.unsure {
			return applied{}
		}
	}
	if there && !alike {
		a.arrange(d, p.v, left, right)
	}
	slices.SortFunc(items, func(x, y struct {
		name string
		applied
	},
	) int {
		return compareNames(x.name, y.name)
	})
	var out applied
	for _, it := range items {
		out.add(it.name, it.applied)
	}
	return out
}

// names are those of a list's items.
func (a *applying) names(n *node, list reflect.Value) []listed {
	out := make([]listed, list.Len())
	for i := range out {
		out[i] = listed{a.nameOf(n, list.Index(i)), i}
	}
	return out
}

func (a *applying) nameOf(n *node, item reflect.Value) string {
	if n.form == keyed {
		return a.keyOf(n, item)
	}
	text, ok := renderScalar(item)
	if !ok {
		a.unsure = true
	}
	return "v:" + text
}

// named says whether an item was given the keys that the decoded one has.
func (a *applying) named(n *node, j any, item reflect.Value) bool {
	if n.form == values {
		return true
	}
	given, ok := j.(map[string]any)
	at := valueOf(item)
	if !ok || at.null {
		return false
	}
	for i := range n.keys {
		k := &n.keys[i]
		_, has := given[k.field.json]
		if has == k.field.of(at.v).absent || !has && k.fallback == "" {
			return false
		}
	}
	return true
}

// twice tells that some name stands there twice.
func twice(items []listed) bool {
	if len(items) > 8 {
		return len(find(items)) != len(items)
	}
	for i, it := range items {
		if slices.ContainsFunc(items[:i], func(other listed) bool { return other.name == it.name }) {
			return true
		}
	}
	return false
}

func find(items []listed) map[string]int {
	out := make(map[string]int, len(items))
	for _, it := range items {
		out[it.name] = it.at
	}
	return out
}

// arrange gives d, into whose items those of p have been merged, its new items, in the order in which the library puts them:
// what was given in its order, and what else there is where it was, before what it stood before.
func (a *applying) arrange(d, p reflect.Value, left, right []listed) {
	order := merged(left, right)
	kept := len(order) == len(left)
	for i := range order {
		kept = kept && order[i] == i
	}
	if kept {
		return
	}
	if a.spared {
		a.unsure = true
		return
	}
	a.differs = true
	out := reflect.MakeSlice(d.Type(), 0, len(order))
	for _, at := range order {
		if at < len(left) {
			out = reflect.Append(out, d.Index(at))
		} else {
			out = reflect.Append(out, p.Index(at-len(left)))
		}
	}
	d.Set(out)
}

// merged returns the order of two lists' items once they are merged: those of the left one, shared ones too, by their place, and
// those of the right one alone by theirs behind len(left).
func merged(left, right []listed) []int {
	inLeft, inRight := find(left), find(right)
	place := func(r int) int {
		if at, ok := inLeft[right[r].name]; ok {
			return at
		}
		return len(left) + r
	}
	// shared are the names in both, in the order of the right one, that have not been reached.
	shared := make([]string, 0, len(right))
	for _, r := range right {
		if _, ok := inLeft[r.name]; ok {
			shared = append(shared, r.name)
		}
	}
	pop := func() {
		if len(shared) > 0 {
			shared = shared[1:]
		}
	}
	out := make([]int, 0, len(left)+len(right))
	taken := make(map[string]bool, len(right))
	for l, r := 0, 0; l < len(left) || r < len(right); {
		if l < len(left) && r < len(right) {
			if left[l].name == right[r].name {
				taken[left[l].name] = true
				out = append(out, l)
				l, r = l+1, r+1
				pop()
				continue
			}
			if _, both := inRight[left[l].name]; both && len(shared) > 0 && shared[0] != left[l].name {
				l++ // shared, but not the one whose turn it is
				continue
			}
		}
		if l < len(left) {
			if _, both := inRight[left[l].name]; !both {
				out = append(out, l)
				l++
				continue
			}
			if taken[left[l].name] {
				l++
			}
		}
		if r < len(right) {
			taken[right[r].name] = true
			out = append(out, place(r))
			if len(shared) > 0 && shared[0] == right[r].name {
				pop()
			}
			r++
		}
	}
	return out
}
