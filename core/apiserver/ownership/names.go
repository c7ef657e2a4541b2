package ownership

import (
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// compareNames orders the names of a level: fields, then keys of list items, then values of sets. Keys are ordered by
// their fields, and those by name and value: numbers by size, strings by their bytes.
func compareNames(a, b string) int {
	if a == b {
		return 0
	}
	if a[0] != b[0] {
		return strings.IndexByte("fkvi", a[0]) - strings.IndexByte("fkvi", b[0])
	}
	switch a[0] {
	case 'f':
		return strings.Compare(a, b)
	case 'k':
		if c, ok := compareKeys(a[len("k:"):], b[len("k:"):]); ok {
			return c
		}
	case 'v':
		x, restX, okX := scanValue(a[len("v:"):])
		y, restY, okY := scanValue(b[len("v:"):])
		if okX && okY && restX == "" && restY == "" {
			return compareValues(x, y)
		}
	}
	return compareParsed(a, b)
}

// compareParsed lets the library do it.
func compareParsed(a, b string) int {
	x, errX := fieldpath.DeserializePathElement(a)
	y, errY := fieldpath.DeserializePathElement(b)
	if errX != nil || errY != nil {
		return strings.Compare(a, b)
	}
	return x.Compare(y)
}

// compareKeys compares keys without parsing them, false when they are other than plain.
func compareKeys(a, b string) (int, bool) {
	first := true
	for {
		open := ","
		if first {
			open = "{"
		}
		endA, endB := a == "}", b == "}"
		if endA || endB {
			switch {
			case endA && endB:
				return 0, true
			case endA:
				return -1, b != "" && b[0] == ','
			default:
				return 1, a != "" && a[0] == ','
			}
		}
		fieldA, valueA, restA, okA := scanField(a, open)
		fieldB, valueB, restB, okB := scanField(b, open)
		if !okA || !okB {
			return 0, false
		}
		if c := strings.Compare(fieldA, fieldB); c != 0 {
			return c, true
		}
		if c := compareValues(valueA, valueB); c != 0 {
			return c, true
		}
		a, b, first = restA, restB, false
	}
}

// scanField takes `OPEN"name":value` off s.
func scanField(s, open string) (name, value, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, open)
	if !ok {
		return "", "", "", false
	}
	name, s, ok = scanValue(s)
	if !ok || name[0] != '"' {
		return "", "", "", false
	}
	s, ok = strings.CutPrefix(s, ":")
	if !ok {
		return "", "", "", false
	}
	value, rest, ok = scanValue(s)
	return name, value, rest, ok
}

// scanValue takes a string without escapes, with its first quote only, or a whole number of at most 15 digits off s.
func scanValue(s string) (value, rest string, ok bool) {
	if s == "" {
		return "", "", false
	}
	if s[0] == '"' {
		end := strings.IndexByte(s[1:], '"') + 1
		if end == 0 || strings.IndexByte(s[:end], '\\') >= 0 {
			return "", "", false
		}
		return s[:end], s[end+1:], true
	}
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	if n == 0 || n > 15 || n > 1 && s[0] == '0' || n < len(s) && s[n] != ',' && s[n] != '}' {
		return "", "", false
	}
	return s[:n], s[n:], true
}

// compareValues compares what scanValue found: numbers come before strings.
func compareValues(a, b string) int {
	textA, textB := a[0] == '"', b[0] == '"'
	switch {
	case textA != textB && textB:
		return -1
	case textA != textB:
		return 1
	case !textA && len(a) != len(b):
		return len(a) - len(b)
	default:
		return strings.Compare(a, b)
	}
}
