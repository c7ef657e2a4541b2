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
	// defragWorth is the unused space from which on rewriting the database pays.
	defragWorth = 64 << 20
	// The same when writes lack room, and how often that is looked at.
	pressedWorth = 4 << 20
	pressPause   = 200 * time.Millisecond
)

// Run compacts old revisions, gives free pages back and lifts the quota alarm once there is room
// again, until ctx ends: every few minutes, and at once when writes lack room. Several servers may run it
// over one etcd.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(compactEvery)
	defer tick.Stop()
	last := s.acked.Load()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			err = s.maintain(ctx, last, defragWorth)
			last = s.acked.Load()
		case <-s.pressed:
			err = s.makeRoom(ctx)
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("cannot maintain the store", "err", err)
		}
	}
}

// makeRoom gives up all old revisions. It takes a moment at least, so that deletions come together.
func (s *Store) makeRoom(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pressPause):
	}
	err := s.maintain(ctx, s.acked.Load(), pressedWorth)
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
