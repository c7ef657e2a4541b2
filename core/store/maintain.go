package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// compactEvery is how long old revisions can be read and watched from, at least.
	compactEvery = 5 * time.Minute
	// The embedded member's old revisions are of use to nobody but this process, whose cache has what it needs of them. They are given
	// up sooner when the database has grown by growthWorth and by half since the last time, which is looked at every lookEvery.
	lookEvery   = 30 * time.Second
	growthWorth = 32 << 20
	// defragWorth is the unused space from which on rewriting the database pays.
	defragWorth = 64 << 20
	// The same when writes lack room, and how often that is looked at.
	pressedWorth = 4 << 20
	pressPause   = 200 * time.Millisecond
)

// Run waits until the store is ready, and fails when it will not be. Then it compacts old revisions, gives free pages back and lifts
// the quota alarm once there is room again, until ctx ends: every few minutes, sooner when much has been written, and at once when
// writes lack room. Several servers may run it over one etcd.
func (s *Store) Run(ctx context.Context) error {
	if err := s.Ready(ctx); err != nil {
		return err
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var past looks
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if revision, ok := past.see(s.acked.all.Load(), s.inUse()); ok {
				err = s.maintain(ctx, revision, defragWorth)
				past.inUse = s.inUse()
			}
		case <-s.pressed:
			err = s.makeRoom(ctx)
			past.inUse = s.inUse()
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("cannot maintain the store", "err", err)
		}
	}
}

// looks are what was seen at the last times that somebody looked.
type looks struct {
	revisions []int64 // oldest first
	inUse     int64   // at the last compaction, in bytes
	since     int     // looks since then
}

// see takes the present state and returns up to where to compact, if it is time: up to what is compactEvery old, or, when much has
// been written, up to what was there at the last look but one.
func (l *looks) see(revision, inUse int64) (upTo int64, due bool) {
	const most = int(compactEvery / lookEvery)
	l.since++
	n := len(l.revisions)
	switch {
	case n > 1 && grown(l.inUse, inUse):
		upTo, due = l.revisions[n-2], true
	case n == most && l.since >= most:
		upTo, due = l.revisions[0], true
	}
	if due {
		l.since = 0
	}
	if l.inUse == 0 {
		l.inUse = inUse
	}
	if n == most {
		l.revisions = append(l.revisions[:0], l.revisions[1:]...)
	}
	l.revisions = append(l.revisions, revision)
	return upTo, due
}

// grown tells that a database has grown so much that compaction is worth its while.
func grown(before, now int64) bool { return now-before >= max(growthWorth, before/2) }

// inUse is how much of the embedded member's database is in use, 0 of an external one.
func (s *Store) inUse() int64 {
	if s.member == nil {
		return 0
	}
	return s.member.etcd.Server.Backend().SizeInUse()
}

// makeRoom gives up all old revisions. It takes a moment at least, so that deletions come together.
func (s *Store) makeRoom(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pressPause):
	}
	err := s.maintain(ctx, s.acked.all.Load(), pressedWorth)
	s.space.again()
	return err
}

// maintain compacts up to revision and defragments when that gives back worth bytes and as much as there
// is in use.
func (s *Store) maintain(ctx context.Context, revision, worth int64) error {
	if revision > 1 {
		_, err := s.client.Compact(ctx, revision, clientv3.WithCompactPhysical())
		if err = translate(err); err != nil && !errors.Is(err, ErrCompacted) {
			return fmt.Errorf("compact to revision %d: %w", revision, err)
		}
	}
	if s.member == nil {
		if worth == pressedWorth {
			return s.defragmentMembers(ctx)
		}
		return nil
	}
	be := s.member.etcd.Server.Backend()
	be.ForceCommit() // or the pages that compaction freed do not count yet
	if be.Size()-be.SizeInUse() >= max(worth, be.SizeInUse()) && s.space.holds(uint64(be.SizeInUse())) {
		if err := be.Defrag(); err != nil {
			return fmt.Errorf("defragment: %w", err)
		}
	}
	return s.disarm(ctx)
}

// defragmentMembers gives an external etcd room within its quota, one member after the other.
func (s *Store) defragmentMembers(ctx context.Context) error {
	for _, endpoint := range s.client.Endpoints() {
		if _, err := s.client.Defragment(ctx, endpoint); err != nil {
			return fmt.Errorf("defragment %s: %w", endpoint, err)
		}
	}
	return s.disarm(ctx)
}

// disarm lifts the alarm that etcd raised when the quota was exceeded; etcd raises it anew if it still is.
func (s *Store) disarm(ctx context.Context) error {
	alarms, err := s.client.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("list alarms: %w", err)
	}
	for _, a := range alarms.Alarms {
		if a.Alarm != pb.AlarmType_NOSPACE {
			continue
		}
		if _, err := s.client.AlarmDisarm(ctx, (*clientv3.AlarmMember)(a)); err != nil {
			return fmt.Errorf("disarm alarm: %w", err)
		}
	}
	return nil
}
