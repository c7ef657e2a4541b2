package ownership

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type pruned struct {
	Text string            `json:"text,omitempty"`
	Size int               `json:"size"`
	Part *pruned           `json:"part,omitempty"`
	Map  map[string]string `json:"map,omitempty"`
	List []prunedItem      `json:"list,omitempty"`
	Tags []string          `json:"tags,omitempty"`
}

type prunedItem struct {
	Name string `json:"name"`
	Text string `json:"text,omitempty"`
}

// prunedShape is that of pruned, whose lists are found by name and by value.
func prunedShape(t *testing.T) *Shape {
	t.Helper()
	text := &node{form: leaf}
	object := func(of any, nodes map[string]*node) *node {
		fields, ok := fieldsOf(reflect.TypeOf(of))
		if !ok {
			t.Fatalf("no fields of %T", of)
		}
		n := &node{form: object, byName: map[string]*node{}}
		for i := range fields {
			f := &fields[i]
			below := nodes[f.json]
			if below == nil {
				below = text
			}
			n.fields = append(n.fields, nodeField{f, "f:" + f.json, below})
			n.byName["f:"+f.json] = below
		}
		return n
	}
	item := object(prunedItem{}, nil)
	list := &node{form: keyed, elem: item, keys: []key{{field: item.fields[0].field, prefix: `"name":`}}}
	lower := map[string]*node{"map": {form: dict, elem: text}, "list": list, "tags": {form: values, elem: text}}
	below := object(pruned{}, lower)
	lower["part"] = below
	return &Shape{root: object(pruned{}, lower)}
}

func TestPrune(t *testing.T) {
	for _, test := range []struct {
		name, gone, kept string
		in, want         pruned
		unsure           bool
	}{
		{name: "a field", gone: `{"f:text":{}}`, kept: `{"f:size":{}}`, in: pruned{Text: "a", Size: 1}, want: pruned{Size: 1}},
		{name: "one that is not there", gone: `{"f:text":{}}`, kept: `{"f:size":{}}`, in: pruned{Size: 1}, want: pruned{Size: 1}},
		{
			name: "a struct of which nobody owns anything", gone: `{"f:part":{"f:text":{}}}`, kept: `{"f:size":{}}`,
			in: pruned{Part: &pruned{Text: "a", Size: 3}}, want: pruned{},
		},
		{
			name: "a part of a struct", gone: `{"f:part":{"f:text":{}}}`, kept: `{"f:part":{"f:size":{}}}`,
			in: pruned{Part: &pruned{Text: "a", Size: 3}}, want: pruned{Part: &pruned{Size: 3}},
		},
		{
			name: "all of a struct that is owned as such", gone: `{"f:part":{"f:size":{}}}`, kept: `{"f:part":{}}`,
			in: pruned{Part: &pruned{Size: 3}}, unsure: true,
		},
		{name: "a key", gone: `{"f:map":{"f:a":{}}}`, kept: `{"f:map":{"f:b":{}}}`, in: pruned{Map: map[string]string{"a": "1", "b": "2"}}, want: pruned{Map: map[string]string{"b": "2"}}},
		{
			name: "an item", gone: `{"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:text":{}}}}`, kept: `{"f:list":{"k:{\"name\":\"b\"}":{".":{},"f:name":{}}}}`,
			in: pruned{List: []prunedItem{{"a", "1"}, {"b", "2"}, {"c", "3"}}}, want: pruned{List: []prunedItem{{"b", "2"}, {"c", "3"}}},
		},
		{
			name: "a part of an item", gone: `{"f:list":{"k:{\"name\":\"a\"}":{"f:text":{}}}}`, kept: `{"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}}`,
			in: pruned{List: []prunedItem{{"a", "1"}}}, want: pruned{List: []prunedItem{{"a", ""}}},
		},
		{
			name: "an item of which others own a part", gone: `{"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}}`, kept: `{"f:list":{"k:{\"name\":\"a\"}":{"f:text":{}}}}`,
			in: pruned{List: []prunedItem{{"a", "1"}}}, unsure: true,
		},
		{
			name: "the last item of a list", gone: `{"f:list":{"k:{\"name\":\"a\"}":{}}}`, kept: `{"f:list":{"k:{\"name\":\"b\"}":{}}}`,
			in: pruned{List: []prunedItem{{"a", "1"}}}, unsure: true,
		},
		{name: "a value", gone: `{"f:tags":{"v:\"a\"":{}}}`, kept: `{"f:tags":{"v:\"b\"":{}}}`, in: pruned{Tags: []string{"a", "b"}}, want: pruned{Tags: []string{"b"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := prunedShape(t)
			gone, ok := parse([]byte(test.gone), s.root)
			kept, ok2 := parse([]byte(test.kept), s.root)
			if !ok || !ok2 {
				t.Fatal("the sets cannot be read")
			}
			_, sure := s.prune(reflect.ValueOf(&test.in).Elem(), gone, kept)
			if sure == test.unsure {
				t.Fatalf("sure: %v", sure)
			}
			if d := cmp.Diff(test.want, test.in); sure && d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}
