package h2

import (
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2/hpack"
)

// client reads what an encoder writes, as strictly as the library does: with its own table, which is no larger than it has said.
type client struct {
	encoder encoder
	decoder *hpack.Decoder
	got     []hpack.HeaderField
}

func newClient() *client {
	c := &client{encoder: newEncoder()}
	c.decoder = hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { c.got = append(c.got, f) })
	return c
}

// allow is a setting of the client's, which counts once the server has acknowledged it.
func (c *client) allow(n uint32) {
	c.encoder.setLimit(n)
	c.decoder.SetAllowedMaxDynamicTableSize(n)
}

// block sends the fields of an answer and returns how many octets they took.
func (c *client) block(t *testing.T, status int, fields ...field) int {
	t.Helper()
	c.got = nil
	c.encoder.begin()
	c.encoder.status(status)
	want := []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}}
	for _, f := range fields {
		c.encoder.write(f.name, f.value)
		want = append(want, hpack.HeaderField{Name: f.name, Value: f.value, Sensitive: f.name == "set-cookie"})
	}
	_, err := c.decoder.Write(c.encoder.block)
	if err == nil {
		err = c.decoder.Close()
	}
	if err != nil {
		t.Fatalf("%x: %v", c.encoder.block, err)
	}
	if d := cmp.Diff(want, c.got); d != "" {
		t.Fatalf("%x (-want +got):\n%s", c.encoder.block, d)
	}
	return len(c.encoder.block)
}

func TestFieldsThatRepeatAreShort(t *testing.T) {
	c := newClient()
	fields := []field{{"content-type", "application/json"}, {"cache-control", "no-cache, private"}, {"x-kubernetes-pf-flowschema-uid", "a"}}
	for _, status := range []int{200, 201, 204, 404, 409, 500} {
		c.block(t, status, fields...)
		if n := c.block(t, status, fields...); n != 4 {
			t.Errorf("%d: %d octets, want one for each field", status, n)
		}
	}
	before := len(c.encoder.entries)
	c.block(t, 200, field{"date", "Mon"}, field{"audit-id", "1"}, field{"content-length", "7"}, field{"set-cookie", "a=b"}, field{"x", strings.Repeat("y", mostTabled)})
	if after := len(c.encoder.entries); after != before {
		t.Errorf("%d entries came into the table", after-before)
	}
}

// What a client reads must be what was written, however it changes the size of its table.
func TestFieldsArriveAsTheyAre(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	names := []string{
		"content-type", "cache-control", "content-length", "date", "vary", "etag", "audit-id", "set-cookie", "www-authenticate", "retry-after",
		"location", "last-modified", "content-encoding", "warning", "x-a", "x-b", "grpc-status",
	}
	for range 200 {
		c := newClient()
		for range 50 {
			for range random.Intn(3) * random.Intn(2) {
				c.allow(uint32(random.Intn(3) * random.Intn(3000)))
			}
			var fields []field
			for range random.Intn(12) {
				value := fmt.Sprint(random.Intn(6))
				if random.Intn(4) == 0 {
					value = strings.Repeat(value, random.Intn(700))
				}
				fields = append(fields, field{names[random.Intn(len(names))], value})
			}
			c.block(t, []int{200, 201, 204, 404, 418, 500}[random.Intn(6)], fields...)
			if c.encoder.size > c.encoder.limit {
				t.Fatalf("the table has %d of %d octets", c.encoder.size, c.encoder.limit)
			}
		}
	}
}

func BenchmarkFields(b *testing.B) {
	fields := []field{
		{"audit-id", "7e9f3a52-5f0c-4d5e-8a51-1f2b7e1a9d10"},
		{"cache-control", "no-cache, private"},
		{"content-length", "1234"},
		{"content-type", "application/json"},
		{"date", "Sat, 28 Nov 2026 03:00:00 GMT"},
	}
	e := newEncoder()
	b.ReportAllocs()
	for b.Loop() {
		e.begin()
		e.status(201)
		for _, f := range fields {
			e.write(f.name, f.value)
		}
	}
}
