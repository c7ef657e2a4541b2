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

	checked atomic.Int64 // when, in Unix milliseconds
	free    atomic.Uint64
}

// The disk is asked at most this often.
const spaceInterval = 200 * time.Millisecond

func (s *space) check() error {
	if s.reserve == 0 {
		return nil
	}
	now := time.Now().UnixMilli()
	last := s.checked.Load()
	if now-last >= spaceInterval.Milliseconds() && s.checked.CompareAndSwap(last, now) {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(s.dir, &fs); err != nil {
			return fmt.Errorf("ask %s for free space: %w", s.dir, err)
		}
		s.free.Store(fs.Bavail * uint64(fs.Bsize))
	}
	if free := s.free.Load(); last != 0 && free < s.reserve {
		return fmt.Errorf("%s has %d bytes free and keeps %d: %w", s.dir, free, s.reserve, ErrNoSpace)
	}
	return nil
}
