package fastjson

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
)

func text(d *decoder, v reflect.Value) bool {
	if d.null() {
		return true
	}
	raw, ok := d.text()
	if ok {
		v.SetString(d.kept(raw))
	}
	return ok
}

func boolean(d *decoder, v reflect.Value) bool {
	switch {
	case d.word("true"):
		v.SetBool(true)
	case d.word("false"):
		v.SetBool(false)
	default:
		return d.null()
	}
	return true
}

func integer(d *decoder, v reflect.Value) bool {
	if d.null() {
		return true
	}
	n, ok := d.integer()
	if !ok || v.OverflowInt(n) {
		return false
	}
	v.SetInt(n)
	return true
}

// octets are written in base64.
func octets(d *decoder, v reflect.Value) bool {
	if d.null() {
		return true
	}
	raw, ok := d.text()
	if !ok {
		return false
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(raw)))
	n, err := base64.StdEncoding.Decode(out, raw)
	if err != nil {
		return false
	}
	v.SetBytes(out[:n])
	return true
}

// custom is a type that decodes itself.
func custom(d *decoder, v reflect.Value) bool {
	raw, ok := d.raw()
	return ok && v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw) == nil
}

func pointer(t reflect.Type, elem plan) plan {
	return func(d *decoder, v reflect.Value) bool {
		if d.null() {
			return true
		}
		p := reflect.New(t.Elem())
		if !elem(d, p.Elem()) {
			return false
		}
		v.Set(p)
		return true
	}
}

func slice(t reflect.Type, elem plan) plan {
	return func(d *decoder, v reflect.Value) bool {
		if d.null() {
			return true
		}
		if !d.byte('[') || !d.enter() {
			return false
		}
		d.space()
		if d.byte(']') {
			d.depth--
			v.Set(reflect.MakeSlice(t, 0, 0))
			return true
		}
		for n := 0; ; n++ {
			if n == v.Cap() {
				v.Grow(max(1, n))
			}
			v.SetLen(n + 1)
			if !elem(d, v.Index(n)) {
				return false
			}
			d.space()
			if d.byte(']') {
				d.depth--
				return true
			}
			if !d.byte(',') {
				return false
			}
			d.space()
		}
	}
}

var stringMap = reflect.TypeFor[map[string]string]()

func dictionary(t reflect.Type, elem plan) plan {
	if t == stringMap {
		return labels
	}
	return func(d *decoder, v reflect.Value) bool {
		if d.null() {
			return true
		}
		m := reflect.MakeMap(t)
		v.Set(m)
		return d.object(func(key []byte) bool {
			k := reflect.New(t.Key()).Elem()
			k.SetString(string(key))
			if m.MapIndex(k).IsValid() {
				return false
			}
			e := reflect.New(t.Elem()).Elem()
			if !elem(d, e) {
				return false
			}
			m.SetMapIndex(k, e)
			return true
		})
	}
}

// labels are maps of strings, which annotations and data are as well.
func labels(d *decoder, v reflect.Value) bool {
	if d.null() {
		return true
	}
	m := map[string]string{}
	*v.Addr().Interface().(*map[string]string) = m
	return d.object(func(key []byte) bool {
		k := string(key)
		if _, twice := m[k]; twice {
			return false
		}
		if d.null() {
			m[k] = ""
			return true
		}
		value, ok := d.text()
		if ok {
			m[k] = d.kept(value)
		}
		return ok
	})
}
