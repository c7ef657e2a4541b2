package store

import (
	"errors"
	"testing"
)

// What has been written since the disk was asked counts as gone, and much of it has the disk asked again.
func TestRoomIsCountedBetweenLooks(t *testing.T) {
	const mega = 1 << 20
	s := space{dir: t.TempDir(), unused: func() uint64 { return 0 }}
	free, err := s.free()
	if err != nil {
		t.Fatal(err)
	}
	s.reserve = free / 2
	if err := s.check(0); err != nil {
		t.Fatal(err)
	}
	s.room.Store(s.reserve + mega) // as if the disk had said so
	if err := s.check(mega / 4); err != nil {
		t.Errorf("with room for it: %v", err)
	}
	if err := s.check(mega / 2); !errors.Is(err, ErrNoSpace) {
		t.Errorf("with the rest of the room spent: got %v, want ErrNoSpace", err)
	}
	if err := s.check(int(s.reserve / muchSpent)); err != nil {
		t.Errorf("the disk was not asked again: %v", err)
	}
}
