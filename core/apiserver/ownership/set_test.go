package ownership

import (
	"cmp"
	"testing"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// The order of names must be the library's, or merging would lose some.
func TestNamesAreOrderedAsTheLibraryDoes(t *testing.T) {
	names := []string{
		"f:", "f:a", "f:a.b", "f:b", `k:{"ip":"10.0.0.1"}`, `k:{"ip":"10.0.0.10"}`, `k:{"ip":"10.0.0.1!"}`, `k:{"name":"a"}`, `k:{"name":""}`,
		`k:{"containerPort":80,"protocol":"TCP"}`, `k:{"containerPort":443,"protocol":"TCP"}`, `k:{"containerPort":80,"protocol":"UDP"}`,
		`k:{"containerPort":80}`, `k:{"containerPort":80,"name":"x"}`, `k:{"key":1}`, `k:{"key":"1"}`, `k:{"key":true}`, `k:{"key":"a\"b"}`, `k:{"key":1.5}`,
		`k:{"key":-1}`, `v:"a"`, `v:"b"`, `v:"a b"`, `v:1`, `v:10`, `v:9`, `v:true`, "i:1", "i:10", "i:9",
	}
	for _, a := range names {
		for _, b := range names {
			x, errX := fieldpath.DeserializePathElement(a)
			y, errY := fieldpath.DeserializePathElement(b)
			if errX != nil || errY != nil {
				t.Fatal(errX, errY)
			}
			if got, want := cmp.Compare(compareNames(a, b), 0), x.Compare(y); got != want {
				t.Errorf("compareNames(%s, %s) is %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestParse(t *testing.T) {
	item := &node{form: object, byName: map[string]*node{"f:name": {form: leaf}}}
	shape := &node{form: object, byName: map[string]*node{
		"f:list": {form: keyed, elem: item}, "f:whole": {form: leaf, atomic: true}, "f:text": {form: leaf},
	}}
	tests := []struct {
		raw string
		ok  bool
	}{
		{`{"f:list":{".":{},"k:{\"name\":\"a\"}":{".":{},"f:name":{}}},"f:text":{},"f:whole":{}}`, true},
		{`{"f:unheardof":{"f:x":{}}}`, true},
		{`{"f:whole":{"f:x":{}}}`, false}, // it was in parts when this was written
		{`{"f:text":{},"f:list":{}}`, false},
		{`{"f:text":{},"f:text":{}}`, false},
		{`{"f:text": {}}`, false},
		{`{"f:text":{".":{}}}`, false},
		{`{"f:text":{}`, false},
		{`{"f:text":{}}}`, false},
		{`{"f:t\u0065xt":{}}`, false},
		{`{"i:1":{}}`, false},
		{`{"x":{}}`, false},
		{``, false},
	}
	for _, tt := range tests {
		got, ok := parse([]byte(tt.raw), shape)
		if ok != tt.ok {
			t.Errorf("parse(%s) is %v, want %v", tt.raw, ok, tt.ok)
		}
		if ok && string(encode(got)) != tt.raw {
			t.Errorf("%s became %s", tt.raw, encode(got))
		}
	}
}
