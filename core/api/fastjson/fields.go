package fastjson

import (
	"reflect"
	"slices"
	"strings"
)

// structField is a field of a struct as JSON has it.
type structField struct {
	index         []int // through embedded structs
	name, options string
	typ           reflect.Type
}

// fieldsOf lists the fields of t in order, those of structs that it embeds without a name among them. It reports false
// for what would need the rules of precedence between equal names, and for options that are rare.
func fieldsOf(t reflect.Type, path []int) ([]structField, bool) {
	var out []structField
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		index := append(slices.Clone(path), i)
		if f.Anonymous && name == "" {
			if f.Type.Kind() != reflect.Struct {
				return nil, false
			}
			inner, ok := fieldsOf(f.Type, index)
			if !ok {
				return nil, false
			}
			out = append(out, inner...)
			continue
		}
		if name == "" {
			name = f.Name
		}
		if strings.Contains(options, "string") || !f.IsExported() {
			return nil, false
		}
		out = append(out, structField{index, name, options, f.Type})
	}
	for i := range out {
		if slices.ContainsFunc(out[:i], func(f structField) bool { return f.name == out[i].name }) {
			return nil, false
		}
	}
	return out, true
}
