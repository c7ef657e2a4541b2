// Package socket is the network plugin that adopts a network which somebody else serves at a socket.
package socket

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/network/proto"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/adopt"
)

// Open returns at once, whether the network answers or not: calls wait for a bounded time.
func Open(c adopt.Config) (*adopt.Socket, error) {
	return adopt.Open(c, adopt.Contract{
		Kind: plugin.Network, Service: proto.Network_ServiceDesc.ServiceName, Healthy: healthy,
	})
}

func healthy(ctx context.Context, conn grpc.ClientConnInterface) error {
	err := network.NewClient(conn).Status(ctx)
	if errors.Is(err, plugin.ErrUnsupported) {
		return fmt.Errorf("it does not serve the network contract: %w", err)
	}
	return err
}
