package ownership

import "strings"

// encode writes a set in the form FieldsV1. Names hold nothing but what [plain] lets through, and quotes.
func encode(s set) []byte {
	return append(appendLevel(append(make([]byte, 0, size(s)+2), '{'), s), '}')
}

func appendLevel(buf []byte, s set) []byte {
	for i, e := range s {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendName(buf, e.name)
		buf = append(buf, ':', '{')
		if e.member && len(e.below) > 0 {
			buf = append(buf, `".":{},`...)
		}
		buf = append(appendLevel(buf, e.below), '}')
	}
	return buf
}

func appendName(buf []byte, name string) []byte {
	buf = append(buf, '"')
	for {
		i := strings.IndexByte(name, '"')
		if i < 0 {
			return append(append(buf, name...), '"')
		}
		buf = append(append(buf, name[:i]...), '\\', '"')
		name = name[i+1:]
	}
}

// size is how many bytes a level takes, or somewhat more.
func size(s set) int {
	n := 0
	for _, e := range s {
		n += len(e.name) + len(`"":{".":{},},`) + size(e.below)
		if e.name[0] != 'f' {
			n += strings.Count(e.name, `"`)
		}
	}
	return n
}

// plain says whether a text means the same in JSON whatever escapes what it need not.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// plainBetween says whether all but the quotes of a text is plain.
func plainBetween(s string) bool {
	for part := range strings.SplitSeq(s, `"`) {
		if !plain(part) {
			return false
		}
	}
	return true
}

// parse reads a set that was written compactly and in order, for objects of shape n. It returns false for anything else, and
// when the set goes into what the shape says is one field: the schema has changed since then.
func parse(raw []byte, n *node) (set, bool) {
	p := parser{rest: string(raw)} // one copy, of which the names are parts
	s, _, ok := p.level(n)
	return s, ok && len(p.rest) == 0
}

type parser struct {
	rest string
}

func (p *parser) take(c byte) bool {
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// level reads {...} and says whether it holds ".", or nothing, which means the same.
func (p *parser) level(n *node) (s set, member, ok bool) {
	if !p.take('{') {
		return nil, false, false
	}
	if p.take('}') {
		return nil, true, true
	}
	if n != nil && n.form == leaf && n.atomic {
		return nil, false, false
	}
	s = make(set, 0, 4)
	for {
		name, ok := p.name()
		if !ok || !p.take(':') {
			return nil, false, false
		}
		if name == "." {
			if member || len(s) > 0 || !p.take('{') || !p.take('}') {
				return nil, false, false
			}
			member = true
		} else {
			e := element{name: name}
			if e.below, e.member, ok = p.level(n.child(name)); !ok {
				return nil, false, false
			}
			if len(s) > 0 && compareNames(s[len(s)-1].name, name) >= 0 {
				return nil, false, false
			}
			s = append(s, e)
		}
		if p.take('}') {
			return s, member, len(s) > 0
		}
		if !p.take(',') {
			return nil, false, false
		}
	}
}

// name reads a JSON string.
func (p *parser) name() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	escaped := false
	for i := 0; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			if i+1 == len(p.rest) || p.rest[i+1] != '"' {
				return "", false
			}
			escaped = true
			i++
		case '"':
			name := p.rest[:i]
			p.rest = p.rest[i+1:]
			if escaped {
				name = strings.ReplaceAll(name, `\"`, `"`)
			}
			return name, regularName(name)
		}
	}
	return "", false
}

// regularName says whether a name is one that this package writes.
func regularName(name string) bool {
	if name == "." {
		return true
	}
	if len(name) < len("f:") || name[1] != ':' {
		return false
	}
	switch name[0] {
	case 'f':
		return plain(name)
	case 'k':
		_, ok := compareKeys(name[len("k:"):], name[len("k:"):])
		return ok && plainBetween(name)
	case 'v':
		_, rest, ok := scanValue(name[len("v:"):])
		return ok && rest == "" && plainBetween(name)
	default:
		return false
	}
}
