package fastjson

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Append appends the encoding of obj, a pointer, to dst. The bytes are those of json.Marshal, and so are
// the errors.
func Append(dst []byte, obj any) ([]byte, error) {
	v := reflect.ValueOf(obj)
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		e := encoder{out: dst}
		if writerOf(v.Type().Elem())(&e, v.Elem()) {
			return e.out, nil
		}
	}
	data, err := json.Marshal(obj)
	return append(dst, data...), err
}

// encoder collects what writers write.
type encoder struct {
	out   []byte
	depth int
}

// writer appends the encoding of v, which is addressable. It reports false to give up.
type writer func(e *encoder, v reflect.Value) bool

func cannotWrite(*encoder, reflect.Value) bool { return false }

var (
	writers sync.Map // of writer by reflect.Type

	marshaler     = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// writerOf returns the writer of a type, made at its first use. Types that contain themselves meet
// themselves by looking up at each use.
func writerOf(t reflect.Type) writer {
	if w, ok := writers.Load(t); ok {
		return w.(writer)
	}
	return compileWriter(t, map[reflect.Type]bool{})
}

func compileWriter(t reflect.Type, open map[reflect.Type]bool) writer {
	if w, ok := writers.Load(t); ok {
		return w.(writer)
	}
	if open[t] {
		return func(e *encoder, v reflect.Value) bool { return writerOf(t)(e, v) }
	}
	open[t] = true
	w := writerOfKind(t, open)
	switch own := reflect.PointerTo(t); {
	case t.Kind() == reflect.Pointer: // what it points to decides
	case t == reflect.TypeFor[metav1.FieldsV1]():
		w = writeFieldSet
	case t.Implements(marshaler):
		w = customWriter
	case t.Implements(textMarshaler), own.Implements(marshaler), own.Implements(textMarshaler):
		w = cannotWrite
	}
	writers.Store(t, w)
	return w
}

func writerOfKind(t reflect.Type, open map[reflect.Type]bool) writer {
	switch t.Kind() {
	case reflect.String:
		return writeText
	case reflect.Bool:
		return func(e *encoder, v reflect.Value) bool {
			e.out = strconv.AppendBool(e.out, v.Bool())
			return true
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(e *encoder, v reflect.Value) bool {
			e.out = strconv.AppendInt(e.out, v.Int(), 10)
			return true
		}
	case reflect.Pointer:
		elem := compileWriter(t.Elem(), open)
		return func(e *encoder, v reflect.Value) bool {
			return v.IsNil() && e.null() || !v.IsNil() && elem(e, v.Elem())
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return writeOctets
		}
		return sliceWriter(compileWriter(t.Elem(), open))
	case reflect.Map:
		if t.Key().Kind() != reflect.String || t.Key().Implements(textMarshaler) {
			return cannotWrite
		}
		if t == stringMap {
			return writeLabels
		}
		return mapWriter(t, compileWriter(t.Elem(), open))
	case reflect.Struct:
		return structWriter(t, open)
	}
	return cannotWrite
}

func (e *encoder) null() bool {
	e.out = append(e.out, "null"...)
	return true
}

// enter bounds the depth, for json.Marshal finds out about pointers that lead to themselves.
func (e *encoder) enter() bool {
	e.depth++
	return e.depth <= maxDepth
}

func writeText(e *encoder, v reflect.Value) bool {
	e.text(v.String())
	return true
}

func writeOctets(e *encoder, v reflect.Value) bool {
	if v.IsNil() {
		return e.null()
	}
	e.out = append(e.out, '"')
	e.out = base64.StdEncoding.AppendEncode(e.out, v.Bytes())
	e.out = append(e.out, '"')
	return true
}

// customWriter is for types that encode themselves. json.Marshal removes the space from what they return
// and escapes it for HTML, which is left to it where there is any.
func customWriter(e *encoder, v reflect.Value) bool {
	data, err := v.Addr().Interface().(json.Marshaler).MarshalJSON()
	if err != nil || bytes.ContainsAny(data, "<>& \t\r\n\xe2") || !json.Valid(data) {
		return false
	}
	e.out = append(e.out, data...)
	return true
}

// writeFieldSet is customWriter for sets of fields, of which there are some in each object.
func writeFieldSet(e *encoder, v reflect.Value) bool {
	raw := v.Addr().Interface().(*metav1.FieldsV1).Raw
	if !isFieldSet(raw) {
		return customWriter(e, v)
	}
	e.out = append(e.out, raw...)
	return true
}

// isFieldSet tells JSON of nothing but objects in each other, without space and without what is escaped for HTML. It may miss some.
func isFieldSet(data []byte) bool {
	const deepest = 256 // json.Valid has a limit as well
	at := func(i int) byte {
		if i < len(data) {
			return data[i]
		}
		return 0
	}
	for i, depth := 0, 0; ; {
		if depth++; at(i) != '{' || depth > deepest {
			return false
		}
		for i++; at(i) == '}'; i++ {
			if depth--; depth == 0 {
				return i == len(data)-1
			}
		}
		if at(i-1) == '}' { // something has ended, so that something else may come
			if at(i) != ',' {
				return false
			}
			i++
		}
		if at(i) != '"' {
			return false
		}
		for i++; at(i) != '"'; i++ {
			switch c := at(i); {
			case c == '\\':
				if i++; at(i) != '"' && at(i) != '\\' {
					return false
				}
			case c < ' ' || c > '~' || c == '<' || c == '>' || c == '&':
				return false
			}
		}
		if at(i+1) != ':' {
			return false
		}
		i += 2
	}
}

func sliceWriter(elem writer) writer {
	return func(e *encoder, v reflect.Value) bool {
		if v.IsNil() {
			return e.null()
		}
		if !e.enter() {
			return false
		}
		e.out = append(e.out, '[')
		for i := range v.Len() {
			if i > 0 {
				e.out = append(e.out, ',')
			}
			if !elem(e, v.Index(i)) {
				return false
			}
		}
		e.out = append(e.out, ']')
		e.depth--
		return true
	}
}

func writeLabels(e *encoder, v reflect.Value) bool {
	m := *v.Addr().Interface().(*map[string]string)
	if m == nil {
		return e.null()
	}
	var few [16]string
	keys := few[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	e.out = append(e.out, '{')
	for i, k := range keys {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		e.text(k)
		e.out = append(e.out, ':')
		e.text(m[k])
	}
	e.out = append(e.out, '}')
	return true
}

func mapWriter(t reflect.Type, elem writer) writer {
	return func(e *encoder, v reflect.Value) bool {
		if v.IsNil() {
			return e.null()
		}
		if !e.enter() {
			return false
		}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		value := reflect.New(t.Elem()).Elem()
		e.out = append(e.out, '{')
		for i, k := range keys {
			if i > 0 {
				e.out = append(e.out, ',')
			}
			e.text(k.String())
			e.out = append(e.out, ':')
			value.Set(v.MapIndex(k))
			if !elem(e, value) {
				return false
			}
		}
		e.out = append(e.out, '}')
		e.depth--
		return true
	}
}
