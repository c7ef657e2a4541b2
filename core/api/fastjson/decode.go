// Package fastjson decodes JSON into API types in one pass. It exists because decoding a request strictly
// with the general library costs more than everything else that the server does for a small write.
//
// It never judges: whatever is not plainly right (an unknown, doubled or badly typed field, an odd
// number, broken text) it leaves to the library, whose results and words are the contract.
package fastjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"sync"
)

// Unmarshal decodes data into obj, a pointer to a zero value, and reports whether it did. What it decodes is
// what sigs.k8s.io/json decodes from the same data without a strict error. When it reports false, obj is
// zero again. A text that is most of the data is a part of it: the data must not be changed afterwards.
func Unmarshal(data []byte, obj any) bool {
	v := reflect.ValueOf(obj).Elem()
	d := decoder{data: data}
	d.space()
	if planOf(v.Type())(&d, v) && d.end() {
		return true
	}
	v.SetZero()
	return false
}

// plan decodes one value into v, which is zero and addressable. It reports false to give up.
type plan func(d *decoder, v reflect.Value) bool

func giveUp(*decoder, reflect.Value) bool { return false }

var (
	plans sync.Map // of plan by reflect.Type

	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// planOf returns the plan of a type, made at its first use. A type that contains itself finds the plan by
// looking it up at each use.
func planOf(t reflect.Type) plan {
	if p, ok := plans.Load(t); ok {
		return p.(plan)
	}
	later := func(d *decoder, v reflect.Value) bool { return planOf(t)(d, v) }
	return compile(t, map[reflect.Type]plan{t: later})
}

// compile makes the plan of t; open are the types that are being compiled.
func compile(t reflect.Type, open map[reflect.Type]plan) plan {
	p := planOfKind(t, open)
	if reflect.PointerTo(t).Implements(unmarshaler) {
		p = custom
	} else if reflect.PointerTo(t).Implements(textUnmarshaler) {
		p = giveUp
	}
	plans.Store(t, p)
	return p
}

func part(t reflect.Type, open map[reflect.Type]plan) plan {
	if p, ok := plans.Load(t); ok {
		return p.(plan)
	}
	if p, ok := open[t]; ok {
		return p
	}
	open[t] = func(d *decoder, v reflect.Value) bool { return planOf(t)(d, v) }
	return compile(t, open)
}

func planOfKind(t reflect.Type, open map[reflect.Type]plan) plan {
	switch t.Kind() {
	case reflect.String:
		return text
	case reflect.Bool:
		return boolean
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return integer
	case reflect.Pointer:
		return pointer(t, part(t.Elem(), open))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return octets
		}
		return slice(t, part(t.Elem(), open))
	case reflect.Map:
		if t.Key().Kind() != reflect.String || reflect.PointerTo(t.Key()).Implements(textUnmarshaler) {
			return giveUp
		}
		return dictionary(t, part(t.Elem(), open))
	case reflect.Struct:
		return structure(t, open)
	}
	return giveUp
}

// member is a field of a struct by the name that it has in JSON.
type member struct {
	index  []int // through embedded structs
	number uint
	plan   plan
}

// maxMembers is how many fields a struct may have for the set of those seen to hold them.
const maxMembers = 128

func structure(t reflect.Type, open map[reflect.Type]plan) plan {
	fields, ok := fieldsOf(t, nil)
	if !ok || len(fields) > maxMembers {
		return giveUp
	}
	members := map[string]*member{}
	for i, f := range fields {
		members[f.name] = &member{index: f.index, number: uint(i), plan: part(f.typ, open)}
	}
	return func(d *decoder, v reflect.Value) bool {
		var seen [maxMembers / 64]uint64
		return d.object(func(key []byte) bool {
			m := members[string(key)]
			if m == nil || seen[m.number/64]&(1<<(m.number%64)) != 0 {
				return false
			}
			seen[m.number/64] |= 1 << (m.number % 64)
			field := v
			for _, i := range m.index {
				field = field.Field(i)
			}
			return m.plan(d, field)
		})
	}
}
