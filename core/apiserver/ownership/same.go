package ownership

import (
	"encoding/base64"
	"reflect"
	"slices"

	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// same says whether a Go value is in JSON what was given. It errs on the side of no.
func same(j any, v val) bool {
	if j == nil || v.absent || v.null {
		return false
	}
	if entry := value.TypeReflectEntryOf(v.v.Type()); entry.CanConvertToUnstructured() {
		u, err := entry.ToUnstructured(v.v)
		return err == nil && u != nil && value.Equals(value.NewValueInterface(u), value.NewValueInterface(j))
	}
	switch v.v.Kind() {
	case reflect.String:
		text, ok := j.(string)
		return ok && text == v.v.String()
	case reflect.Bool:
		b, ok := j.(bool)
		return ok && b == v.v.Bool()
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, ok := j.(int64)
		return ok && n == v.v.Int()
	case reflect.Slice:
		return sameList(j, v.v)
	case reflect.Map:
		given, ok := j.(map[string]any)
		if !ok || len(given) != v.v.Len() {
			return false
		}
		for iter := v.v.MapRange(); iter.Next(); {
			if below, ok := given[iter.Key().String()]; !ok || !same(below, valueOf(iter.Value())) {
				return false
			}
		}
		return true
	case reflect.Struct:
		given, ok := j.(map[string]any)
		return ok && sameFields(given, v.v)
	default:
		return false
	}
}

func sameList(j any, v reflect.Value) bool {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		text, ok := j.(string)
		return ok && text == base64.StdEncoding.EncodeToString(v.Bytes())
	}
	given, ok := j.([]any)
	if !ok || len(given) != v.Len() {
		return false
	}
	for i := range given {
		if !same(given[i], valueOf(v.Index(i))) {
			return false
		}
	}
	return true
}

func sameFields(given map[string]any, s reflect.Value) bool {
	fields, ok := fieldsOf(s.Type())
	if !ok {
		return false
	}
	seen := 0
	for i := range fields {
		v := fields[i].of(s)
		below, has := given[fields[i].json]
		if has == v.absent || has && !same(below, v) {
			return false
		}
		if has {
			seen++
		}
	}
	return seen == len(given)
}

// distinct says that no list in j can have two items of one name: none has an item twice, and all items are texts but for
// those of j itself, which has no names for its items.
func distinct(j any, whole bool) bool {
	switch j := j.(type) {
	case map[string]any:
		for _, below := range j {
			if !distinct(below, false) {
				return false
			}
		}
	case []any:
		for i, item := range j {
			if _, isObject := item.(map[string]any); isObject && whole {
				if !distinct(item, false) {
					return false
				}
				continue
			}
			if _, isText := item.(string); !isText || slices.Contains(j[:i], item) {
				return false
			}
		}
	}
	return true
}
