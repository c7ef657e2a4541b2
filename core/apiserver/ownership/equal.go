package ownership

import (
	"bytes"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

var timeType = reflect.TypeFor[metav1.Time]()

// equal says whether two values that are there count as the same. They are of one type.
func equal(l, r val) bool {
	if l.null || r.null {
		return l.null == r.null || isNull(l) == isNull(r) && isNull(l)
	}
	t := l.v.Type()
	switch t.Kind() {
	case reflect.String:
		if l.v.String() == r.v.String() {
			return true
		}
	case reflect.Bool:
		return l.v.Bool() == r.v.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return l.v.Int() == r.v.Int()
	}
	if t == timeType && l.v.CanAddr() && r.v.CanAddr() {
		x, y := l.v.Addr().Interface().(*metav1.Time), r.v.Addr().Interface().(*metav1.Time)
		return x.IsZero() == y.IsZero() && (x.IsZero() || x.Unix() == y.Unix())
	}
	if entry := value.TypeReflectEntryOf(t); entry.CanConvertToUnstructured() {
		x, errX := entry.ToUnstructured(l.v)
		y, errY := entry.ToUnstructured(r.v)
		return errX == nil && errY == nil && value.Equals(value.NewValueInterface(x), value.NewValueInterface(y))
	}
	switch t.Kind() {
	case reflect.Struct:
		return equalStructs(l.v, r.v)
	case reflect.Map:
		return equalMaps(l.v, r.v)
	case reflect.Slice:
		return equalSlices(l.v, r.v)
	case reflect.Interface:
		return reflect.DeepEqual(l.v.Interface(), r.v.Interface())
	default:
		return l.v.Equal(r.v)
	}
}

// isNull says whether a value is null in JSON, which some types make of their zero value.
func isNull(v val) bool {
	if v.null {
		return true
	}
	entry := value.TypeReflectEntryOf(v.v.Type())
	if !entry.CanConvertToUnstructured() {
		return false
	}
	u, err := entry.ToUnstructured(v.v)
	return err == nil && u == nil
}

func equalStructs(l, r reflect.Value) bool {
	fields, ok := fieldsOf(l.Type())
	if !ok {
		return reflect.DeepEqual(l.Interface(), r.Interface())
	}
	for i := range fields {
		x, y := fields[i].of(l), fields[i].of(r)
		if x.absent || y.absent {
			if x.absent != y.absent {
				return false
			}
			continue
		}
		if !equal(x, y) {
			return false
		}
	}
	return true
}

func equalMaps(l, r reflect.Value) bool {
	if l.UnsafePointer() == r.UnsafePointer() {
		return true
	}
	if l.Len() != r.Len() {
		return false
	}
	for iter := l.MapRange(); iter.Next(); {
		other := r.MapIndex(iter.Key())
		if !other.IsValid() || !equal(valueOf(iter.Value()), valueOf(other)) {
			return false
		}
	}
	return true
}

// equalSlices does what the library does, which looks at lists as Go has them rather than as JSON would.
func equalSlices(l, r reflect.Value) bool {
	if l.Len() != r.Len() {
		return false
	}
	if l.UnsafePointer() == r.UnsafePointer() {
		return true
	}
	if l.Type().Elem().Kind() == reflect.Uint8 {
		return bytes.Equal(l.Bytes(), r.Bytes())
	}
	return reflect.DeepEqual(l.Interface(), r.Interface())
}
