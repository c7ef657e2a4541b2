// Package socket is the service plugin that adopts a proxy which somebody else serves at a socket.
package socket

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/adopt"
	lifecycle "github.com/gantryio/gantry/interfaces/plugin/proto"
	"github.com/gantryio/gantry/interfaces/service"
	"github.com/gantryio/gantry/interfaces/service/proto"
)

// Proxy is the running plugin.
type Proxy struct{ *adopt.Socket }

var _ plugin.Stopper = (*Proxy)(nil)

// Open returns at once, whether the proxy answers or not: calls wait for a bounded time.
func Open(c adopt.Config) (*Proxy, error) {
	s, err := adopt.Open(c, adopt.Contract{Kind: plugin.Service, Service: proto.Proxy_ServiceDesc.ServiceName})
	if err != nil {
		return nil, err
	}
	return &Proxy{s}, nil
}

// Register registers nothing: all calls are carried.
func Register(grpc.ServiceRegistrar, *Proxy) {}

// Stop implements plugin.Stopper: the proxy takes its rules away, in its own way or by having nothing to route. One that is
// away cannot be asked, and its rules are not ours to find: it is told when it is back, if another one routes then.
func (p *Proxy) Stop(ctx context.Context) error {
	if err := p.Ready(ctx); err != nil {
		slog.Warn("cannot make the proxy take its rules away", "err", err)
		return nil
	}
	var trailer metadata.MD
	_, err := lifecycle.NewLifecycleClient(p.Conn).Stop(ctx, &lifecycle.StopRequest{}, grpc.Trailer(&trailer))
	if status.Code(err) == codes.Unimplemented || err == nil && len(trailer.Get(plugin.NothingToStop)) > 0 {
		return service.NewClient(p.Conn).Sync(ctx, service.Snapshot{})
	}
	return plugin.FromStatus(err)
}
