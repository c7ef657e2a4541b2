package fastjson

// Untyped decodes an object into maps and lists, with whole numbers as int64, and reports whether it did. What it decodes is what
// sigs.k8s.io/json decodes from the same data without a strict error.
func Untyped(data []byte) (map[string]any, bool) {
	d := decoder{data: data}
	d.space()
	if d.at == len(data) || data[d.at] != '{' {
		return nil, false
	}
	out, ok := d.fields()
	return out, ok && d.end()
}

func (d *decoder) fields() (map[string]any, bool) {
	out := map[string]any{}
	ok := d.object(func(key []byte) bool {
		if _, twice := out[string(key)]; twice {
			return false
		}
		name := string(key) // which is valid no longer once the value has been read
		v, ok := d.untyped()
		out[name] = v
		return ok
	})
	return out, ok
}

func (d *decoder) untyped() (any, bool) {
	if d.at == len(d.data) {
		return nil, false
	}
	switch c := d.data[d.at]; {
	case c == '"':
		raw, ok := d.text()
		return string(raw), ok
	case c == '{':
		return d.fields()
	case c == '[':
		return d.items()
	case c == 't':
		return true, d.word("true")
	case c == 'f':
		return false, d.word("false")
	case c == 'n':
		return nil, d.null()
	default:
		n, ok := d.integer()
		return n, ok && d.at < len(d.data) && delimiter(d.data[d.at])
	}
}

func (d *decoder) items() (any, bool) {
	out := []any{}
	if !d.byte('[') || !d.enter() {
		return nil, false
	}
	d.space()
	if d.byte(']') {
		d.depth--
		return out, true
	}
	for {
		v, ok := d.untyped()
		if !ok {
			return nil, false
		}
		out = append(out, v)
		d.space()
		if d.byte(']') {
			d.depth--
			return out, true
		}
		if !d.byte(',') {
			return nil, false
		}
		d.space()
	}
}
