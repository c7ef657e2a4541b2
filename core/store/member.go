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
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// member is the embedded etcd: one voter without listeners, reached by function calls.
type member struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	quota  storage.Quota
}

// Two segments are allocated ahead; etcd's 64 MiB each would be most of a small disk. The size is a
// variable of the library that running members read.
var smallSegments = sync.OnceFunc(func() { wal.SegmentSizeBytes = 16 << 20 })

func startMember(ctx context.Context, cfg Config) (*member, error) {
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
	if err := lead(ctx, e); err != nil {
		e.Close()
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	return &member{
		etcd: e, client: v3client.New(e.Server),
		quota: storage.NewBackendQuota(zap.NewNop(), cfg.quota(), e.Server.Backend(), "store"),
	}, nil
}

// campaignEvery is how often a member that does not lead yet is asked to. It heeds that only once it has applied the configuration
// changes of its log, which takes it a moment.
const campaignEvery = 5 * time.Millisecond

// lead returns once the member is ready. It is the only voter, so that there is nobody whose election timeout it would have to
// wait out before it elects itself, which takes up to a second.
func lead(ctx context.Context, e *embed.Etcd) error {
	self := uint64(e.Server.MemberID())
	again := time.NewTicker(campaignEvery)
	defer again.Stop()
	var committed sync.Once
	for {
		if e.Server.AppliedIndex() > 0 && uint64(e.Server.Leader()) == 0 {
			// What was applied first must be in the database by the time that it leads, or etcd logs that it is missing.
			committed.Do(e.Server.Backend().ForceCommit)
			// In raft's words: who leads wants this one to lead now (section 3.10 of Ongaro's thesis).
			_ = e.Server.Process(ctx, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), From: &self, To: &self})
		}
		select {
		case <-e.Server.ReadyNotify():
			return nil
		case err := <-e.Err():
			return err
		case <-e.Server.StopNotify():
			return errors.New("it stopped")
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

func embedConfig(cfg Config) *embed.Config {
	c := embed.NewConfig()
	c.Name, c.Dir = "gantry", cfg.Dir
	c.LogLevel = "error"
	c.TickMs = uint(cfg.tick() / time.Millisecond)
	c.ElectionMs = 10 * c.TickMs
	// Nobody dials it: the peer address is only a name in the member list.
	self := url.URL{Scheme: "http", Host: "localhost:2380"}
	c.ListenPeerUrls, c.ListenClientUrls = nil, nil
	c.AdvertisePeerUrls = []url.URL{self}
	c.AdvertiseClientUrls = nil
	c.InitialCluster = c.Name + "=" + self.String()
	c.QuotaBackendBytes = cfg.quota()
	c.MaxRequestBytes = 3 << 20
	// No follower ever catches up from memory.
	c.SnapshotCatchUpEntries = 100
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
