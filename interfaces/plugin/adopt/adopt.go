// Package adopt makes a plugin of a socket at which somebody else serves a contract. It exists because that somebody may
// be away, come back, or serve something else, and whoever calls is to be told so by name.
package adopt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/proto"
	"github.com/gantryio/gantry/interfaces/plugin/relay"
)

// Config is what the host gives a plugin that is made of a socket.
type Config struct {
	// Endpoint is the path of the socket.
	Endpoint string `json:"endpoint"`
}

// Contract is what is to be served at the socket.
type Contract struct {
	Kind plugin.Kind
	// Service is the full name of its gRPC service.
	Service string
	// Healthy asks a server that answers whether it can work; nil when the contract has no such question.
	Healthy func(ctx context.Context, conn grpc.ClientConnInterface) error
}

const (
	// patience is how long a call waits for a server that does not answer.
	patience     = 5 * time.Second
	askTimeout   = 5 * time.Second
	whenWell     = 5 * time.Second
	whenUnwell   = 200 * time.Millisecond
	slowestProbe = 2 * time.Second
)

// Socket is the plugin. It carries all calls of its contract; of the server it needs nothing but the contract's service,
// and asks the Lifecycle service who it is where it has that.
type Socket struct {
	// Conn leads to the server.
	Conn *grpc.ClientConn

	config   Config
	contract Contract
	end      context.CancelFunc
	ended    chan struct{}

	mu sync.Mutex
	// turned is closed when problem changes.
	turned  chan struct{}
	problem string
}

var (
	_ plugin.ServerOptions = (*Socket)(nil)
	_ plugin.Reporter      = (*Socket)(nil)
)

// Open returns at once, whether somebody serves or not. Close ends what it starts.
func Open(c Config, of Contract) (*Socket, error) {
	if !filepath.IsAbs(c.Endpoint) {
		return nil, fmt.Errorf("check configuration: endpoint is %q, want an absolute path: %w", c.Endpoint, plugin.ErrInvalid)
	}
	conn, err := relay.Dial(c.Endpoint, grpc.WithDefaultCallOptions(grpc.WaitForReady(false)))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Socket{
		Conn: conn, config: c, contract: of, end: cancel, ended: make(chan struct{}), turned: make(chan struct{}),
		problem: fmt.Sprintf("%s socket %s: not asked yet", of.Kind, c.Endpoint),
	}
	go func() {
		defer close(s.ended)
		s.observe(ctx)
	}()
	return s, nil
}

// Register registers nothing: all calls are carried.
func Register(grpc.ServiceRegistrar, *Socket) {}

// Close lets go of the socket.
func (s *Socket) Close() error {
	s.end()
	<-s.ended
	return s.Conn.Close()
}

// ServerOptions implements plugin.ServerOptions.
func (s *Socket) ServerOptions() []grpc.ServerOption {
	prefix := "/" + s.contract.Service + "/"
	r := &relay.Relay{
		Conn: s.Conn, Ready: s.Ready,
		Allow: func(method string) bool { return strings.HasPrefix(method, prefix) },
	}
	return r.ServerOptions()
}

// Ready waits until the server can work, for a bounded time, and says why it cannot otherwise.
func (s *Socket) Ready(ctx context.Context) error {
	problem, turned := s.now()
	if problem == "" {
		return nil
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for ; problem != ""; problem, turned = s.now() {
		select {
		case <-turned:
		case <-limit.C:
			return status.Error(codes.Unavailable, problem)
		case <-ctx.Done():
			return status.Errorf(codes.Unavailable, "%s: %v", problem, ctx.Err())
		}
	}
	return nil
}

// Report implements plugin.Reporter.
func (s *Socket) Report(ctx context.Context, tell func(plugin.Condition) error) error {
	for {
		problem, turned := s.now()
		if err := tell(plugin.Condition{Problem: problem}); err != nil {
			return err
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Socket) now() (problem string, turned <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem, s.turned
}

// observe looks at the server whenever the connection comes or goes and from time to time, until ctx ends.
func (s *Socket) observe(ctx context.Context) {
	for wait := whenUnwell; ctx.Err() == nil; {
		state := s.Conn.GetState()
		err := s.look(ctx)
		if ctx.Err() != nil {
			return
		}
		s.take(err)
		switch {
		case err == nil:
			wait = whenWell
		case wait == whenWell:
			wait = whenUnwell
		default:
			wait = min(wait*2, slowestProbe)
		}
		pause, cancel := context.WithTimeout(ctx, wait)
		for s.Conn.WaitForStateChange(pause, state) {
			next := s.Conn.GetState()
			if (next == connectivity.Ready) != (state == connectivity.Ready) {
				break
			}
			state = next
		}
		cancel()
	}
}

func (s *Socket) take(err error) {
	problem := ""
	if err != nil {
		problem = fmt.Sprintf("%s socket %s: %v", s.contract.Kind, s.config.Endpoint, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if problem == s.problem {
		return
	}
	slog.Info("the socket has turned", "problem", problem)
	s.problem = problem
	close(s.turned)
	s.turned = make(chan struct{})
}

// look returns why the server cannot work.
func (s *Socket) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := proto.NewLifecycleClient(s.Conn).Describe(ctx, &proto.DescribeRequest{})
	switch {
	case status.Code(err) == codes.Unimplemented:
	case err != nil:
		return errors.New(status.Convert(err).Message())
	case info.GetKind() != string(s.contract.Kind):
		return fmt.Errorf("%s/%s answers, want a %s plugin", info.GetKind(), info.GetName(), s.contract.Kind)
	}
	if s.contract.Healthy == nil {
		return nil
	}
	return s.contract.Healthy(ctx, s.Conn)
}
