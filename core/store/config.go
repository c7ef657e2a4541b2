package store

import (
	"crypto/tls"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Config chooses between the embedded member (Dir) and an external cluster (Endpoints).
type Config struct {
	// Dir holds the embedded member's data.
	Dir string
	// Tick is the embedded member's heartbeat; 100 ms when zero. A single member elects itself after
	// about one election time (10 ticks), and each tick costs CPU when idle.
	Tick time.Duration
	// QuotaBytes bounds the embedded database; 8 GiB when zero.
	QuotaBytes int64
	// ReserveBytes is how much of the disk must stay free for writes to be taken: etcd exits when its
	// log cannot be written, so the store stops before. 64 MiB when zero.
	ReserveBytes int64

	// Endpoints of an external etcd; TLS is nil for plain text.
	Endpoints []string
	TLS       *tls.Config
}

func (c Config) tick() time.Duration {
	if c.Tick > 0 {
		return c.Tick
	}
	return 100 * time.Millisecond
}

func (c Config) quota() int64 {
	if c.QuotaBytes > 0 {
		return c.QuotaBytes
	}
	return 8 << 30
}

func (c Config) reserve() uint64 {
	if c.ReserveBytes > 0 {
		return uint64(c.ReserveBytes)
	}
	return 64 << 20
}

func dial(cfg Config) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  cfg.TLS,
		DialTimeout:          20 * time.Second,
		DialKeepAliveTime:    30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
		MaxCallRecvMsgSize:   64 << 20,
		Logger:               zap.NewNop(),
	})
}
