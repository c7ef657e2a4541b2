package apiserver

import (
	"fmt"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
)

// What is computed here must be what the library computes, to the byte: for every kind, along chains of random writes by
// several managers.
func TestOwnershipIsWhatTheLibrarySays(t *testing.T) {
	s := &Server{Registry: all.Kinds()}
	s.managed.init(s.Registry)
	quick, slow := 0, 0
	for i, r := range s.Registry.All() {
		if s.managed.shapesOf(r).object == nil {
			if r.Stored() == r && !r.Computed {
				t.Logf("%s is left to the library", r.GroupVersionKind())
			}
			continue
		}
		t.Run(r.GroupResource().String(), func(t *testing.T) {
			for seed := range int64(12) {
				c := &chain{t: t, server: s, resource: r, random: rand.New(rand.NewSource(seed*1000 + int64(i)))}
				c.filler = filler(c.random)
				q, l := c.run()
				quick, slow = quick+q, slow+l
			}
		})
	}
	if slow*5 > quick {
		t.Errorf("%d writes took the quick way, %d did not", quick, slow)
	}
}

// chain is the life of one object.
type chain struct {
	t        *testing.T
	server   *Server
	resource *api.Resource
	random   *rand.Rand
	filler   *randfill.Filler
}

func (c *chain) run() (quick, slow int) {
	var old api.Object
	for step := range 8 {
		obj := c.next(old)
		q := &api.Request{Resource: c.resource, Manager: fmt.Sprintf("manager-%d", c.random.Intn(4))}
		if old != nil && c.resource.HasStatus && c.random.Intn(3) == 0 {
			q.Subresource = "status"
		}
		if c.write(step, q, obj, old) {
			quick++
		} else {
			slow++
		}
		old = obj
		c.age(old)
	}
	return quick, slow
}

// next makes a new object, or one that differs from old here and there.
func (c *chain) next(old api.Object) api.Object {
	obj := c.resource.New()
	if old == nil {
		c.filler.Fill(obj)
	} else {
		obj = old.DeepCopyObject().(api.Object)
		c.change(reflect.ValueOf(obj).Elem(), 0)
		obj.SetManagedFields(old.DeepCopyObject().(api.Object).GetManagedFields())
	}
	c.resource.SetType(obj)
	c.tame(reflect.ValueOf(obj).Elem())
	obj.SetUID("1")
	if old == nil {
		obj.SetManagedFields(nil)
	}
	return obj
}

// tame puts words where the filler has put any characters, in strings of types of their own.
func (c *chain) tame(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.tame(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				c.tame(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.tame(v.Index(i))
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			if key := iter.Key(); key.Kind() == reflect.String && !isASCII(key.String()) {
				v.SetMapIndex(key, reflect.Value{})
			}
		}
	case reflect.String:
		if v.CanSet() && !isASCII(v.String()) {
			v.SetString(word(c.random.Intn))
		}
	}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

// word is now and then a strange one.
func word(intn func(int) int) string {
	switch intn(40) {
	case 0:
		return []string{"", "a b", "\"quoted\"", "<&>", "TCP", "é", `\`}[intn(7)]
	case 1, 2, 3:
		return fmt.Sprintf("example.com/name-%d", intn(20))
	default:
		return fmt.Sprintf("w%d", intn(2000))
	}
}

// change fills some parts of a value anew, and leaves most of it.
func (c *chain) change(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		if !value.TypeReflectEntryOf(v.Type()).CanConvertToUnstructured() && depth < 12 {
			for i := range v.NumField() {
				if v.Field(i).CanSet() {
					c.change(v.Field(i), depth+1)
				}
			}
			return
		}
	case reflect.Pointer:
		if !v.IsNil() && c.random.Intn(10) > 0 {
			c.change(v.Elem(), depth+1)
			return
		}
	case reflect.Slice:
		if n := v.Len(); n > 0 {
			switch c.random.Intn(12) {
			case 0: // without the first
				v.Set(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, n), v.Slice(1, n)))
			case 1: // the other way round
				turned := reflect.MakeSlice(v.Type(), 0, n)
				for i := n - 1; i >= 0; i-- {
					turned = reflect.Append(turned, v.Index(i))
				}
				v.Set(turned)
			default:
				c.change(v.Index(c.random.Intn(n)), depth+1)
			}
			return
		}
	}
	if c.random.Intn(25) == 0 && v.CanAddr() {
		c.filler.Fill(v.Addr().Interface())
	}
}

// write lets both do the same and says whether ours did it.
func (c *chain) write(step int, q *api.Request, obj, old api.Object) bool {
	live := old
	if old == nil {
		live = c.resource.New()
		c.resource.SetType(live)
	}
	want := obj.DeepCopyObject().(api.Object)
	m, err := c.server.managed.of(c.resource, q.Subresource)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := m.Update(live.DeepCopyObject(), want.DeepCopyObject(), manager(q)); err != nil {
		return false // an object that validation refuses, such as one with two conditions that have no type
	}
	m.UpdateNoErrors(live.DeepCopyObject(), want, manager(q))
	before := obj.DeepCopyObject()
	ok := c.server.trackQuickly(q, obj, old)
	if !ok {
		if !reflect.DeepEqual(before, obj) {
			c.t.Errorf("step %d: the object was changed though nothing was done", step)
		}
		obj.SetManagedFields(want.GetManagedFields())
		return false
	}
	if d := cmp.Diff(told(want), told(obj)); d != "" {
		c.t.Fatalf("step %d, %s %q (-want +got):\n%s", step, q.Manager, q.Subresource, d)
	}
	return true
}

// told shows entries, with a mark in place of a time that is of just now.
func told(obj api.Object) []string {
	var out []string
	for _, e := range obj.GetManagedFields() {
		at := "never"
		if e.Time != nil {
			at = e.Time.UTC().Format(time.DateTime)
			if time.Since(e.Time.Time) < time.Hour {
				at = "now"
			}
		}
		out = append(out, fmt.Sprintf("%s %s %s %q %s %s %s", e.Manager, e.Operation, e.APIVersion, e.Subresource, e.FieldsType, at, e.FieldsV1.Raw))
	}
	return out
}

// age makes the entries older, each by another time, and some of them appliers'.
func (c *chain) age(obj api.Object) {
	entries := obj.GetManagedFields()
	for i := range entries {
		at := metav1.NewTime(time.Unix(1_700_000_000+c.random.Int63n(5), 0))
		entries[i].Time = &at
		if c.random.Intn(8) == 0 && entries[i].Operation == metav1.ManagedFieldsOperationUpdate {
			entries[i].Operation, entries[i].Manager = metav1.ManagedFieldsOperationApply, fmt.Sprintf("applier-%d", c.random.Intn(1<<20))
		}
	}
	obj.SetManagedFields(entries)
}

// filler makes small objects.
func filler(random *rand.Rand) *randfill.Filler {
	return randfill.New().RandSource(random).NilChance(.5).NumElements(0, 3).MaxDepth(11).Funcs(
		func(s *string, c randfill.Continue) { *s = word(c.Intn) },
		func(n *int32, c randfill.Continue) { *n = c.Int31n(3) * 9 },
		func(n *int64, c randfill.Continue) { *n = c.Int63n(3) * 9 },
		func(b *[]byte, c randfill.Continue) { *b = []byte(word(c.Intn)) },
		func(v *metav1.Time, c randfill.Continue) {
			*v = metav1.NewTime(time.Unix(c.Int63n(3)*1000, c.Int63n(2)))
		},
		func(v *metav1.MicroTime, c randfill.Continue) {
			*v = metav1.NewMicroTime(time.Unix(c.Int63n(3)*1000, c.Int63n(2)))
		},
		func(v *resource.Quantity, c randfill.Continue) {
			*v = resource.MustParse([]string{"1", "1000m", "1Gi", "0"}[c.Intn(4)])
		},
		func(v *intstr.IntOrString, c randfill.Continue) {
			*v = []intstr.IntOrString{intstr.FromInt32(0), intstr.FromInt32(8080), intstr.FromString("http")}[c.Intn(3)]
		},
		func(v *runtime.RawExtension, c randfill.Continue) {
			*v = runtime.RawExtension{Raw: []byte([]string{`{"a":1}`, `{"a":1,"b":[]}`}[c.Intn(2)])}
		},
		func(v *metav1.FieldsV1, _ randfill.Continue) { v.Raw = []byte("{}") },
	)
}
