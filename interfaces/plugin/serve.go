package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"

	hclog "github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gantryio/gantry/interfaces/plugin/proto"
)

// Serve is a plugin's main. It reads the configuration the host gave, strictly, opens the plugin with it
// and serves it until the process is told to end. It does not return when the plugin cannot be opened:
// the reason goes to the plugin's log and the process ends with status 1.
func Serve[C, T any](info Info, register func(grpc.ServiceRegistrar, T), open func(C) (T, error)) {
	keepToCPUs()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)).With("plugin", string(info.Kind)+"/"+info.Name))
	raw, err := readConfig(os.Getenv(ConfigVariable))
	if err != nil {
		fail(err)
	}
	config, err := Decode[C](raw)
	if err != nil {
		fail(err)
	}
	impl, err := open(config)
	if err != nil {
		fail(fmt.Errorf("open %s plugin %s: %w", info.Kind, info.Name, err))
	}
	sum := sha256.Sum256(raw)
	endOnTerm()
	go trim()
	log := os.Stderr // go-plugin takes it away
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: Handshake,
		Plugins: goplugin.PluginSet{string(info.Kind): &Wire{Register: func(s grpc.ServiceRegistrar) {
			register(s, impl)
			proto.RegisterLifecycleServer(s, &lifecycle{info: info, impl: impl, digest: hex.EncodeToString(sum[:]), log: log})
		}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, serverOptions(impl)...)...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

func serverOptions(impl any) []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.Creds(sameUser{}),
		grpc.UnaryInterceptor(errorInterceptor),
		grpc.MaxRecvMsgSize(math.MaxInt32), grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.StaticStreamWindowSize(Window), grpc.StaticConnWindowSize(Window),
	}
	if o, ok := impl.(ServerOptions); ok {
		opts = append(opts, o.ServerOptions()...)
	}
	return opts
}

// keepToCPUs runs Go code on no more CPUs at once than the plugin may use. Go itself never goes below two for a limit, and
// then wakes a second one for each step of a call.
func keepToCPUs() {
	if n, err := strconv.Atoi(os.Getenv(CPUsVariable)); err == nil && n > 0 && n < runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(n)
	}
}

// endOnTerm lets SIGTERM end the process at once. What a plugin supervises lives on, as with SIGKILL.
func endOnTerm() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		<-term
		os.Exit(0)
	}()
}

func fail(err error) {
	slog.Error("cannot serve", "error", err)
	if file := os.Getenv(ProblemVariable); file != "" {
		_ = os.WriteFile(file, []byte(err.Error()), 0o600) // It stands in the log, too.
	}
	os.Exit(1)
}

func readConfig(path string) ([]byte, error) {
	if path == "" {
		return []byte("{}"), nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return raw, nil
}

// Decode reads a configuration strictly: an unknown field is an error.
func Decode[C any](raw []byte) (C, error) {
	var c C
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil && err != io.EOF {
		return c, fmt.Errorf("decode configuration: %w: %w", err, ErrInvalid)
	}
	return c, nil
}

// Wire carries a contract over go-plugin. The plugin's side sets Register; the host's side gets the
// connection from Dispense.
type Wire struct {
	goplugin.NetRPCUnsupportedPlugin
	Register func(grpc.ServiceRegistrar)
}

var _ goplugin.GRPCPlugin = (*Wire)(nil)

// GRPCServer registers the contract's services.
func (w *Wire) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	w.Register(s)
	return nil
}

// GRPCClient returns the connection itself.
func (w *Wire) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

type lifecycle struct {
	proto.UnimplementedLifecycleServer
	info   Info
	impl   any
	digest string
	log    *os.File
	print  sync.Once
}

func (l *lifecycle) Describe(context.Context, *proto.DescribeRequest) (*proto.DescribeResponse, error) {
	// This is a host's first call. go-plugin has had standard output and error sent to a client that asks for them, and has who prints
	// wait while none does. A plugin's log is a file, and what it prints goes there like all else, whether there is a host or not.
	l.print.Do(func() { os.Stdout, os.Stderr = l.log, l.log })
	out := &proto.DescribeResponse{
		Kind: string(l.info.Kind), Name: l.info.Name, Version: l.info.Version, Handlers: l.info.Handlers,
		ConfigDigest: l.digest,
	}
	if p, ok := l.impl.(Passer); ok {
		to := p.Passage()
		out.Passage = &proto.Passage{Socket: to.Socket, Prefix: to.Prefix, Except: to.Except}
	}
	return out, nil
}

func (l *lifecycle) Stop(ctx context.Context, _ *proto.StopRequest) (*proto.StopResponse, error) {
	if s, ok := l.impl.(Stopper); ok {
		if err := s.Stop(ctx); err != nil {
			return nil, err
		}
		return &proto.StopResponse{}, nil
	}
	_ = grpc.SetTrailer(ctx, metadata.Pairs(NothingToStop, "true")) // It fails where there is no server alone.
	return &proto.StopResponse{}, nil
}

func (l *lifecycle) Watch(_ *proto.WatchRequest, to grpc.ServerStreamingServer[proto.WatchResponse]) error {
	r, ok := l.impl.(Reporter)
	if !ok {
		return status.Error(codes.Unimplemented, "the plugin is well as long as it answers")
	}
	return ToStatus(r.Report(to.Context(), func(c Condition) error {
		return to.Send(&proto.WatchResponse{Problem: c.Problem, Handlers: append(slices.Clip(l.info.Handlers), c.Handlers...)})
	}))
}
