package store

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Open(ctx, Config{Dir: dir, Tick: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWritesCompareRevisions(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	ctx := t.Context()
	first, err := s.Create(ctx, "/registry/a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(ctx, "/registry/a", []byte("2"), 0); !errors.Is(err, ErrExists) {
		t.Errorf("second create: got %v, want ErrExists", err)
	}
	second, err := s.Update(ctx, "/registry/a", []byte("2"), first, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(ctx, "/registry/a", []byte("3"), first, 0); !errors.Is(err, ErrConflict) {
		t.Errorf("update at an old revision: got %v, want ErrConflict", err)
	}
	if _, err := s.Delete(ctx, "/registry/a", first); !errors.Is(err, ErrConflict) {
		t.Errorf("delete at an old revision: got %v, want ErrConflict", err)
	}
	got, ok, err := s.Get(ctx, "/registry/a")
	want := KV{Key: "/registry/a", Value: []byte("2"), Revision: second, CreatedAt: first}
	if err != nil || !ok || cmp.Diff(want, got) != "" {
		t.Errorf("get: %v %v %s", err, ok, cmp.Diff(want, got))
	}
	if _, err := s.Delete(ctx, "/registry/a", second); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := s.Update(ctx, "/registry/a", []byte("4"), second, 0); !errors.Is(err, ErrConflict) {
		t.Errorf("update of a deleted key: got %v, want ErrConflict", err)
	}
}

func TestAListAndTheWatchAfterItSeeEverythingOnce(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	const n = 3*firstPage + 10
	for i := range n {
		if _, err := s.Create(ctx, "/registry/x/"+time.Unix(int64(i), 0).UTC().Format("150405"), []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
	}
	listed := 0
	rev, err := s.List(ctx, "/registry/", func(KV) error { listed++; return nil })
	if err != nil || listed != n {
		t.Fatalf("list: %d keys, want %d: %v", listed, n, err)
	}
	last, err := s.Create(ctx, "/registry/y", []byte("v"), 0)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := s.Delete(ctx, "/registry/y", last)
	if err != nil {
		t.Fatal(err)
	}
	var got []Event
	err = s.Watch(ctx, "/registry/", rev+1, func(events []Event, _ int64) error {
		got = append(got, events...)
		if len(got) > 0 && got[len(got)-1].Revision >= gone {
			return errors.New("enough")
		}
		return nil
	})
	want := []Event{
		{KV: KV{Key: "/registry/y", Value: []byte("v"), Revision: last, CreatedAt: last}},
		{KV: KV{Key: "/registry/y", Revision: gone}, Deleted: true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("watch (%v): %s", err, d)
	}
}

func TestPagesComeToSoManyBytes(t *testing.T) {
	for _, c := range []struct{ keys, bytes, want int }{
		{firstPage, firstPage * 1000, 4 * firstPage}, // by four times at most
		{8000, 8000 * 1000, 8388},
		{8000, 8000 * 100, mostKeys},
		{500, 500 << 20, 8},
		{1, 100 << 20, 1},
		{1, 0, 4},
	} {
		if got := nextPage(c.keys, c.bytes); got != c.want {
			t.Errorf("after %d keys with %d bytes: %d, want %d", c.keys, c.bytes, got, c.want)
		}
	}
}

// With such ticks an election takes ten seconds: what was written before is there at once, and nothing is said to be ready.
func TestAMemberCanBeReadBeforeItLeads(t *testing.T) {
	dir := t.TempDir()
	before := open(t, dir)
	revision, err := before.Create(t.Context(), "/registry/a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	before.Close()
	s, err := Start(Config{Dir: dir, Tick: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	seen := map[string]int64{}
	from, err := s.List(ctx, "/registry/", func(kv KV) error { seen[kv.Key] = kv.Revision; return nil })
	if err != nil {
		t.Fatal(err)
	}
	// What the member had not noted as committed comes once it leads, through the watch.
	if d := cmp.Diff(map[string]int64{"/registry/a": revision}, seen); d != "" && from >= revision {
		t.Error(d)
	}
	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if revision, err := s.Revision(soon); err == nil {
		t.Errorf("revision %d is said to be the latest of a member that does not lead", revision)
	}
}

func TestTheDatabaseIsMappedUntilTheStoreIsClosed(t *testing.T) {
	s := open(t, t.TempDir())
	mappings, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	called := 0
	look := func(path string) {
		called++
		if !strings.Contains(string(mappings), " "+path+"\n") {
			t.Errorf("%s is not among what is mapped:\n%s", path, mappings)
		}
	}
	s.Mapped(look)
	s.Close()
	s.Mapped(look)
	if called != 1 {
		t.Errorf("called %d times, want once", called)
	}
}

func TestCompactedRevisionsAreRefused(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	ctx := t.Context()
	rev, err := s.Create(ctx, "/registry/a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if rev, err = s.Update(ctx, "/registry/a", []byte("2"), rev, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.maintain(ctx, rev, defragWorth); err != nil {
		t.Fatal(err)
	}
	err = s.Watch(ctx, "/registry/", 2, func([]Event, int64) error { return errors.New("got events") })
	if !errors.Is(err, ErrCompacted) {
		t.Errorf("watch from a compacted revision: got %v, want ErrCompacted", err)
	}
}

func TestAcknowledgedWritesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	rev, err := s.Create(t.Context(), "/registry/a", []byte("1"), 3600)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir)
	defer s.Close()
	if kv, ok, err := s.Get(t.Context(), "/registry/a"); err != nil || !ok || kv.Revision != rev {
		t.Errorf("after the restart: %+v %v %v", kv, ok, err)
	}
	if now, _ := s.Revision(t.Context()); now < rev {
		t.Errorf("revision went back: %d, was %d", now, rev)
	}
}

func TestAFullDiskRefusesWritesOnly(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	rev, err := s.Create(t.Context(), "/registry/a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	s.space.reserve = 1 << 62
	s.space.again()
	if _, err := s.Update(t.Context(), "/registry/a", []byte("2"), rev, 0); !errors.Is(err, ErrNoSpace) {
		t.Errorf("update: got %v, want ErrNoSpace", err)
	}
	if _, err := s.Delete(t.Context(), "/registry/a", rev); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func TestRoomIsMadeWhenItIsWanted(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	first, err := s.Create(ctx, "/registry/a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(ctx, "/registry/a", []byte("2"), first, 0); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	s.space.reserve = 1 << 62
	s.space.again()
	if _, err := s.Create(ctx, "/registry/b", nil, 0); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("create: got %v, want ErrNoSpace", err)
	}
	for err = nil; !errors.Is(err, rpctypes.ErrCompacted); {
		if _, err = s.client.Get(ctx, "/registry/a", clientv3.WithRev(first)); ctx.Err() != nil {
			t.Fatal("nothing was compacted")
		}
	}
	cancel()
	<-done
}

func TestObjectsThatExpireHaveALease(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	if _, err := s.Create(t.Context(), "/registry/a", nil, 3600); err != nil {
		t.Fatal(err)
	}
	resp, err := s.client.Get(t.Context(), "/registry/a")
	if err != nil {
		t.Fatal(err)
	}
	ttl, err := s.client.TimeToLive(t.Context(), clientv3.LeaseID(resp.Kvs[0].Lease))
	if err != nil || ttl.GrantedTTL < 3600 || ttl.GrantedTTL > 3720 {
		t.Errorf("granted %+v: %v", ttl, err)
	}
}
