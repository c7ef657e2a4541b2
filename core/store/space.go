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
	spent   atomic.Uint64 // of that room since then, at most
}

const (
	// The disk is asked this often, and when much has been written.
	spaceInterval = 200 * time.Millisecond
	// muchSpent is what part of the reserve that is. Large objects fill more than the reserve in the interval.
	muchSpent = 16
)

// check fails when there is no room for a write of so many bytes.
func (s *space) check(size int) error {
	s.spent.Add(2 * uint64(size)) // to the log and to the database
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
	last, spent := s.checked.Load(), s.spent.Load()
	fresh := now-last < spaceInterval.Milliseconds() && spent < s.reserve/muchSpent
	if fresh || !s.checked.CompareAndSwap(last, now) {
		room := s.room.Load()
		return room - min(room, spent)
	}
	s.spent.Store(0) // what is written meanwhile may count twice
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
