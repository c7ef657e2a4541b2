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

// share makes obj use the memory of like wherever both are equal: pods of one ReplicaSet differ in a name and an address, and a
// version of an object mostly in its status from the one before. Both are pointers to structs of one type; like is not changed, and
// obj only in where its values lie. What obj has apart from like must be its own alone.
func share(obj, like any) {
	o, l := reflect.ValueOf(obj), reflect.ValueOf(like)
	if o.Type() != l.Type() || o.Pointer() == l.Pointer() {
		return
	}
	sharerOf(o.Type().Elem())(o.Elem(), l.Elem())
}

// sharer makes the settable value d use the memory of s as far as they are equal, and tells whether they are, all of them: as their
// encodings are, in which an empty list is not the same as none.
type sharer func(d, s reflect.Value) bool

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
		return func(d, s reflect.Value) bool { return (*have)(d, s) }
	}
	f := new(sharer)
	p[t] = f
	*f = p.make(t)
	return *f
}

func (p sharing) make(t reflect.Type) sharer {
	switch t {
	case reflect.TypeFor[metav1.Time]():
		return identical[metav1.Time]
	case reflect.TypeFor[metav1.MicroTime]():
		return identical[metav1.MicroTime]
	case reflect.TypeFor[resource.Quantity]():
		return identical[resource.Quantity]
	}
	switch t.Kind() {
	case reflect.Bool:
		return func(d, s reflect.Value) bool { return d.Bool() == s.Bool() }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(d, s reflect.Value) bool { return d.Int() == s.Int() }
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(d, s reflect.Value) bool { return d.Uint() == s.Uint() }
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
		return func(d, s reflect.Value) bool { return d.IsZero() && s.IsZero() }
	}
}

// identical compares values whose fields are their own affair.
func identical[T comparable](d, s reflect.Value) bool {
	return *d.Addr().Interface().(*T) == *s.Addr().Interface().(*T)
}

func shareString(d, s reflect.Value) bool {
	text := s.String()
	if d.String() != text {
		return false
	}
	if text != "" {
		d.SetString(text)
	}
	return true
}

func (p sharing) pointer(t reflect.Type) sharer {
	below := p.of(t.Elem())
	return func(d, s reflect.Value) bool {
		if d.Pointer() == s.Pointer() {
			return true
		}
		if d.IsNil() || s.IsNil() || !below(d.Elem(), s.Elem()) {
			return false
		}
		d.Set(s)
		return true
	}
}

func (p sharing) slice(t reflect.Type) sharer {
	below, raw := p.of(t.Elem()), t.Elem().Kind() == reflect.Uint8
	return func(d, s reflect.Value) bool {
		n := s.Len()
		switch {
		case d.IsNil() || s.IsNil():
			fit(d)
			return d.IsNil() == s.IsNil()
		case d.Pointer() == s.Pointer(): // what lies there is not obj's alone
			return d.Len() == n
		}
		same := d.Len() == n
		if raw {
			same = bytes.Equal(d.Bytes(), s.Bytes())
		} else {
			for i := range min(n, d.Len()) {
				if !below(d.Index(i), s.Index(i)) {
					same = false
				}
			}
		}
		if same {
			d.Set(s.Slice3(0, n, n)) // nobody may append to what is shared
		} else {
			fit(d)
		}
		return same
	}
}

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
func shareMap(d, s reflect.Value) bool {
	if d.Len() == 0 || s.Len() == 0 || d.Pointer() == s.Pointer() {
		return d.IsNil() == s.IsNil() && d.Len() == s.Len()
	}
	if !sameMap(d.Interface(), s.Interface()) {
		return false
	}
	d.Set(s)
	return true
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
			return func(reflect.Value, reflect.Value) bool { return false }
		}
		fields = append(fields, p.of(t.Field(i).Type))
	}
	return func(d, s reflect.Value) bool {
		same := true
		for i, f := range fields {
			if !f(d.Field(i), s.Field(i)) {
				same = false
			}
		}
		return same
	}
}
