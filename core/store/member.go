package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

// member is the embedded etcd: one voter without listeners, reached by function calls.
type member struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	quota  storage.Quota
	writes gathering
}

// Two segments are allocated ahead; etcd's 64 MiB each would be most of a small disk. The size is a
// variable of the library that running members read.
var smallSegments = sync.OnceFunc(func() { wal.SegmentSizeBytes = segmentSize })

// Those that there are are read whole at a start, twice.
const segmentSize = 8 << 20

// startMember returns a member that has its database and its log, and begins to elect itself.
func startMember(cfg Config) (*member, error) {
	if cfg.Dir == "" {
		return nil, errors.New("start etcd: neither a data folder nor endpoints are given")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	smallSegments()
	e, err := embed.StartEtcd(embedConfig(cfg))
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	return &member{
		etcd: e, client: v3client.New(e.Server),
		quota: storage.NewBackendQuota(zap.NewNop(), cfg.quota(), e.Server.Backend(), "store"),
	}, nil
}

// ready returns once the member leads and has taken up its log.
func (m *member) ready(ctx context.Context) error {
	select {
	case <-m.etcd.Server.ReadyNotify():
		return nil
	case err := <-m.etcd.Err():
		return fmt.Errorf("start etcd: %w", err)
	case <-m.etcd.Server.StopNotify():
		return errors.New("start etcd: it stopped")
	case <-ctx.Done():
		return fmt.Errorf("start etcd: %w", ctx.Err())
	}
}

func embedConfig(cfg Config) *embed.Config {
	c := embed.NewConfig()
	c.Name, c.Dir = "gantry", cfg.Dir
	c.LogLevel = "error"
	c.TickMs = uint(cfg.tick() / time.Millisecond)
	// The shortest that etcd takes: the only voter has nobody to wait for at a start.
	c.ElectionMs = 5 * c.TickMs
	// Nobody dials it: the peer address is only a name in the member list.
	self := url.URL{Scheme: "http", Host: "localhost:2380"}
	c.ListenPeerUrls, c.ListenClientUrls = nil, nil
	c.AdvertisePeerUrls = []url.URL{self}
	c.AdvertiseClientUrls = nil
	c.InitialCluster = c.Name + "=" + self.String()
	c.QuotaBackendBytes = cfg.quota()
	c.MaxRequestBytes = 3 << 20
	// No follower ever catches up from memory. But raft, when it stands for election, looks through what it has handed out to be
	// applied, 1 MiB at most, and panics if that is no longer there.
	c.SnapshotCatchUpEntries = 1000
	c.SnapshotCount = 5000
	// Nor are old logs and snapshots of use to anybody.
	c.MaxWalFiles, c.MaxSnapFiles = 2, 2
	return c
}

// unused is the room inside the database's file.
func (m *member) unused() uint64 {
	be := m.etcd.Server.Backend()
	return uint64(max(0, be.Size()-be.SizeInUse()))
}

func (m *member) stop() {
	_ = m.client.Close()
	m.etcd.Close()
}
