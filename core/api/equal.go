package api

import (
	"fmt"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
)

// Equal compares what two pointers of one type point to and gives what equality.Semantic gives, at a fraction of the cost: how to
// compare a type is found out once, and parts that lie in the same place in memory are not looked at.
func Equal(a, b any) bool { return semantic.equal(a, b) }

// EqualInStore is Equal, but for times of which only whole seconds count, which is what the store keeps of them.
func EqualInStore(a, b any) bool { return inStore.equal(a, b) }

var (
	semantic = &comparison{general: equality.Semantic, times: func(a, b metav1.Time) bool { return a.UTC() == b.UTC() }}
	inStore  = &comparison{general: wholeSeconds(), times: sameSecond}
)

func sameSecond(a, b metav1.Time) bool { return a.IsZero() && b.IsZero() || a.Unix() == b.Unix() }

func wholeSeconds() conversion.Equalities {
	out := equality.Semantic.Copy()
	if err := out.AddFunc(sameSecond); err != nil {
		panic(fmt.Sprintf("compare times: %v", err)) // a function of the right form
	}
	return out
}

// comparer compares two values of one type that are part of something addressable or of a map.
type comparer func(a, b reflect.Value) bool

// comparison is a way to compare.
type comparison struct {
	general conversion.Equalities // for types that are not foreseen here
	times   func(a, b metav1.Time) bool
	made    sync.Map // reflect.Type → comparer
}

func (c *comparison) equal(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if x.Type() != y.Type() || x.Kind() != reflect.Pointer || x.IsNil() || y.IsNil() {
		return c.general.DeepEqual(a, b)
	}
	return x.Pointer() == y.Pointer() || c.of(x.Type().Elem(), map[reflect.Type]*comparer{})(x.Elem(), y.Elem())
}

// of returns how to compare a type; open are those that are being made, of which the type may be a part.
func (c *comparison) of(t reflect.Type, open map[reflect.Type]*comparer) comparer {
	if have, ok := c.made.Load(t); ok {
		return have.(comparer)
	}
	if later := open[t]; later != nil {
		return func(a, b reflect.Value) bool { return (*later)(a, b) }
	}
	made := new(comparer)
	open[t] = made
	*made = c.make(t, open)
	c.made.Store(t, *made)
	return *made
}

func (c *comparison) make(t reflect.Type, open map[reflect.Type]*comparer) comparer {
	switch t {
	case reflect.TypeFor[metav1.Time]():
		return func(a, b reflect.Value) bool {
			return c.times(a.Interface().(metav1.Time), b.Interface().(metav1.Time))
		}
	case reflect.TypeFor[resource.Quantity]():
		return func(a, b reflect.Value) bool {
			x, y := a.Interface().(resource.Quantity), b.Interface().(resource.Quantity)
			return x == y || x.Cmp(y) == 0
		}
	}
	if _, special := c.general.Equalities[t]; special {
		return c.ask
	}
	switch t.Kind() {
	case reflect.String:
		return func(a, b reflect.Value) bool { return a.String() == b.String() }
	case reflect.Bool:
		return func(a, b reflect.Value) bool { return a.Bool() == b.Bool() }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(a, b reflect.Value) bool { return a.Int() == b.Int() }
	case reflect.Pointer:
		below := c.of(t.Elem(), open)
		return func(a, b reflect.Value) bool {
			if a.IsNil() || b.IsNil() {
				return a.IsNil() == b.IsNil()
			}
			return a.Pointer() == b.Pointer() || below(a.Elem(), b.Elem())
		}
	case reflect.Slice:
		return c.slice(c.of(t.Elem(), open))
	case reflect.Map:
		return c.dict(c.of(t.Elem(), open))
	case reflect.Struct:
		return c.structure(t, open)
	default:
		return c.ask
	}
}

// ask lets the library compare.
func (c *comparison) ask(a, b reflect.Value) bool {
	return c.general.DeepEqual(a.Interface(), b.Interface())
}

// An empty list or map is one that is not there.
func (c *comparison) slice(below comparer) comparer {
	return func(a, b reflect.Value) bool {
		n := a.Len()
		if n != b.Len() {
			return false
		}
		if a.Pointer() == b.Pointer() {
			return true
		}
		for i := range n {
			if !below(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
}

func (c *comparison) dict(below comparer) comparer {
	return func(a, b reflect.Value) bool {
		if a.Len() != b.Len() {
			return false
		}
		if a.Pointer() == b.Pointer() {
			return true
		}
		for iter := a.MapRange(); iter.Next(); {
			other := b.MapIndex(iter.Key())
			if !other.IsValid() || !below(iter.Value(), other) {
				return false
			}
		}
		return true
	}
}

func (c *comparison) structure(t reflect.Type, open map[reflect.Type]*comparer) comparer {
	fields := make([]comparer, t.NumField())
	for i := range fields {
		if !t.Field(i).IsExported() {
			return c.ask
		}
		fields[i] = c.of(t.Field(i).Type, open)
	}
	return func(a, b reflect.Value) bool {
		for i, same := range fields {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	}
}
