package fastjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"unicode/utf8"
)

// column is a field of a struct as it is written.
type column struct {
	index []int  // through embedded structs
	name  []byte // quoted, with its colon
	skip  func(v reflect.Value) bool
	write writer
}

func structWriter(t reflect.Type, open map[reflect.Type]bool) writer {
	fields, ok := fieldsOf(t, nil)
	if !ok {
		return cannotWrite
	}
	columns := make([]column, len(fields))
	for i, f := range fields {
		name, err := json.Marshal(f.name)
		if err != nil {
			return cannotWrite
		}
		columns[i] = column{index: f.index, name: append(name, ':'), skip: skipOf(f.typ, f.options), write: compileWriter(f.typ, open)}
	}
	return func(e *encoder, v reflect.Value) bool {
		if !e.enter() {
			return false
		}
		e.out = append(e.out, '{')
		first := true
		for i := range columns {
			c := &columns[i]
			field := v
			for _, i := range c.index {
				field = field.Field(i)
			}
			if c.skip != nil && c.skip(field) {
				continue
			}
			if !first {
				e.out = append(e.out, ',')
			}
			first = false
			e.out = append(e.out, c.name...)
			if !c.write(e, field) {
				return false
			}
		}
		e.out = append(e.out, '}')
		e.depth--
		return true
	}
}

func skipOf(t reflect.Type, options string) func(reflect.Value) bool {
	empty, zero := false, false
	for option := range strings.SplitSeq(options, ",") {
		empty = empty || option == "omitempty"
		zero = zero || option == "omitzero"
	}
	var skip func(reflect.Value) bool
	if empty {
		skip = emptyOf(t)
	}
	if !zero {
		return skip
	}
	isZero := reflect.Value.IsZero
	if reflect.PointerTo(t).Implements(zeroer) {
		isZero = func(v reflect.Value) bool {
			return v.Kind() == reflect.Pointer && v.IsNil() || v.Addr().Interface().(interface{ IsZero() bool }).IsZero()
		}
	}
	if skip == nil {
		return isZero
	}
	return func(v reflect.Value) bool { return skip(v) || isZero(v) }
}

var zeroer = reflect.TypeFor[interface{ IsZero() bool }]()

// emptyOf is what omitempty leaves out of a type; nil for a type of which it leaves out nothing.
func emptyOf(t reflect.Type) func(reflect.Value) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Map, reflect.String, reflect.Array:
		return func(v reflect.Value) bool { return v.Len() == 0 }
	case reflect.Struct:
		return nil
	}
	return reflect.Value.IsZero
}

const hexDigits = "0123456789abcdef"

// text appends s in quotes, escaped as json.Marshal does it, HTML's characters as well.
func (e *encoder) text(s string) {
	out := append(e.out, '"')
	from := 0
	for i := 0; i < len(s); {
		for i+8 <= len(s) && harmlessWord(s[i:i+8]) {
			i += 8
		}
		if i == len(s) {
			break
		}
		c := s[i]
		if c < utf8.RuneSelf {
			if harmless[c] {
				i++
				continue
			}
			out = append(out, s[from:i]...)
			out = appendEscape(out, c)
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, s[from:i]...)
			out = append(out, `\ufffd`...)
			from = i + size
		case r == '\u2028' || r == '\u2029': // line ends in JavaScript
			out = append(out, s[from:i]...)
			out = append(out, `\u202`...)
			out = append(out, hexDigits[r&0xf])
			from = i + size
		}
		i += size
	}
	out = append(out, s[from:]...)
	e.out = append(out, '"')
}

func appendEscape(out []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(out, '\\', c)
	case '\b':
		return append(out, `\b`...)
	case '\f':
		return append(out, `\f`...)
	case '\n':
		return append(out, `\n`...)
	case '\r':
		return append(out, `\r`...)
	case '\t':
		return append(out, `\t`...)
	}
	return append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// harmlessWord reports whether eight bytes are all harmless. It never says so of others, but may say no.
func harmlessWord(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	// The top bit of a byte is set when the byte is above ASCII, below space, or equal to one of the others.
	odd := x | (x - ' '*ones) | ((x ^ '"'*ones) - ones) | ((x ^ '\\'*ones) - ones) |
		((x ^ '<'*ones) - ones) | ((x ^ '>'*ones) - ones) | ((x ^ '&'*ones) - ones)
	return odd&tops == 0
}

// harmless are the ASCII characters that stand for themselves.
var harmless = func() (set [utf8.RuneSelf]bool) {
	for c := range set {
		set[c] = c >= ' ' && !strings.ContainsRune(`"\<>&`, rune(c))
	}
	return set
}()
