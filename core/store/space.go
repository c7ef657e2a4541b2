package store

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
)

// space refuses writes before the disk is full: etcd exits when its log cannot be written, and what
// cannot be written cannot be cleaned up either. The zero value refuses nothing.
type space struct {
	dir     string
	reserve uint64
	// unused is how much room the database has inside its file.
	unused func() uint64

	checked atomic.Int64 // when, in Unix milliseconds; 0 before the first time
	room    atomic.Uint64
}

// The disk is asked at most this often.
const spaceInterval = 200 * time.Millisecond

// check fails when there is no room for a write.
func (s *space) check() error {
	if room := s.look(); room < s.reserve {
		return fmt.Errorf("%s has room for %d bytes and keeps %d: %w", s.dir, room, s.reserve, ErrNoSpace)
	}
	return nil
}

// low tells that writes are refused or soon will be.
func (s *space) low() bool { return s.reserve > 0 && s.look() < s.reserve+s.reserve/4 }

// look returns the room for writes: what is free on the disk, and what is free in the database's file,
// as far as the disk has enough for the log.
func (s *space) look() uint64 {
	if s.reserve == 0 {
		return 0
	}
	now := time.Now().UnixMilli()
	last := s.checked.Load()
	if now-last < spaceInterval.Milliseconds() || !s.checked.CompareAndSwap(last, now) {
		return s.room.Load()
	}
	free, err := s.free()
	if err != nil {
		return s.room.Load()
	}
	if free >= s.reserve/2 {
		free += s.unused()
	}
	s.room.Store(free)
	return free
}

// holds tells that the disk has room for a file beside what the log needs. A copy of the database that does not fit would
// fill the disk for as long as it is tried, in vain.
func (s *space) holds(size uint64) bool {
	if s.reserve == 0 {
		return true
	}
	free, err := s.free()
	return err != nil || free >= size+s.reserve
}

// free is what the disk has left for this process.
func (s *space) free() (uint64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &fs); err != nil {
		return 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// again makes the next look ask the disk.
func (s *space) again() { s.checked.Store(1) }
