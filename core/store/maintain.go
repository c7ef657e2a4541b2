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
)

// Run compacts old revisions, gives free pages back and lifts the quota alarm once there is room
// again, until ctx ends. Several servers may run it over one etcd.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(compactEvery)
	defer tick.Stop()
	last := s.acked.Load()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := s.maintain(ctx, last); err != nil && ctx.Err() == nil {
			slog.Warn("cannot maintain the store", "err", err)
		}
		last = s.acked.Load()
	}
}

// maintain compacts up to revision and defragments the embedded member when that pays.
func (s *Store) maintain(ctx context.Context, revision int64) error {
	if revision > 1 {
		_, err := s.client.Compact(ctx, revision)
		if err = translate(err); err != nil && !errors.Is(err, ErrCompacted) {
			return fmt.Errorf("compact to revision %d: %w", revision, err)
		}
	}
	if s.member == nil {
		return nil
	}
	be := s.member.etcd.Server.Backend()
	if be.Size()-be.SizeInUse() < max(defragWorth, be.SizeInUse()) {
		return nil
	}
	if err := be.Defrag(); err != nil {
		return fmt.Errorf("defragment: %w", err)
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
