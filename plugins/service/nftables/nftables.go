// Package nftables is the service plugin that routes Services with nftables rules, written over netlink
// without any executable. All of it is in one table of its own per address family. Each Sync compares what
// the kernel has with what is wanted and changes the difference in one transaction, so that it is never
// half done and what others do to the table is repaired.
package nftables

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/google/nftables"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/service"
)

// Config is what the host gives the plugin. The zero value serves.
type Config struct {
	// Table is the tables' name; DefaultTable when empty.
	Table string
	// EgressMasquerade gives traffic from pods to the world outside the pod ranges the node's address.
	// It is off because packets of pods would then leave the node.
	EgressMasquerade bool
}

// DefaultTable is the tables' name unless the configuration says otherwise.
const DefaultTable = "gantry"

// Proxy is the running plugin. It is safe for concurrent use.
type Proxy struct {
	config Config

	mu      sync.Mutex
	audited time.Time
	flows   string
	known   *flows
	// origins are what the affinity sets of the last Sync are about.
	origins map[string]service.Affinity
}

var (
	_ service.Proxy  = (*Proxy)(nil)
	_ plugin.Stopper = (*Proxy)(nil)
)

// Open returns a proxy. Nothing is changed before the first Sync.
func Open(c Config) (*Proxy, error) {
	if c.Table == "" {
		c.Table = DefaultTable
	}
	return &Proxy{config: c, known: backends(service.Snapshot{})}, nil
}

const (
	// auditAll: so many chains are compared rule by rule at each Sync; more of them only each auditEvery.
	auditAll   = 200
	auditEvery = 30 * time.Second
)

// Sync implements service.Proxy.
func (p *Proxy) Sync(ctx context.Context, s service.Snapshot) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	origins := map[string]service.Affinity{}
	for _, f := range []family{v4, v6} {
		if err := ctx.Err(); err != nil {
			return err
		}
		want := plan(f, p.config, s)
		maps.Copy(origins, want.origins)
		if f == v6 && want.empty() && !ipv6() {
			continue
		}
		if err := p.apply(want); err != nil {
			return fmt.Errorf("sync %s rules: %w", f.name, err)
		}
	}
	p.origins = origins
	if err := routeLoopback(s); err != nil {
		return err
	}
	return p.flushFlows(s)
}

// Stop implements plugin.Stopper: it removes the tables.
func (p *Proxy) Stop(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := with(func(conn *nftables.Conn) error {
		tables, err := conn.ListTables()
		if err != nil {
			return err
		}
		for _, t := range tables {
			if t.Name == p.config.Table && (t.Family == v4.table || t.Family == v6.table) {
				conn.DelTable(t)
			}
		}
		return conn.Flush()
	})
	if err != nil {
		return fmt.Errorf("remove rules: %w", err)
	}
	return nil
}

func ipv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

// apply changes the difference; when the kernel refuses that, for somebody made the table unusable, the
// whole table is replaced, still in one transaction.
func (p *Proxy) apply(want *ruleset) error {
	deep := len(want.chains) <= auditAll || time.Since(p.audited) > auditEvery
	first := with(func(conn *nftables.Conn) error {
		have, err := observe(conn, want, deep)
		if err != nil {
			return err
		}
		return change(conn, want, have)
	})
	if first == nil {
		if deep {
			p.audited = time.Now()
		}
		return nil
	}
	slog.Warn("cannot change rules, replacing the table", "family", want.family.name, "error", first)
	return with(func(conn *nftables.Conn) error {
		conn.AddTable(want.table()) // for there may be none to delete
		conn.DelTable(want.table())
		if err := change(conn, want, &observed{}); err != nil {
			return errors.Join(first, err)
		}
		return nil
	})
}

// loopbackRouting lets connections from 127.0.0.1 to a node port be routed to a pod. Packets from outside
// to 127.0.0.0/8, which it would let in too, are dropped by the chain "martians".
const loopbackRouting = "/proc/sys/net/ipv4/conf/all/route_localnet"

func routeLoopback(s service.Snapshot) error {
	needed := false
	for _, svc := range s.Services {
		for _, p := range svc.Ports {
			needed = needed || p.NodePort != 0
		}
	}
	if !needed {
		return nil
	}
	if raw, err := os.ReadFile(loopbackRouting); err == nil && len(raw) > 0 && raw[0] == '1' {
		return nil
	}
	if err := os.WriteFile(loopbackRouting, []byte("1"), 0o600); err != nil {
		return fmt.Errorf("route node ports on loopback: %w", err)
	}
	return nil
}
