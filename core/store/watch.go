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

// A page of a list has up to so many keys at first, and then what is likely to come to pageBytes: etcd counts for each page how many
// keys there are after it, which takes longer than reading them when there are many pages.
const (
	firstPage = 500
	mostKeys  = 16_000
	pageBytes = 8 << 20
)

// nextPage is how many keys the next page may have after one of so many keys and bytes.
func nextPage(keys, bytes int) int {
	return min(max(keys*pageBytes/max(bytes, 1), 1), 4*keys, mostKeys)
}

// List calls visit for every key under prefix, in order of keys, all as of one revision, which it
// returns. A watch from the next revision misses nothing. What was acknowledged before the call is listed, once the store is ready.
func (s *Store) List(ctx context.Context, prefix string, visit func(KV) error) (int64, error) {
	end := clientv3.GetPrefixRangeEnd(prefix)
	from, revision, limit := prefix, int64(0), firstPage
	options := []clientv3.OpOption{clientv3.WithRange(end)}
	if s.member != nil { // which has applied all that it acknowledged, and answers so before it leads
		options = append(options, clientv3.WithSerializable())
	}
	for {
		resp, err := s.client.Get(ctx, from, append(options, clientv3.WithLimit(int64(limit)), clientv3.WithRev(revision))...)
		if err != nil {
			return 0, fmt.Errorf("list %s: %w", prefix, translate(err))
		}
		if revision == 0 {
			revision = resp.Header.Revision
			s.acked.saw(revision)
		}
		size := 0
		for _, kv := range resp.Kvs {
			size += len(kv.Value)
			if err := visit(fromProto(kv)); err != nil {
				return 0, err
			}
		}
		if !resp.More {
			return revision, nil
		}
		from, limit = string(resp.Kvs[len(resp.Kvs)-1].Key)+"\x00", nextPage(len(resp.Kvs), size)
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
