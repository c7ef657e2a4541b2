package ownership

// set is a set of paths, level by level. The elements of a level are in the order of [compareNames], which is that of the
// encoded form. Sets are immutable and share what they have in common.
type set []element

// element is one name at a level: whether the path that ends here is a member, and those that go on.
type element struct {
	name   string // f:field, k:{"key":value} or v:value
	member bool
	below  set
}

// few is what most levels have room enough with.
const few = 4

// with is s, which is not used any more, and one more element; there are going to be about so many.
func (s set) with(e element, room int) set {
	if s == nil {
		s = make(set, 0, room)
	}
	return append(s, e)
}

func union(a, b set) set {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := make(set, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := compareNames(a[0].name, b[0].name); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, element{a[0].name, a[0].member || b[0].member, union(a[0].below, b[0].below)})
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// without returns the paths of s that are not in t, and whether that makes a difference. A path is not also
// those that it leads to.
func without(s, t set) (set, bool) {
	if len(s) == 0 || len(t) == 0 {
		return s, false
	}
	var out set // s as far as it has been looked at, from the first difference on
	changed := false
	for i, e := range s {
		for len(t) > 0 && t[0].name != e.name && compareNames(t[0].name, e.name) < 0 {
			t = t[1:]
		}
		if len(t) == 0 {
			if changed {
				return append(out, s[i:]...), true
			}
			return s, false
		}
		now := e
		if t[0].name == e.name {
			less, fewer := without(e.below, t[0].below)
			now.below = less
			now.member = e.member && !t[0].member
			if (fewer || now.member != e.member) && !changed {
				changed = true
				out = append(make(set, 0, len(s)), s[:i]...)
			}
		}
		if changed && (now.member || len(now.below) > 0) {
			out = append(out, now)
		}
	}
	if changed {
		return out, true
	}
	return s, false
}
