package store

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Event is a write or a deletion; a deletion has no value and the revision of the deletion.
type Event struct {
	KV
	Deleted bool
}

const pageSize = 1000

// List calls visit for every key under prefix, in order of keys, all as of one revision, which it
// returns. A watch from the next revision misses nothing.
func (s *Store) List(ctx context.Context, prefix string, visit func(KV) error) (int64, error) {
	end := clientv3.GetPrefixRangeEnd(prefix)
	from, revision := prefix, int64(0)
	for {
		resp, err := s.client.Get(ctx, from,
			clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(revision))
		if err != nil {
			return 0, fmt.Errorf("list %s: %w", prefix, translate(err))
		}
		if revision == 0 {
			revision = resp.Header.Revision
			s.saw(revision)
		}
		for _, kv := range resp.Kvs {
			if err := visit(fromProto(kv)); err != nil {
				return 0, err
			}
		}
		if !resp.More {
			return revision, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// Watch calls visit with the events under prefix since revision, inclusive, in order, and never with a
// part of a revision. With no events it tells that all up to the given revision has been seen. It
// returns when ctx ends, visit fails, or the revision is compacted (ErrCompacted).
func (s *Store) Watch(ctx context.Context, prefix string, revision int64, visit func(events []Event, seen int64) error) error {
	err := s.hot.watch(ctx, prefix, revision, func(events []*mvccpb.Event, seen int64) error {
		out := make([]Event, len(events))
		for i, e := range events {
			out[i] = Event{KV: fromProto(e.Kv), Deleted: e.Type == mvccpb.DELETE}
			// A watch that catches up is told of etcd's revision, which its events may not have reached.
			seen = e.Kv.ModRevision
		}
		return visit(out, seen)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("watch %s from %d: %w", prefix, revision, translate(err))
}

// AskProgress makes the running watches report how far they have seen. It is needed only with an
// external etcd, where a quiet prefix says nothing.
func (s *Store) AskProgress(ctx context.Context) error { return s.hot.askProgress(ctx) }

func fromProto(kv *mvccpb.KeyValue) KV {
	return KV{Key: string(kv.Key), Value: kv.Value, Revision: kv.ModRevision, CreatedAt: kv.CreateRevision}
}
