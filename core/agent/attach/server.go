// Package attach is where container runtimes come for a pod's network: the CNI shim, which is the only
// CNI plugin that they know, hands its calls to this server. The server asks the network plugin that the
// pod belongs to and keeps the ledger, so that runtimes and networks can be combined and swapped freely.
package attach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Networks finds network plugins; "" is the default one. pluginhost.Host is one.
type Networks interface {
	Network(name string) (network.Network, pluginhost.Ref, error)
	// Networks are the names of all.
	Networks() []string
}

// Server answers the shim. The first four fields are needed.
type Server struct {
	// Socket is the path to listen on. It is made with mode 0600 in a folder that should be 0700.
	Socket   string
	Networks Networks
	Ledger   *ledger.Ledger
	// PodCIDRs are the pod ranges of this node; none means that the node has not got any yet, and pods
	// have to wait.
	PodCIDRs func() []netip.Prefix
	// Choose names the network plugins of a new sandbox; nil chooses the default for all. The ledger remembers it.
	Choose func(ctx context.Context, s network.Sandbox) (Choice, error)
	// Changed, if set, is called when the ledger has got or lost an entry. It must not block.
	Changed func()
	// Attached, if set, is told of each attachment just before the runtime is, so that an agent need not
	// ask the runtime for a sandbox's addresses.
	Attached func(s network.Sandbox, a network.Attachment)
	// Took, if set, is told how long each attachment took.
	Took func(s network.Sandbox, began, ended time.Time)
	// HostPortsChanged, if set, is called when HostPorts returns something else than before.
	HostPortsChanged func()
	// Now is the clock; time.Now when nil.
	Now func() time.Time

	mu      sync.Mutex
	locks   map[string]*keyed
	touched map[string]struct{}
}

const (
	callTimeout = 55 * time.Second // a little less than the shim waits for an answer
	maxRequest  = 1 << 20
)

// Run serves until ctx ends. Calls in progress are finished first.
func (s *Server) Run(ctx context.Context) error {
	if err := os.Remove(s.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("listen for the CNI shim: %w", err)
	}
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.Socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for the CNI shim: %w", err)
	}
	if err := os.Chmod(s.Socket, 0o600); err != nil {
		return errors.Join(fmt.Errorf("listen for the CNI shim: %w", err), lis.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = lis.Close() })
	defer stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		conn, err := lis.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept a call of the CNI shim: %w", err)
		}
		calls.Go(func() { s.serve(conn) })
	}
}

// serve answers one connection. A call goes on when its caller is gone: the caller asks again.
func (s *Server) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if cred, err := plugin.Peer(conn); err != nil || cred.Uid != 0 && int(cred.Uid) != os.Getuid() {
		return
	}
	if err := conn.SetReadDeadline(time.Now().Add(callTimeout)); err != nil {
		return
	}
	var in request
	if err := json.NewDecoder(&limited{conn: conn, left: maxRequest}).Decode(&in); err != nil {
		_ = json.NewEncoder(conn).Encode(refuse(codeDecode, err))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	out := s.answer(ctx, in)
	if out.Error != nil {
		level := slog.LevelWarn
		if in.Command == "STATUS" { // The runtime asks again and again, and tells in its own status.
			level = slog.LevelDebug
		}
		slog.Log(ctx, level, "CNI call failed", "command", in.Command, "sandbox", in.ContainerID, "error", out.Error.Details)
	}
	_ = json.NewEncoder(conn).Encode(out)
}

func (s *Server) answer(ctx context.Context, in request) response {
	switch in.Command {
	case "ADD":
		sandbox, err := in.sandbox()
		if err != nil {
			return refuse(codeDecode, err)
		}
		a, err := s.Attach(ctx, sandbox)
		if err != nil {
			return refuse(code(err), err)
		}
		return result(in, a)
	case "DEL":
		if err := s.Detach(ctx, in.ContainerID); err != nil {
			return refuse(code(err), err)
		}
	case "CHECK":
		if err := s.check(ctx, in.ContainerID); err != nil {
			return refuse(code(err), err)
		}
	case "STATUS":
		if err := s.status(ctx); err != nil {
			return refuse(codeUnavailable, err)
		}
	case "GC": // Reconcile does it: the runtime's list of valid attachments is one plugin's view only.
	default:
		return refuse(codeEnvironment, fmt.Errorf("unknown command %q", in.Command))
	}
	return response{}
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// limited bounds what is read of a caller.
type limited struct {
	conn net.Conn
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("request is too long")
	}
	n, err := l.conn.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
