package cache

import (
	"bytes"
	"maps"
	"reflect"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// share makes obj use the memory of like wherever both are equal, and that of other where it equals only that one: pods of one
// ReplicaSet differ in a name and an address, and a version of an object mostly in its status from the one before. All are pointers
// to structs of one type, other may be nil; like and other are not changed, and obj only in where its values lie. What obj has apart
// from like must be its own alone.
func share(obj, like, other any) {
	o, l := reflect.ValueOf(obj), reflect.ValueOf(like)
	if o.Type() != l.Type() || o.Pointer() == l.Pointer() {
		return
	}
	var also reflect.Value
	if v := reflect.ValueOf(other); v.IsValid() && v.Type() == o.Type() && v.Pointer() != o.Pointer() {
		also = v.Elem()
	}
	sharerOf(o.Type().Elem())(o.Elem(), models{l.Elem(), also})
}

// models are two values to be like, of which any may be missing.
type models [2]reflect.Value

// equals tells which of the models a value equals, all of it: as their encodings are, in which an empty list is not the same as none.
type equals [2]bool

// each compares with the models that there are.
func (m models) each(equal func(s reflect.Value) bool) equals {
	return equals{m[0].IsValid() && equal(m[0]), m[1].IsValid() && equal(m[1])}
}

// elem are what the models point to, as far as they do.
func (m models) elem() models {
	for i, s := range m {
		if s.IsValid() {
			m[i] = s.Elem()
		}
	}
	return m
}

// first is the first model that a value equals.
func (m models) first(e equals) (s reflect.Value, ok bool) {
	for i := range m {
		if e[i] {
			return m[i], true
		}
	}
	return reflect.Value{}, false
}

// sharer makes the settable value d use the memory of the models as far as they are equal.
type sharer func(d reflect.Value, m models) equals

var sharers sync.Map // reflect.Type → sharer

func sharerOf(t reflect.Type) sharer {
	if have, ok := sharers.Load(t); ok {
		return have.(sharer)
	}
	made := sharing{}.of(t)
	sharers.Store(t, made)
	return made
}

// sharing makes the sharers of a type and all that is in it, which may be the type itself.
type sharing map[reflect.Type]*sharer

func (p sharing) of(t reflect.Type) sharer {
	if have := p[t]; have != nil {
		return func(d reflect.Value, m models) equals { return (*have)(d, m) }
	}
	f := new(sharer)
	p[t] = f
	*f = p.make(t)
	return *f
}

func (p sharing) make(t reflect.Type) sharer {
	switch t {
	case reflect.TypeFor[metav1.Time]():
		return comparing(identical[metav1.Time])
	case reflect.TypeFor[metav1.MicroTime]():
		return comparing(identical[metav1.MicroTime])
	case reflect.TypeFor[resource.Quantity]():
		return comparing(identical[resource.Quantity])
	}
	switch t.Kind() {
	case reflect.Bool:
		return comparing(func(d, s reflect.Value) bool { return d.Bool() == s.Bool() })
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return comparing(func(d, s reflect.Value) bool { return d.Int() == s.Int() })
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return comparing(func(d, s reflect.Value) bool { return d.Uint() == s.Uint() })
	case reflect.String:
		return shareString
	case reflect.Pointer:
		return p.pointer(t)
	case reflect.Slice:
		return p.slice(t)
	case reflect.Map:
		return shareMap
	case reflect.Struct:
		return p.structure(t)
	default: // floats may be no numbers, and interfaces anything
		return comparing(func(d, s reflect.Value) bool { return d.IsZero() && s.IsZero() })
	}
}

// comparing is for values that refer to no memory.
func comparing(equal func(d, s reflect.Value) bool) sharer {
	return func(d reflect.Value, m models) equals {
		return equals{m[0].IsValid() && equal(d, m[0]), m[1].IsValid() && equal(d, m[1])}
	}
}

// identical compares values whose fields are their own affair.
func identical[T comparable](d, s reflect.Value) bool {
	return *d.Addr().Interface().(*T) == *s.Addr().Interface().(*T)
}

func shareString(d reflect.Value, m models) equals {
	text := d.String()
	var same equals
	for i := len(m) - 1; i >= 0; i-- { // the first has the last word
		if !m[i].IsValid() {
			continue
		}
		if there := m[i].String(); there == text {
			same[i] = true
			if text != "" {
				d.SetString(there)
			}
		}
	}
	return same
}

// lies tells which of the models lie where d does. What lies there is not obj's alone.
func (m models) lies(d reflect.Value) (equals, bool) {
	same := m.each(func(s reflect.Value) bool { return !s.IsNil() && s.Pointer() == d.Pointer() })
	return same, same != equals{}
}

func (p sharing) pointer(t reflect.Type) sharer {
	below := p.of(t.Elem())
	return func(d reflect.Value, m models) equals {
		if d.IsNil() {
			return m.each(reflect.Value.IsNil)
		}
		if same, ok := m.lies(d); ok {
			return same
		}
		same := below(d.Elem(), m.elem())
		if s, ok := m.first(same); ok {
			d.Set(s)
		}
		return same
	}
}

func (p sharing) slice(t reflect.Type) sharer {
	below, raw := p.of(t.Elem()), t.Elem().Kind() == reflect.Uint8
	return func(d reflect.Value, m models) equals {
		if d.IsNil() {
			return m.each(reflect.Value.IsNil)
		}
		n := d.Len()
		if same, ok := m.lies(d); ok {
			for i := range same {
				same[i] = same[i] && m[i].Len() == n
			}
			return same
		}
		same := m.each(func(s reflect.Value) bool {
			return !s.IsNil() && s.Len() == n && (!raw || bytes.Equal(d.Bytes(), s.Bytes()))
		})
		for i := 0; i < n && !raw; i++ {
			var part models
			for j, s := range m {
				if s.IsValid() && i < s.Len() {
					part[j] = s.Index(i)
				}
			}
			if !part[0].IsValid() && !part[1].IsValid() {
				break // and then the lengths differ
			}
			same = same.and(below(d.Index(i), part))
		}
		if s, ok := m.first(same); ok {
			d.Set(s.Slice3(0, n, n)) // nobody may append to what is shared
		} else {
			fit(d)
		}
		return same
	}
}

func (e equals) and(other equals) equals { return equals{e[0] && other[0], e[1] && other[1]} }

// fit gives a list that was decoded, and grew in doing so, no more room than it needs.
func fit(d reflect.Value) {
	n := d.Len()
	if uintptr(d.Cap()-n)*d.Type().Elem().Size() < worthFitting {
		return
	}
	fitting := reflect.MakeSlice(d.Type(), n, n)
	reflect.Copy(fitting, d)
	d.Set(fitting)
}

const worthFitting = 96 // bytes

// shareMap is for the maps that most objects have; others are left as they are.
func shareMap(d reflect.Value, m models) equals {
	same := m.each(func(s reflect.Value) bool {
		if d.Len() == 0 || s.Len() == 0 || d.Pointer() == s.Pointer() {
			return d.IsNil() == s.IsNil() && d.Len() == s.Len()
		}
		return sameMap(d.Interface(), s.Interface())
	})
	if s, ok := m.first(same); ok && d.Len() > 0 {
		d.Set(s)
	}
	return same
}

func sameMap(a, b any) bool {
	switch a := a.(type) {
	case map[string]string:
		return maps.Equal(a, b.(map[string]string))
	case corev1.ResourceList:
		return maps.Equal(a, b.(corev1.ResourceList))
	}
	return false
}

func (p sharing) structure(t reflect.Type) sharer {
	var fields []sharer
	for i := range t.NumField() {
		if !t.Field(i).IsExported() {
			return func(reflect.Value, models) equals { return equals{} }
		}
		fields = append(fields, p.of(t.Field(i).Type))
	}
	return func(d reflect.Value, m models) equals {
		one, two := m[0].IsValid(), m[1].IsValid()
		same := equals{one, two}
		for i, f := range fields {
			var part models
			if one {
				part[0] = m[0].Field(i)
			}
			if two {
				part[1] = m[1].Field(i)
			}
			same = same.and(f(d.Field(i), part))
		}
		return same
	}
}
