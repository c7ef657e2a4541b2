package fastjson

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// maxDepth is how deep values may lie in each other before the library must say whether that is allowed.
const maxDepth = 200

// decoder is a position in the data. Its methods leave it after what they took; when one reports false,
// the position no longer matters unless it says otherwise.
type decoder struct {
	data  []byte
	at    int
	depth int
	// scratch holds the last text that had escapes.
	scratch []byte
}

func (d *decoder) space() {
	for d.at < len(d.data) {
		switch d.data[d.at] {
		case ' ', '\t', '\r', '\n':
			d.at++
		default:
			return
		}
	}
}

// end reports whether only space is left.
func (d *decoder) end() bool {
	d.space()
	return d.at == len(d.data)
}

// byte takes c; without it the position stays.
func (d *decoder) byte(c byte) bool {
	if d.at < len(d.data) && d.data[d.at] == c {
		d.at++
		return true
	}
	return false
}

// word takes a literal; without it the position stays. A letter that follows is an error where the next
// delimiter is wanted.
func (d *decoder) word(w string) bool {
	if len(d.data)-d.at >= len(w) && string(d.data[d.at:d.at+len(w)]) == w {
		d.at += len(w)
		return true
	}
	return false
}

func (d *decoder) null() bool { return d.word("null") }

func (d *decoder) enter() bool {
	d.depth++
	return d.depth <= maxDepth
}

// object takes an object and calls value at the position of each value. The key is valid until then.
func (d *decoder) object(value func(key []byte) bool) bool {
	if d.null() {
		return true
	}
	if !d.byte('{') || !d.enter() {
		return false
	}
	d.space()
	if d.byte('}') {
		d.depth--
		return true
	}
	for {
		key, ok := d.text()
		if !ok {
			return false
		}
		d.space()
		if !d.byte(':') {
			return false
		}
		d.space()
		if !value(key) {
			return false
		}
		d.space()
		if d.byte('}') {
			d.depth--
			return true
		}
		if !d.byte(',') {
			return false
		}
		d.space()
	}
}

// integer takes a number without fraction and exponent.
func (d *decoder) integer() (int64, bool) {
	negative := d.byte('-')
	from := d.at
	var n uint64
	for d.at < len(d.data) {
		c := d.data[d.at]
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
		d.at++
	}
	digits := d.at - from
	if digits == 0 || digits > 19 || digits > 1 && d.data[from] == '0' {
		return 0, false
	}
	if negative {
		return -int64(n), n <= -math.MinInt64
	}
	return int64(n), n <= math.MaxInt64
}

// text takes a string and returns its bytes, which are valid until the next call.
func (d *decoder) text() ([]byte, bool) {
	if !d.byte('"') {
		return nil, false
	}
	from := d.at
	length := bytes.IndexByte(d.data[from:], '"')
	if length < 0 {
		return nil, false
	}
	raw := d.data[from : from+length]
	if i := bytes.IndexByte(raw, '\\'); i >= 0 {
		if !plain(raw[:i]) {
			return nil, false
		}
		d.at += i
		return d.escaped(from)
	}
	d.at += length + 1
	return raw, plain(raw)
}

// worthKeeping is from how many bytes a text may be a part of the data, so that this is kept.
const worthKeeping = 512

// kept is a text that text has just returned, to be kept. Where it is most of the data it is not copied.
func (d *decoder) kept(raw []byte) string {
	if len(raw) >= worthKeeping && 2*len(raw) >= len(d.data) && &raw[0] == &d.data[d.at-len(raw)-1] {
		return unsafe.String(&raw[0], len(raw))
	}
	return string(raw)
}

// plain reports whether text is UTF-8 without control characters.
func plain(text []byte) bool {
	const ones = 0x0101010101010101
	rest, odd := text, uint64(0)
	for ; len(rest) >= 8; rest = rest[8:] {
		x := binary.LittleEndian.Uint64(rest)
		odd |= (x - ' '*ones) | x
	}
	for _, c := range rest {
		odd |= uint64((c - ' ') | c)
	}
	if odd&(0x80*ones) == 0 {
		return true
	}
	for _, c := range text {
		if c < ' ' {
			return false
		}
	}
	return utf8.Valid(text)
}

// escaped is text for a string that began at from and has its first escape at the position; what is before
// is plain.
func (d *decoder) escaped(from int) ([]byte, bool) {
	out := append(d.scratch[:0], d.data[from:d.at]...)
	for d.at < len(d.data) {
		c := d.data[d.at]
		d.at++
		switch {
		case c == '"':
			d.scratch = out
			return out, utf8.Valid(out)
		case c < ' ':
			return nil, false
		case c != '\\':
			out = append(out, c)
			continue
		case d.at == len(d.data):
			return nil, false
		}
		c = d.data[d.at]
		d.at++
		if c == 'u' {
			r, ok := d.hex()
			if !ok || utf16.IsSurrogate(r) {
				return nil, false
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		if c = unescape[c]; c == 0 {
			return nil, false
		}
		out = append(out, c)
	}
	return nil, false
}

// unescape are the characters that stand for others after a backslash.
var unescape = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

func (d *decoder) hex() (rune, bool) {
	if len(d.data)-d.at < 4 {
		return 0, false
	}
	var r rune
	for _, c := range d.data[d.at : d.at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	d.at += 4
	return r, true
}

// raw takes a value of any type and returns it as it stands, valid JSON.
func (d *decoder) raw() ([]byte, bool) {
	from := d.at
	if d.at == len(d.data) {
		return nil, false
	}
	switch d.data[d.at] {
	case '"':
		if _, ok := d.text(); !ok {
			return nil, false
		}
		return d.data[from:d.at], true
	case '{', '[':
		if !d.skip() {
			return nil, false
		}
	default:
		for d.at < len(d.data) && !delimiter(d.data[d.at]) {
			d.at++
		}
	}
	out := d.data[from:d.at]
	return out, json.Valid(out)
}

// skip takes an object or array, of which only brackets and strings are looked at.
func (d *decoder) skip() bool {
	for depth := 0; d.at < len(d.data); {
		switch d.data[d.at] {
		case '"':
			if _, ok := d.text(); !ok {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		d.at++
		if depth == 0 {
			return true
		}
	}
	return false
}

func delimiter(c byte) bool {
	return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t' || c == '\r' || c == '\n'
}
