package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/proto"
	"github.com/gantryio/gantry/interfaces/plugin/relay"
)

// passage makes the calls that a plugin would only pass on at the socket where they go. It spares them a process on their way,
// and whatever is wrong with that socket is still the plugin's to tell: calls go here only while somebody listens.
type passage struct {
	*grpc.ClientConn
	prefix string
	except []string
}

// openPassage returns nil where the plugin passes nothing on.
func openPassage(p *proto.Passage) (*passage, error) {
	if p.GetSocket() == "" {
		return nil, nil
	}
	cc, err := relay.Dial(p.GetSocket(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dialOwn(ctx, p.GetSocket()) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(false), grpc.MaxCallRecvMsgSize(longestReply), grpc.MaxCallSendMsgSize(math.MaxInt32)))
	if err != nil {
		return nil, err
	}
	cc.Connect()
	return &passage{ClientConn: cc, prefix: p.GetPrefix(), except: p.GetExcept()}, nil
}

// dialOwn connects to a socket and refuses anybody who is not of the host's own user.
func dialOwn(ctx context.Context, socket string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", socket, err)
	}
	cred, err := plugin.Peer(c)
	if err == nil && int(cred.Uid) != os.Geteuid() {
		err = fmt.Errorf("dial %s: user %d listens, want %d: %w", socket, cred.Uid, os.Geteuid(), plugin.ErrInvalid)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// open tells that a call can be made here.
func (p *passage) open(method string) bool {
	if p == nil || !strings.HasPrefix(method, p.prefix) || slices.Contains(p.except, method) {
		return false
	}
	now := p.GetState()
	if now == connectivity.Idle {
		p.Connect() // The connection before has ended.
	}
	return now == connectivity.Ready
}

// shut ends the calls that are being made.
func (p *passage) shut() {
	if p != nil {
		_ = p.Close()
	}
}
