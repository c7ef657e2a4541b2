package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/store"
)

func TestASnapshotNeverChanges(t *testing.T) {
	r := newRig(t)
	a := r.put(pod("a", "", "1"))
	before := r.Of(pods).Snapshot()
	b := r.put(pod("b", "", "2"))
	a2 := r.put(pod("a", "n", "1"))
	r.drop("b")
	after := r.Of(pods).Snapshot()
	if got, want := names(before), fmt.Sprintf("a@%d", a); got != want || before.Revision != a {
		t.Errorf("before: %s at %d, want %s", got, before.Revision, want)
	}
	if got, want := names(after), fmt.Sprintf("a@%d", a2); got != want {
		t.Errorf("after: %s, want %s", got, want)
	}
	for revision, want := range map[int64]string{1: "", a: fmt.Sprintf("a@%d", a), b: fmt.Sprintf("a@%d b@%d", a, b), a2: fmt.Sprintf("a@%d b@%d", a2, b)} {
		at, err := r.Of(pods).At(revision)
		if err != nil || names(at) != want || at.Revision != revision {
			t.Errorf("at %d: %s %v, want %s", revision, names(at), err, want)
		}
	}
	if _, err := r.Of(pods).At(after.Revision + 1); !errors.Is(err, ErrExpired) {
		t.Errorf("the future: %v", err)
	}
}

func TestHistoryForgetsTheOldest(t *testing.T) {
	r := newRig(t)
	first := r.put(pod("a", "", "1"))
	kept := r.Of(pods).Snapshot()
	r.Of(pods).Keep(kept)
	for range historyMax {
		r.mem.put(pods.Key("ns", "a"), r.encode(pod("a", "", "1")))
	}
	last := r.put(pod("a", "", "1"))
	if _, err := r.Of(pods).Watch(first-1, Scope{}); !errors.Is(err, ErrExpired) {
		t.Errorf("watch from before: %v, want ErrExpired", err)
	}
	w, err := r.Of(pods).Watch(last-3, Scope{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	want := []string{fmt.Sprintf("MODIFIED a@%d", last-2), fmt.Sprintf("MODIFIED a@%d", last-1), fmt.Sprintf("MODIFIED a@%d", last)}
	if d := cmp.Diff(want, poll(t, w)); d != "" {
		t.Error(d)
	}
	if at, err := r.Of(pods).At(first); err != nil || names(at) != fmt.Sprintf("a@%d", first) {
		t.Errorf("the kept snapshot: %v", err)
	}
}

func TestTopicsWakeWhomTheyConcern(t *testing.T) {
	r := newRig(t)
	col := r.Of(pods)
	scopes := map[string]Scope{
		"all": {}, "ns": {Namespace: "ns"}, "other": {Namespace: "other"}, "name": {Namespace: "ns", Name: "a"},
		"n1": {Field: "spec.nodeName", Value: "n1"}, "n2": {Field: "spec.nodeName", Value: "n2"},
	}
	live := map[string]*Watcher{}
	for name, s := range scopes {
		_, live[name] = col.SnapshotAndWatch(s)
		defer live[name].Close()
	}
	start := r.Revision()
	a := r.put(pod("a", "n1", "1"))
	b := r.put(pod("b", "n1", "2"))
	moved := r.put(pod("a", "n2", "1"))
	gone := r.drop("b")
	ev := func(kind, name string, rev int64) string { return fmt.Sprintf("%s %s@%d", kind, name, rev) }
	all := []string{ev("ADDED", "a", a), ev("ADDED", "b", b), ev("MODIFIED", "a", moved), ev("DELETED", "b", gone)}
	want := map[string][]string{
		"all": all, "ns": all, "n1": all, "other": nil, "name": {all[0], all[2]}, "n2": {all[2]},
	}
	for name, s := range scopes {
		if d := cmp.Diff(want[name], poll(t, live[name])); d != "" {
			t.Errorf("live %s: %s", name, d)
		}
		late, err := col.Watch(start, s)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want[name], poll(t, late)); d != "" {
			t.Errorf("late %s: %s", name, d)
		}
		late.Close()
	}
}

func TestSlowWatchersAreCutUnlessPatient(t *testing.T) {
	r := newRig(t)
	_, slow := r.Of(pods).SnapshotAndWatch(Scope{})
	_, patient := r.Of(pods).SnapshotAndWatch(Scope{})
	defer slow.Close()
	defer patient.Close()
	patient.SetPatient()
	value := r.encode(pod("a", "", "1"))
	for i := range int64(maxLag + 2048) {
		r.applyOne(store.Event{KV: store.KV{Key: pods.Key("ns", "a"), Value: value, Revision: 100 + i}})
	}
	if _, err := slow.Next(t.Context(), nil); !errors.Is(err, ErrSlow) {
		t.Errorf("slow: %v, want ErrSlow", err)
	}
	if got, err := patient.Next(t.Context(), nil); err != nil || len(got) != maxLag+2048 {
		t.Errorf("patient: %d events, %v", len(got), err)
	}
}

func TestExpectedWritesAreNotDecoded(t *testing.T) {
	r := newRig(t)
	obj := pod("a", "", "1")
	value := r.encode(obj)
	key := pods.Key("ns", "a")
	one, same := r.Expect(key, value, obj), r.Expect(key, value, pod("a", "", "1"))
	other := r.Expect(key, []byte("other"), pod("a", "", "1"))
	r.wait(r.mem.put(key, value))
	entry := <-one.Done()
	if entry.Object != api.Object(obj) || r.Of(pods).Get(key) != entry || obj.ResourceVersion != fmt.Sprint(entry.Revision) {
		t.Errorf("the entry holds %p, want %p", entry.Object, obj)
	}
	if twin := <-same.Done(); twin != entry {
		t.Error("an equal write got another entry")
	}
	select {
	case <-other.Done():
		t.Error("another write was answered")
	default:
	}
	for _, x := range []*Expectation{one, same, other} {
		x.Drop()
	}
	if len(r.expected.byKey) != 0 {
		t.Errorf("left over: %v", r.expected.byKey)
	}
}

func TestAReloadTellsWhatWasMissed(t *testing.T) {
	r := newRig(t)
	r.put(pod("stays", "", "1"))
	r.put(pod("goes", "", "2"))
	r.put(pod("anew", "", "3"))
	before := r.put(pod("changes", "", "4"))
	_, w := r.Of(pods).SnapshotAndWatch(Scope{})
	defer w.Close()
	stays := r.Of(pods).Get(pods.Key("ns", "stays"))
	var last int64
	r.mem.lose(func() {
		r.mem.put(pods.Key("ns", "goes"), nil)
		r.mem.put(pods.Key("ns", "anew"), nil)
		r.mem.put(pods.Key("ns", "changes"), r.encode(pod("changes", "n", "4")))
		last = r.mem.put(pods.Key("ns", "anew"), r.encode(pod("anew", "", "5")))
	})
	r.wait(last)
	var got []string
	for _, s := range poll(t, w) {
		kind, _, _ := strings.Cut(s, "@")
		got = append(got, kind)
	}
	slices.Sort(got)
	if d := cmp.Diff([]string{"ADDED anew", "DELETED anew", "DELETED goes", "MODIFIED changes"}, got); d != "" {
		t.Error(d)
	}
	if r.Of(pods).Get(pods.Key("ns", "stays")) != stays {
		t.Error("what did not change was loaded anew")
	}
	if _, err := r.Of(pods).Watch(before, Scope{}); !errors.Is(err, ErrExpired) {
		t.Errorf("watch from before the gap: %v, want ErrExpired", err)
	}
	r.put(pod("later", "", "6"))
	if got := poll(t, w); len(got) != 1 || !strings.HasPrefix(got[0], "ADDED later") {
		t.Errorf("after the reload: %q", got)
	}
}

func TestSeeThroughASelector(t *testing.T) {
	sel, err := NewSelector(pods, labels.SelectorFromSet(labels.Set{"on": "n"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(node string, rev int64) *Entry {
		if rev == 0 {
			return nil
		}
		return &Entry{Key: "k", Revision: rev, Object: pod("a", node, "1")}
	}
	for _, c := range []struct {
		name string
		ev   Event
		want string
		node string
	}{
		{"added inside", Event{Type: "ADDED", Entry: entry("n", 2)}, "ADDED", "n"},
		{"added outside", Event{Type: "ADDED", Entry: entry("m", 2)}, "", ""},
		{"stays inside", Event{Type: "MODIFIED", Entry: entry("n", 3), Prev: entry("n", 2)}, "MODIFIED", "n"},
		{"comes in", Event{Type: "MODIFIED", Entry: entry("n", 3), Prev: entry("m", 2)}, "ADDED", "n"},
		{"goes out", Event{Type: "MODIFIED", Entry: entry("m", 3), Prev: entry("n", 2)}, "DELETED", "n"},
		{"stays outside", Event{Type: "MODIFIED", Entry: entry("m", 3), Prev: entry("m", 2)}, "", ""},
		{"deleted inside", Event{Type: "DELETED", Entry: entry("n", 3), Prev: entry("n", 2)}, "DELETED", "n"},
		{"deleted outside", Event{Type: "DELETED", Entry: entry("m", 3), Prev: entry("m", 2)}, "", ""},
	} {
		got, ok := sel.See(&c.ev)
		if ok != (c.want != "") {
			t.Errorf("%s: seen %t", c.name, ok)
			continue
		}
		if ok && (string(got.Type) != c.want || got.Entry.Object.(*corev1.Pod).Spec.NodeName != c.node || got.Entry.Revision != c.ev.Entry.Revision) {
			t.Errorf("%s: %s of %+v", c.name, got.Type, got.Entry.Object)
		}
	}
	if _, err := NewSelector(pods, nil, fields.OneTermEqualSelector("spec.none", "x")); err == nil {
		t.Error("an unknown field was taken")
	}
}

func TestIndexesFollow(t *testing.T) {
	r := newRig(t)
	r.put(pod("a", "n1", "1"))
	col := r.Of(pods)
	col.AddIndex("node", func(o api.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} })
	r.put(pod("b", "n1", "2"))
	r.put(pod("a", "n2", "1"))
	r.put(pod("c", "n1", "3"))
	r.drop("c")
	for value, want := range map[string]string{"n1": "b", "n2": "a", "n3": ""} {
		entries, ok := col.ByIndex("node", value)
		got := ""
		for _, e := range entries {
			got += e.Object.GetName()
		}
		if !ok || got != want {
			t.Errorf("%s: %s %t, want %s", value, got, ok, want)
		}
		if none := col.NoneByIndex("node", value); none != (want == "") {
			t.Errorf("%s: there is none: %v, want %s", value, none, want)
		}
	}
	if _, ok := col.ByIndex("none", ""); ok || col.NoneByIndex("none", "") {
		t.Error("an index that nobody made answers")
	}
}

func TestWaitForTheFutureEnds(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.WaitFor(ctx, 1000); !errors.Is(err, ErrFuture) {
		t.Errorf("got %v, want ErrFuture", err)
	}
	if len(r.waiting) != 0 {
		t.Errorf("left over: %d", len(r.waiting))
	}
	if err := r.Latest(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnUnreadableObjectDoesNotStopTheOthers(t *testing.T) {
	r := newRig(t)
	r.mem.put(pods.Key("ns", "bad"), []byte("k8s\x00junk"))
	r.mem.put("/registry/unknown/x", []byte("x"))
	r.put(pod("good", "", "1"))
	if got := r.Of(pods).Snapshot(); got.Len() != 1 || got.Get(pods.Key("ns", "good")) == nil {
		t.Errorf("cached: %s", names(got))
	}
}

func TestAnEntryIsEncodedOnce(t *testing.T) {
	e := &Entry{Object: pod("a", "", "1")}
	one, err := e.JSON()
	if err != nil {
		t.Fatal(err)
	}
	two, _ := e.JSON()
	if &one[0] != &two[0] {
		t.Error("encoded twice")
	}
}

// starting is a store that lists what it had applied before it leads, and then has more.
type starting struct {
	*memory
	leads, asked chan struct{}
}

func (s *starting) Revision(ctx context.Context) (int64, error) {
	<-s.leads
	defer close(s.asked)
	return s.memory.Revision(ctx)
}

func (s *starting) Watch(ctx context.Context, prefix string, revision int64, visit func([]store.Event, int64) error) error {
	select {
	case <-s.asked:
		return s.memory.Watch(ctx, prefix, revision, visit)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestTheCacheIsSyncedOnceItHasWhatTheLeaderHas(t *testing.T) {
	s := &starting{newMemory(), make(chan struct{}), make(chan struct{})}
	r := &rig{t, New(s, api.NewRegistry(pods, configMaps)), s.memory}
	listed := s.put(pods.Key("ns", "one"), r.encode(pod("one", "", "1")))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx)
	}()
	defer func() {
		cancel()
		<-done
	}()
	r.wait(listed)
	later := s.put(pods.Key("ns", "two"), r.encode(pod("two", "", "2")))
	close(s.leads)
	<-r.Synced()
	if got, want := names(r.Of(pods).Snapshot()), fmt.Sprintf("one@%d two@%d", listed, later); got != want {
		t.Errorf("synced with %s, want %s", got, want)
	}
}

// Who watches before anything is loaded sees it as events, in order of revisions; who comes later goes on from there.
func TestWhatIsLoadedIsSeenByThoseWhoWatch(t *testing.T) {
	m := newMemory()
	r := &rig{t, New(m, api.NewRegistry(pods, configMaps)), m}
	for _, name := range []string{"b", "a", "c"} {
		m.put(pods.Key("ns", name), r.encode(pod(name, "", name)))
	}
	_, early := r.Of(pods).SnapshotAndWatch(Scope{})
	defer early.Close()
	if err := r.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"ADDED b@2", "ADDED a@3", "ADDED c@4"}, poll(t, early)); d != "" {
		t.Error(d)
	}
	if got := names(r.Of(pods).Snapshot()); got != "a@3 b@2 c@4" {
		t.Errorf("loaded %s", got)
	}
	late, err := r.Of(pods).Watch(4, Scope{})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if _, err := r.Of(pods).Watch(3, Scope{}); !errors.Is(err, ErrExpired) {
		t.Errorf("a watch from before the load: %v, want ErrExpired", err)
	}
	if err := r.load(t.Context()); err != nil { // again, with nothing new
		t.Fatal(err)
	}
	if got := append(poll(t, early), poll(t, late)...); len(got) > 0 {
		t.Errorf("events of what was there: %v", got)
	}
}

func TestAnIndexHasWhatIsLoaded(t *testing.T) {
	m := newMemory()
	r := &rig{t, New(m, api.NewRegistry(pods, configMaps)), m}
	m.put(pods.Key("ns", "a"), r.encode(pod("a", "node", "1")))
	r.Of(pods).AddIndex("node", func(o api.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} })
	if err := r.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found, ok := r.Of(pods).ByIndex("node", "node"); !ok || len(found) != 1 || r.Of(pods).Changed() != 2 {
		t.Errorf("%d of one pod found, %v, changed at %d", len(found), ok, r.Of(pods).Changed())
	}
}
