package cache

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestColdEncodingsAreForgotten(t *testing.T) {
	r := newRig(t)
	r.put(pod("p", "a", "1"))
	col := r.Of(pods)
	old := col.Get(pods.Key("ns", "p"))
	first, err := old.JSON()
	if err != nil {
		t.Fatal(err)
	}
	r.put(pod("p", "b", "1"))
	now := col.Get(pods.Key("ns", "p"))
	if _, err := now.Protobuf(); err != nil {
		t.Fatal(err)
	}
	encoded := func() (out []bool) {
		for _, e := range []*Entry{old, now} {
			out = append(out, e.json.Load() != nil, e.protobuf.Load() != nil)
		}
		return out
	}
	steps := []struct {
		name string
		do   func()
		want []bool
	}{
		{"asked for since the last turn", func() { r.coolDown(0) }, []bool{true, false, false, true}},
		{"asked for again, one of them", func() { _, _ = now.Protobuf(); r.coolDown(0) }, []bool{false, false, false, true}},
		{"not asked for", func() { r.coolDown(0) }, []bool{false, false, false, false}},
	}
	for _, s := range steps {
		s.do()
		if diff := cmp.Diff(s.want, encoded()); diff != "" {
			t.Errorf("%s: %s", s.name, diff)
		}
	}
	again, err := old.JSON()
	if diff := cmp.Diff(string(first), string(again)); err != nil || diff != "" {
		t.Errorf("encoded anew: %v %s", err, diff)
	}
}

func TestOldEventsAreForgotten(t *testing.T) {
	r := newRig(t)
	var revisions []int64
	for i := range rememberLeast + 50 {
		revisions = append(revisions, r.put(pod("p", fmt.Sprint(i), "1")))
	}
	col := r.Of(pods)
	tests := []struct {
		name string
		upTo int64
		from int64 // of the first event that is remembered
	}{
		{"none is so old", revisions[0] - 1, revisions[0]},
		{"some are", revisions[9], revisions[10]},
		{"all are, but the last ones stay", revisions[len(revisions)-1], revisions[50]},
	}
	for _, tt := range tests {
		r.coolDown(tt.upTo)
		w, err := col.Watch(tt.from-1, Scope{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := poll(t, w); len(got) == 0 || got[0] != describeFirst(col, tt.from) {
			t.Errorf("%s: a watch begins with %v, want revision %d", tt.name, got[:min(1, len(got))], tt.from)
		}
		w.Close()
		if tt.from > revisions[0] {
			if _, err := col.Watch(tt.from-2, Scope{}); !errors.Is(err, ErrExpired) {
				t.Errorf("%s: a watch from before begins, with %v", tt.name, err)
			}
		}
	}
	// What comes is remembered as before.
	last := r.put(pod("p", "last", "1"))
	if events, ok := col.history.since(last - 1); !ok || len(events) != 1 {
		t.Errorf("after the last one there are %d events, %v", len(events), ok)
	}
}

func describeFirst(col *Collection, revision int64) string {
	events, _ := col.history.since(revision - 1)
	return describe(events)[0]
}

func TestSnapshotsExpire(t *testing.T) {
	r := newRig(t)
	r.put(pod("p", "a", "1"))
	col := r.Of(pods)
	col.Keep(col.Snapshot())
	col.kept.expire(time.Now())
	if len(col.kept.list) != 1 {
		t.Error("a snapshot has expired at once")
	}
	col.kept.expire(time.Now().Add(keepFor))
	if len(col.kept.list) != 0 {
		t.Error("a snapshot stays for ever")
	}
}
