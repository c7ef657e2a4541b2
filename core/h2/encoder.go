package h2

import (
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// field is one of an answer's, with its name in lower case.
type field struct{ name, value string }

// encoder writes the fields of a connection's answers as RFC 7541 (HPACK) has it. What most answers have in common takes one octet, from a
// table so small that it is searched from end to end; what is different in each goes as it is: to put it into Huffman's code takes
// longer than to send it. It is used with the connection's lock.
type encoder struct {
	block   []byte  // what has been written since begin
	entries []field // the dynamic table; the newest is the last
	size    int     // of these, as section 4.1 counts it
	limit   int
	least   int  // the lowest limit since the last block
	changed bool // the client has not been told of the limit
}

// tableSize is how large the dynamic table may be where the client does not say so.
const tableSize = 4096

func newEncoder() encoder { return encoder{limit: tableSize, least: tableSize} }

// setLimit takes what the client allows for the table.
func (e *encoder) setLimit(n uint32) {
	e.limit = int(min(n, tableSize))
	e.least = min(e.least, e.limit)
	e.changed = true
	e.evict(0)
}

// begin starts a block, with how large the table is from now on if that has changed (section 4.2).
func (e *encoder) begin() {
	e.block = e.block[:0]
	if !e.changed {
		return
	}
	if e.least < e.limit {
		// Go's clients take a second size only when the first has left nothing in the table.
		e.entries, e.size = e.entries[:0], 0
		e.integer(0x20, 5, 0)
	}
	e.integer(0x20, 5, e.limit)
	e.least, e.changed = e.limit, false
}

// status writes an answer's status, most of which are in the static table.
func (e *encoder) status(code int) {
	switch code {
	case 200:
		e.block = append(e.block, 0x80|8)
	case 201:
		e.write(":status", "201")
	case 204:
		e.block = append(e.block, 0x80|9)
	case 404:
		e.block = append(e.block, 0x80|13)
	default:
		e.write(":status", strconv.Itoa(code))
	}
}

// nameOf returns where the static table has a name, 0 if it has not, and whether its values are for the dynamic table: those that are
// different in each answer would only take the place of others.
func nameOf(name string) (index int, repeats bool) {
	switch name {
	case ":status":
		return 8, true
	case "cache-control":
		return 24, true
	case "content-encoding":
		return 26, true
	case "content-length":
		return 28, false
	case "content-type":
		return 31, true
	case "date":
		return 33, false
	case "etag":
		return 34, false
	case "last-modified":
		return 44, false
	case "location":
		return 46, false
	case "retry-after":
		return 53, true
	case "vary":
		return 59, true
	case "www-authenticate":
		return 61, true
	case "audit-id", "warning":
		return 0, false
	}
	return 0, true
}

// mostTabled is how long a field may be to get into the table, as section 4.1 counts it.
const mostTabled = 512

func (e *encoder) write(name, value string) {
	if name == "set-cookie" { // no proxy may remember it either (section 7.1)
		e.literal(0x10, 4, 55, name, value)
		return
	}
	index, repeats := nameOf(name)
	if size := sizeOf(name, value); !repeats || size > mostTabled || size > e.limit {
		e.literal(0, 4, index, name, value)
		return
	}
	for i := len(e.entries) - 1; i >= 0; i-- {
		if f := &e.entries[i]; f.value == value && f.name == name {
			e.integer(0x80, 7, 61+len(e.entries)-i)
			return
		}
	}
	e.literal(0x40, 6, index, name, value)
	e.evict(sizeOf(name, value))
	e.entries = append(e.entries, field{strings.Clone(name), strings.Clone(value)}) // the given ones may be parts of something large
	e.size += sizeOf(name, value)
}

// sizeOf is what a field counts for in the table (section 4.1).
func sizeOf(name, value string) int {
	return int(hpack.HeaderField{Name: name, Value: value}.Size())
}

// evict drops the oldest entries until there is room for one of a size.
func (e *encoder) evict(size int) {
	n := 0
	for ; e.size+size > e.limit && n < len(e.entries); n++ {
		e.size -= sizeOf(e.entries[n].name, e.entries[n].value)
	}
	e.entries = e.entries[:copy(e.entries, e.entries[n:])]
}

// literal writes a field that is not in a table, its name by its index if it has one (section 6.2).
func (e *encoder) literal(pattern byte, bits, index int, name, value string) {
	e.integer(pattern, bits, index)
	if index == 0 {
		e.text(name)
	}
	e.text(value)
}

func (e *encoder) text(s string) {
	e.integer(0, 7, len(s))
	e.block = append(e.block, s...)
}

// integer writes n in the last bits of an octet and, if it does not fit, in others (section 5.1).
func (e *encoder) integer(pattern byte, bits, n int) {
	most := 1<<bits - 1
	if n < most {
		e.block = append(e.block, pattern|byte(n))
		return
	}
	e.block = append(e.block, pattern|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		e.block = append(e.block, 0x80|byte(n))
	}
	e.block = append(e.block, byte(n))
}
