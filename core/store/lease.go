package store

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// A lease is shared by the writes of this long and at most this many keys, so that a flood of
	// events costs few leases and an expiry deletes few keys at once.
	leaseShare = time.Minute
	leaseKeys  = 1000
)

// leases hands out shared leases by their time to live.
type leases struct {
	client *clientv3.Client

	mu     sync.Mutex
	shared map[int64]*lease
}

type lease struct {
	id    clientv3.LeaseID
	until time.Time
	keys  int
}

func (l *leases) get(ctx context.Context, ttlSeconds int64) (clientv3.LeaseID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.shared[ttlSeconds]; have != nil && have.keys < leaseKeys && time.Now().Before(have.until) {
		have.keys++
		return have.id, nil
	}
	resp, err := l.client.Grant(ctx, ttlSeconds+int64(leaseShare/time.Second))
	if err != nil {
		return 0, err
	}
	if l.shared == nil {
		l.shared = map[int64]*lease{}
	}
	l.shared[ttlSeconds] = &lease{id: resp.ID, until: time.Now().Add(leaseShare), keys: 1}
	return resp.ID, nil
}
