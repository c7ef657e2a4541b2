// Package store keeps revisioned bytes in etcd and knows nothing of kinds.
//
// It exists so that nobody else touches etcd: the embedded member or the external cluster, leases for
// objects that expire, compaction, quota and free space are dealt with here. Revisions are etcd's; an
// acknowledged write is durable.
package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrExists: the key of a Create is taken.
	ErrExists = errors.New("key exists")
	// ErrConflict: the key has another revision than was asked for, or is gone.
	ErrConflict = errors.New("revision conflict")
	// ErrCompacted: the revision is too old to be read or watched from.
	ErrCompacted = errors.New("revision compacted")
	// ErrNoSpace: the disk or the quota is full. Reads and deletes still work.
	ErrNoSpace = errors.New("no space left for the store")
	// ErrTooLarge: etcd refuses a value of this size.
	ErrTooLarge = errors.New("value too large")
)

// KV is a stored value and the revisions of its last write and its creation.
type KV struct {
	Key                 string
	Value               []byte
	Revision, CreatedAt int64
}

// Root is what the keys of all objects begin with.
const Root = "/registry/"

// Store is safe for concurrent use. Open makes one; Close ends it.
type Store struct {
	client *clientv3.Client
	member *member // nil when etcd is external
	hot    hot
	leases leases
	space  space // of the embedded member

	// pressed receives when room for writes is wanted.
	pressed chan struct{}

	ready   chan struct{} // see Ready
	readied sync.Once

	closing sync.Mutex
	closed  bool

	acked acked
}

// hot is the part of etcd's API that every write goes through.
type hot interface {
	txn(ctx context.Context, req *pb.TxnRequest) (*pb.TxnResponse, error)
	// watch calls visit with the events under prefix, whole revisions in order. When there are none, all
	// has been seen up to the given revision.
	watch(ctx context.Context, prefix string, revision int64, visit func(events []*mvccpb.Event, seen int64) error) error
	askProgress(ctx context.Context) error
}

// Open starts the embedded member or connects to the endpoints of cfg, and waits until it answers.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := Start(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.Ready(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Start is Open without the wait: what the embedded member had written can be listed and watched while it elects itself. All else
// is for when Ready has returned.
func Start(cfg Config) (*Store, error) {
	s := &Store{pressed: make(chan struct{}, 1), ready: make(chan struct{})}
	var err error
	if len(cfg.Endpoints) == 0 {
		if s.member, err = startMember(cfg); err != nil {
			return nil, err
		}
		s.client, s.hot = s.member.client, s.member
		s.space.dir, s.space.reserve, s.space.unused = cfg.Dir, cfg.reserve(), s.member.unused
		s.space.room.Store(math.MaxUint64) // until it has been looked at
	} else if s.client, err = dial(cfg); err != nil {
		return nil, err
	} else {
		s.hot = remote{client: s.client, kv: clientv3.RetryKVClient(s.client)}
	}
	s.leases.client = s.client
	return s, nil
}

// Ready returns once the store answers.
func (s *Store) Ready(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	default:
	}
	if s.member != nil {
		if err := s.member.ready(ctx); err != nil {
			return err
		}
	}
	if _, err := s.remoteRevision(ctx); err != nil {
		return fmt.Errorf("read from etcd: %w", err)
	}
	s.readied.Do(func() {
		s.acked.start.Store(s.acked.all.Load())
		close(s.ready)
	})
	return nil
}

// Close releases the connection and stops the embedded member.
func (s *Store) Close() {
	s.closing.Lock()
	defer s.closing.Unlock()
	s.closed = true
	if s.member != nil {
		s.member.stop()
		return
	}
	_ = s.client.Close()
}

// Get reads the latest value; ok is false when there is none. The read is linearizable.
func (s *Store) Get(ctx context.Context, key string) (kv KV, ok bool, err error) {
	resp, err := s.client.Get(ctx, key)
	if err != nil {
		return KV{}, false, fmt.Errorf("get %s: %w", key, translate(err))
	}
	s.acked.saw(resp.Header.Revision)
	if len(resp.Kvs) == 0 {
		return KV{}, false, nil
	}
	return fromProto(resp.Kvs[0]), true, nil
}

// Create writes a new key and returns its revision; ErrExists when it is taken. ttlSeconds above 0
// removes the key that long after the write, give or take a minute.
func (s *Store) Create(ctx context.Context, key string, value []byte, ttlSeconds int64) (int64, error) {
	rev, err := s.put(ctx, key, value, 0, ttlSeconds)
	if errors.Is(err, ErrConflict) {
		return 0, fmt.Errorf("create %s: %w", key, ErrExists)
	}
	return rev, err
}

// Update replaces the value that has the given revision and returns the new revision; ErrConflict
// when the key has another revision or is gone.
func (s *Store) Update(ctx context.Context, key string, value []byte, revision, ttlSeconds int64) (int64, error) {
	return s.put(ctx, key, value, revision, ttlSeconds)
}

func (s *Store) put(ctx context.Context, key string, value []byte, revision, ttlSeconds int64) (int64, error) {
	if err := s.space.check(len(value)); err != nil {
		s.press()
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	put := &pb.PutRequest{Key: []byte(key), Value: value}
	if ttlSeconds > 0 {
		id, err := s.leases.get(ctx, ttlSeconds)
		if err != nil {
			return 0, fmt.Errorf("lease for %s: %w", key, translate(err))
		}
		put.Lease = int64(id)
	}
	revision, err := s.swap(ctx, put.Key, revision, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
	if errors.Is(err, ErrNoSpace) {
		s.press()
	}
	if err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	s.acked.wrote(key, revision)
	return revision, nil
}

// Delete removes the key that has the given revision and returns the revision of the deletion;
// ErrConflict when the key has another revision or is gone.
func (s *Store) Delete(ctx context.Context, key string, revision int64) (int64, error) {
	gone := &pb.DeleteRangeRequest{Key: []byte(key)}
	revision, err := s.swap(ctx, gone.Key, revision, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: gone}})
	if err != nil {
		return 0, fmt.Errorf("delete %s: %w", key, err)
	}
	s.acked.wrote(key, revision)
	if s.space.low() {
		s.press()
	}
	return revision, nil
}

// swap does op if the key has the given revision, 0 for none, and returns the new one.
func (s *Store) swap(ctx context.Context, key []byte, revision int64, op *pb.RequestOp) (int64, error) {
	resp, err := s.hot.txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: key, Target: pb.Compare_MOD, Result: pb.Compare_EQUAL,
			TargetUnion: &pb.Compare_ModRevision{ModRevision: revision},
		}},
		Success: []*pb.RequestOp{op},
	})
	if err != nil {
		return 0, translate(err)
	}
	s.acked.saw(resp.Header.Revision)
	if !resp.Succeeded {
		return 0, fmt.Errorf("not at revision %d: %w", revision, ErrConflict)
	}
	return resp.Header.Revision, nil
}

// Revision returns a revision at least as high as that of every write acknowledged to anybody before
// the call. With the embedded member, whose only writer is this process, it costs nothing. It waits until the store is ready.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	if s.member != nil {
		err := s.Ready(ctx)
		return s.acked.all.Load(), err
	}
	return s.remoteRevision(ctx)
}

// RevisionOf is Revision for those who read nothing but what is below a prefix: it is at least as high as that of every write there that
// was acknowledged to anybody before the call.
func (s *Store) RevisionOf(ctx context.Context, prefix string) (int64, error) {
	if s.member != nil {
		err := s.Ready(ctx)
		return s.acked.of(firstPart(prefix)), err
	}
	return s.remoteRevision(ctx)
}

// Acknowledged is what Revision would return at once, and whether it would: not with an external etcd, which others may write to.
func (s *Store) Acknowledged() (revision int64, known bool) {
	if s.member == nil {
		return 0, false
	}
	select {
	case <-s.ready:
		return s.acked.all.Load(), true
	default:
		return 0, false
	}
}

func (s *Store) remoteRevision(ctx context.Context) (int64, error) {
	resp, err := s.client.Get(ctx, "/registry", clientv3.WithCountOnly())
	if err != nil {
		return 0, translate(err)
	}
	s.acked.saw(resp.Header.Revision)
	return resp.Header.Revision, nil
}

// press asks Run to make room.
func (s *Store) press() {
	select {
	case s.pressed <- struct{}{}:
	default:
	}
}

func translate(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return ErrCompacted
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}
