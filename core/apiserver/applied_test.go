package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/api/fastjson"
)

// applySeeds is how many chains there are for each kind.
const applySeeds = 8

// What an apply makes of an object, and whom its fields belong to then, must be what the library says, to the byte: for every kind,
// along chains of random applies and writes by several managers.
func TestApplyIsWhatTheLibraryMakes(t *testing.T) {
	s := &Server{Registry: all.Kinds()}
	s.managed.init(s.Registry)
	var sum tally
	for i, r := range s.Registry.All() {
		if s.managed.shapesOf(r).object == nil || r.Stored() != r || r.Question {
			continue
		}
		t.Run(r.GroupResource().String(), func(t *testing.T) {
			for seed := range int64(applySeeds) {
				c := &applyChain{chain: chain{t: t, server: s, resource: r, random: rand.New(rand.NewSource(seed*1000 + int64(i)))}}
				c.filler = filler(c.random)
				c.run(&sum)
			}
		})
	}
	t.Logf("%+v", sum)
	if sum.quick < sum.all/2 || sum.prunedQuickly < sum.pruned/2 || sum.untrackedQuickly < sum.untracked/2 || sum.createdQuickly < sum.created/2 {
		t.Errorf("more than half of the applies, or of some sort of them, were left to the library: %+v", sum)
	}
	if sum.shared == 0 {
		t.Error("no apply was one to metadata alone")
	}
}

// FuzzApply is that test for chains that a seed makes.
func FuzzApply(f *testing.F) {
	s := &Server{Registry: all.Kinds()}
	s.managed.init(s.Registry)
	var kinds []*api.Resource
	for _, r := range s.Registry.All() {
		if s.managed.shapesOf(r).object != nil && r.Stored() == r && !r.Question {
			kinds = append(kinds, r)
		}
	}
	for i := range kinds {
		f.Add(int64(i), uint16(i))
	}
	f.Fuzz(func(t *testing.T, seed int64, kind uint16) {
		c := &applyChain{chain: chain{t: t, server: s, resource: kinds[int(kind)%len(kinds)], random: rand.New(rand.NewSource(seed))}}
		c.filler = filler(c.random)
		c.run(&tally{})
	})
}

// tally counts applies: those that the library makes, those of them that were made without it, and those that it refuses.
type tally struct{ all, quick, shared, refused, pruned, prunedQuickly, untracked, untrackedQuickly, created, createdQuickly int }

type applyChain struct {
	chain
	given map[string]map[string]any // what each applier has applied last
}

func (c *applyChain) run(sum *tally) {
	var old api.Object
	c.given = map[string]map[string]any{}
	for step := range 12 {
		old = c.stored(old)
		if old != nil && c.random.Intn(4) == 0 {
			old = c.update(old)
			continue
		}
		if obj := c.apply(step, old, sum); obj != nil {
			old = obj
			c.age(old)
		}
	}
}

// stored is what comes back from the store: random objects have empty lists that are none there.
func (c *applyChain) stored(obj api.Object) api.Object {
	if obj == nil {
		return nil
	}
	data, err := c.resource.EncodeStored(obj)
	if err != nil {
		return obj
	}
	if out, _, err := c.resource.DecodeStored(data); err == nil {
		return out
	}
	return obj
}

// update is a write by somebody who does not apply.
func (c *applyChain) update(old api.Object) api.Object {
	obj := c.next(old)
	m, err := c.server.managed.of(c.resource, "")
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := m.Update(old.DeepCopyObject(), obj.DeepCopyObject(), "updater"); err != nil {
		return old
	}
	m.UpdateNoErrors(old.DeepCopyObject(), obj, fmt.Sprintf("updater-%d", c.random.Intn(3)))
	wholeSeconds(obj)
	return obj
}

func (c *applyChain) apply(step int, old api.Object, sum *tally) api.Object {
	q := &api.Request{Resource: c.resource, Namespace: "ns", Name: "a", Manager: fmt.Sprintf("applier-%d", c.random.Intn(3))}
	if old != nil && c.resource.HasStatus && c.random.Intn(4) == 0 {
		q.Subresource = "status"
	}
	if old != nil && c.random.Intn(12) == 0 {
		old.SetManagedFields(nil) // somebody has given up tracking it
	}
	live := old
	if old == nil {
		live = c.resource.New()
		c.resource.SetType(live)
	}
	force := c.random.Intn(2) == 0
	who := q.Manager + q.Subresource
	data, err := json.Marshal(c.configure(live, c.given[who]))
	if err != nil {
		c.t.Fatal(err)
	}
	conf, err := decodePlain(q, data)
	if err != nil {
		c.t.Fatalf("%v: %s", err, data)
	}
	if conf == nil {
		return nil // it is no object of the kind
	}
	managers, err := c.server.managed.of(c.resource, q.Subresource)
	if err != nil {
		c.t.Fatal(err)
	}
	before := live.DeepCopyObject()
	merged, wrong := librarys(managers, live, conf, q.Manager, force)
	got, shares, ok := c.server.mergeQuickly(q, live, conf, force)
	if !reflect.DeepEqual(before, live) {
		c.t.Fatalf("step %d: the live object was changed", step)
	}
	if errors.Is(wrong, errPanic) {
		return nil
	}
	if wrong != nil {
		sum.refused++
		if ok {
			c.t.Fatalf("step %d: an apply was taken that the library refuses: %v\n%s", step, wrong, data)
		}
		return nil
	}
	sum.all++
	want := merged.(api.Object)
	wholeSeconds(want)
	c.given[who] = conf.wanted.Object
	sum.count(&c.chain, live, want, ok)
	if !ok {
		want.SetUID("1")
		return want
	}
	sum.quick++
	c.compare(step, q, data, want, got)
	if shares {
		sum.shared++
		got = got.DeepCopyObject().(api.Object)
	}
	got.SetUID("1")
	return got
}

// count tells apart applies that remove something, those to what nobody tracks, and those that create.
func (t *tally) count(c *chain, live, want api.Object, quick bool) {
	untracked := live.GetUID() != "" && len(live.GetManagedFields()) == 0
	less := jsonSize(c.t, want) < jsonSize(c.t, live)
	for _, n := range []struct {
		is         bool
		all, quick *int
	}{{untracked, &t.untracked, &t.untrackedQuickly}, {less, &t.pruned, &t.prunedQuickly}, {live.GetUID() == "", &t.created, &t.createdQuickly}} {
		if n.is {
			*n.all++
			if quick {
				*n.quick++
			}
		}
	}
}

// jsonSize is without managedFields.
func jsonSize(t *testing.T, obj api.Object) int {
	obj = obj.DeepCopyObject().(api.Object)
	obj.SetManagedFields(nil)
	text, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return len(text)
}

var errPanic = errors.New("panic")

// librarys is what the library makes of it. It panics where sets of fields and objects are at odds in a way that it did not foresee,
// such as an item that is owned in a list that is null.
func librarys(m *managedfields.FieldManager, live api.Object, conf *configuration, manager string, force bool) (out runtime.Object, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v", errPanic, cause)
		}
	}()
	return m.Apply(live.DeepCopyObject(), conf.wanted.DeepCopy(), manager, force)
}

func (c *applyChain) compare(step int, q *api.Request, data []byte, want, got api.Object) {
	c.t.Helper()
	if d := cmp.Diff(told(want), told(got)); d != "" {
		c.t.Fatalf("step %d, %s %q applies %s (-want +got):\n%s", step, q.Manager, q.Subresource, data, d)
	}
	var texts [2]string
	for i, obj := range []api.Object{want, got} {
		obj := obj.DeepCopyObject().(api.Object)
		obj.SetManagedFields(nil)
		if c.resource.Default != nil {
			c.resource.Default(obj)
		}
		text, err := fastjson.Append(nil, obj)
		if err != nil {
			c.t.Fatal(err)
		}
		texts[i] = string(text)
	}
	if d := cmp.Diff(texts[0], texts[1]); d != "" {
		c.t.Fatalf("step %d, %s %q applies %s (-want +got):\n%s", step, q.Manager, q.Subresource, data, d)
	}
}

// configure makes something to apply: what was applied before, a part of what there is, or something new, changed here and there.
func (c *applyChain) configure(live api.Object, last map[string]any) map[string]any {
	from := c.asGiven(c.next(nil))
	out := map[string]any{}
	switch n := c.random.Intn(6); {
	case last != nil && n < 3:
		c.mix(out, last, 100)
		if n > 0 {
			c.mix(out, from, 20)
		}
		if n == 2 {
			c.drop(out)
		}
	case n < 5:
		c.mix(out, c.asGiven(live), 60)
		c.mix(out, from, 10)
	default:
		c.mix(out, from, 70)
	}
	if c.random.Intn(12) == 0 {
		c.spoil(out)
	}
	metadata, ok := out["metadata"].(map[string]any)
	if !ok {
		metadata = map[string]any{}
		out["metadata"] = metadata
	}
	for _, field := range []string{"managedFields", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"} {
		delete(metadata, field)
	}
	metadata["name"], metadata["namespace"] = "a", "ns"
	out["apiVersion"], out["kind"] = c.resource.APIVersion(), c.resource.Kind
	return out
}

// asGiven is an object as a client would write it: without null.
func (c *applyChain) asGiven(obj api.Object) map[string]any {
	data, err := fastjson.Append(nil, obj)
	if err != nil {
		return map[string]any{} // the random one has something that is no JSON
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		c.t.Fatal(err)
	}
	delete(out, "status")
	if c.random.Intn(3) == 0 {
		if err := json.Unmarshal(data, &out); err != nil {
			c.t.Fatal(err)
		}
	}
	withoutNulls(out)
	return out
}

func withoutNulls(j any) {
	switch j := j.(type) {
	case map[string]any:
		maps.DeleteFunc(j, func(_ string, v any) bool { return v == nil })
		for _, v := range j {
			withoutNulls(v)
		}
	case []any:
		for _, v := range j {
			withoutNulls(v)
		}
	}
}

// mix takes some of what is in from, in percent, into out.
func (c *applyChain) mix(out, from map[string]any, share int) {
	for _, name := range slices.Sorted(maps.Keys(from)) {
		below, ok := from[name].(map[string]any)
		has, both := out[name].(map[string]any)
		switch {
		case ok && len(below) > 0 && (both || out[name] == nil):
			if !both {
				has = map[string]any{}
			}
			if c.mix(has, below, share); len(has) > 0 {
				out[name] = has
			}
		case c.random.Intn(100) < share:
			out[name] = c.blend(out[name], from[name])
		}
	}
}

// blend makes one list of two now and then, in another order and with items that are changed, and otherwise takes the second value.
func (c *applyChain) blend(a, b any) any {
	x, ok := a.([]any)
	y, both := b.([]any)
	if !ok && !both || c.random.Intn(3) == 0 {
		return b
	}
	var out []any
	for _, item := range slices.Concat(x, y) {
		same := func(o any) bool { return reflect.DeepEqual(o, item) }
		if below, ok := item.(map[string]any); ok {
			changed := maps.Clone(below)
			for _, name := range slices.Sorted(maps.Keys(below)) {
				if c.random.Intn(10) == 0 && reflect.TypeOf(below[name]) == reflect.TypeFor[string]() && name != "name" {
					changed[name] = word(c.random.Intn)
				}
			}
			item = changed
			same = func(o any) bool {
				other, _ := o.(map[string]any)
				return other != nil && other["name"] != nil && other["name"] == below["name"] || other["type"] != nil && other["type"] == below["type"]
			}
		}
		if c.random.Intn(8) > 0 && !slices.ContainsFunc(out, same) {
			out = append(out, item)
		}
	}
	if c.random.Intn(3) == 0 {
		c.random.Shuffle(len(out), reflect.Swapper(out))
	}
	if len(out) == 0 {
		return b
	}
	return out
}

// drop takes something away.
func (c *applyChain) drop(out map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(out)) {
		if c.random.Intn(4) == 0 {
			delete(out, name)
		} else if below, ok := out[name].(map[string]any); ok {
			c.drop(below)
		}
	}
}

// spoil makes something unusual of it.
func (c *applyChain) spoil(out map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(out)) {
		switch v := out[name].(type) {
		case map[string]any:
			if c.random.Intn(8) == 0 {
				out[name] = map[string]any{}
				continue
			}
			c.spoil(v)
		case []any:
			if c.random.Intn(4) == 0 {
				out[name] = []any{}
			} else if len(v) > 0 && c.random.Intn(3) == 0 {
				out[name] = append(slices.Clone(v), v[0]) // the same twice
			}
		case string:
			if c.random.Intn(6) == 0 {
				out[name] = ""
			}
		case bool:
			if c.random.Intn(3) == 0 {
				out[name] = false
			}
		case float64:
			if c.random.Intn(3) == 0 {
				out[name] = 0
			}
		}
		if c.random.Intn(20) == 0 {
			out[name] = nil
		}
	}
}
