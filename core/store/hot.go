package store

import (
	"context"
	"errors"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/pkg/v3/traceutil"
	etcderrors "go.etcd.io/etcd/server/v3/etcdserver/errors"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.uber.org/zap"
)

// traced is for writes, in which etcd makes a trace for the steps of each that is not asked for one and notes nothing in it.
var traced, _ = traceutil.EnsureTrace(context.Background(), zap.NewNop(), "transaction")

var errWatchEnded = errors.New("watch ended by etcd")

// txn goes to etcd's server past the layers that are there for clients elsewhere. The server bounds the
// time of a write itself; one that has begun is not abandoned with its caller, who would not know whether
// it was done.
func (m *member) txn(ctx context.Context, req *pb.TxnRequest) (*pb.TxnResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !m.quota.Available(req) {
		return nil, rpctypes.ErrNoSpace
	}
	m.writes.enter()
	resp, err := m.etcd.Server.Txn(traced, req)
	m.writes.leave()
	switch {
	case errors.Is(err, etcderrors.ErrRequestTooLarge):
		return nil, rpctypes.ErrRequestTooLarge
	case errors.Is(err, etcderrors.ErrNoSpace):
		return nil, rpctypes.ErrNoSpace
	}
	return resp, err
}

// maxEvents is how many events that wait already are taken together.
const maxEvents = 256

func (m *member) watch(ctx context.Context, prefix string, revision int64, visit func([]*mvccpb.Event, int64) error) error {
	stream := m.etcd.Server.Watchable().NewWatchStream()
	defer stream.Close()
	end := clientv3.GetPrefixRangeEnd(prefix)
	if _, err := stream.Watch(ctx, clientv3.AutoWatchID, []byte(prefix), []byte(end), revision); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.etcd.Server.StopNotify():
			return errWatchEnded
		case resp := <-stream.Chan():
			events, compacted := gather(resp, stream.Chan())
			if len(events) > 0 || !compacted {
				if err := visit(events, resp.Revision); err != nil {
					return err
				}
			}
			if compacted {
				return rpctypes.ErrCompacted
			}
		}
	}
}

// gather adds to the events of a response those that wait behind it, and tells whether the watch ends there
// because its revision is compacted.
func gather(resp mvcc.WatchResponse, more <-chan mvcc.WatchResponse) (events []*mvccpb.Event, compacted bool) {
	events = slices.Clip(resp.Events)
	for len(events) < maxEvents && len(more) > 0 && resp.CompactRevision == 0 {
		resp = <-more
		events = append(events, resp.Events...)
	}
	return events, resp.CompactRevision != 0
}

// askProgress has nothing to ask: whatever was written has been sent to the watch before the writer got its
// answer.
func (m *member) askProgress(context.Context) error { return nil }

// remote is an external etcd.
type remote struct {
	client *clientv3.Client
	kv     pb.KVClient
}

func (r remote) txn(ctx context.Context, req *pb.TxnRequest) (*pb.TxnResponse, error) {
	resp, err := r.kv.Txn(ctx, req)
	if err != nil {
		return nil, clientv3.ContextError(ctx, err)
	}
	return resp, nil
}

func (r remote) watch(ctx context.Context, prefix string, revision int64, visit func([]*mvccpb.Event, int64) error) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	responses := r.client.Watch(ctx, prefix,
		clientv3.WithPrefix(), clientv3.WithRev(revision), clientv3.WithProgressNotify())
	for resp := range responses {
		if err := resp.Err(); err != nil {
			return err
		}
		events := make([]*mvccpb.Event, len(resp.Events))
		for i, e := range resp.Events {
			events[i] = (*mvccpb.Event)(e)
		}
		if err := visit(events, resp.Header.Revision); err != nil {
			return err
		}
	}
	return errWatchEnded
}

func (r remote) askProgress(ctx context.Context) error {
	return r.client.RequestProgress(clientv3.WithRequireLeader(ctx))
}
