package store

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Change is what a [Store.Commit] does to one key.
type Change struct {
	Key string
	// Value is written; nil removes the key.
	Value []byte
	// Revision is what the key must have, 0 when it must not be there.
	Revision int64
}

// KeyError tells which key of a transaction was not as it had to be. It is an [ErrConflict].
type KeyError struct{ Key string }

func (e *KeyError) Error() string { return fmt.Sprintf("%s has changed", e.Key) }

// Unwrap makes errors.Is find ErrConflict.
func (e *KeyError) Unwrap() error { return ErrConflict }

// Commit makes all changes at once, in their order, and returns the revision that they share, or makes none: with a [KeyError]
// when a key does not have its revision.
func (s *Store) Commit(ctx context.Context, changes []Change) (int64, error) {
	req := &pb.TxnRequest{}
	for i := range changes {
		c := &changes[i]
		key := []byte(c.Key)
		req.Compare = append(req.Compare, &pb.Compare{
			Key: key, Target: pb.Compare_MOD, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_ModRevision{ModRevision: c.Revision},
		})
		req.Failure = append(req.Failure, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key, KeysOnly: true}}})
		if c.Value == nil {
			req.Success = append(req.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: key}}})
			continue
		}
		if err := s.space.check(len(c.Value)); err != nil {
			s.press()
			return 0, fmt.Errorf("commit %s: %w", c.Key, err)
		}
		req.Success = append(req.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: c.Value}}})
	}
	resp, err := s.hot.txn(ctx, req)
	if err != nil {
		err = translate(err)
		if errors.Is(err, ErrNoSpace) {
			s.press()
		}
		return 0, fmt.Errorf("commit %s: %w", changes[0].Key, err)
	}
	s.acked.saw(resp.Header.Revision)
	if resp.Succeeded {
		for i := range changes {
			s.acked.wrote(changes[i].Key, resp.Header.Revision)
		}
		return resp.Header.Revision, nil
	}
	for i, r := range resp.Responses {
		var have int64
		if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
			have = kvs[0].ModRevision
		}
		if have != changes[i].Revision {
			return 0, &KeyError{Key: changes[i].Key}
		}
	}
	return 0, fmt.Errorf("commit %s: %w", changes[0].Key, ErrConflict)
}
