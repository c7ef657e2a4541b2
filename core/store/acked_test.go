package store

import "testing"

// Who reads one kind waits for the writes to that kind, whatever else is written.
func TestEachKindHasARevisionOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	ctx := t.Context()
	expect := func(s *Store, what, prefix string, want int64) {
		t.Helper()
		if got, err := s.RevisionOf(ctx, prefix); err != nil || got != want {
			t.Errorf("%s: %s is at %d, want %d: %v", what, prefix, got, want, err)
		}
	}
	must := func(revision int64, err error) int64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	start := must(s.Revision(ctx))
	pod := must(s.Create(ctx, "/registry/pods/a/b", []byte("1"), 0))
	expect(s, "after a create", "/registry/pods/", pod)
	expect(s, "after a create elsewhere", "/registry/namespaces/", start)
	pod = must(s.Update(ctx, "/registry/pods/a/b", []byte("2"), pod, 0))
	expect(s, "after an update", "/registry/pods/", pod)
	both := must(s.Commit(ctx, []Change{{Key: "/registry/pods/a/b", Revision: pod}, {Key: "/registry/services/specs/a/c", Value: []byte("3")}}))
	expect(s, "after a commit", "/registry/pods/", both)
	expect(s, "after a commit", "/registry/services/specs/", both)
	gone := must(s.Delete(ctx, "/registry/services/specs/a/c", both))
	expect(s, "after a delete", "/registry/services/specs/", gone)
	expect(s, "after a delete elsewhere", "/registry/pods/", both)
	s.Close()

	s = open(t, dir)
	defer s.Close()
	expect(s, "after a restart", "/registry/pods/", must(s.Revision(ctx)))
	expect(s, "after a restart", "/registry/namespaces/", must(s.Revision(ctx)))
}
