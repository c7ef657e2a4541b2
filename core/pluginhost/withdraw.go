package pluginhost

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/proto"
	"github.com/gantryio/gantry/interfaces/service"
)

// Withdraw makes a service plugin take its rules away because another one routes. Its process serves on.
func (h *Host) Withdraw(ctx context.Context, name string) error {
	i, err := h.get(plugin.Service, name)
	if err != nil {
		return err
	}
	var trailer metadata.MD
	_, err = proto.NewLifecycleClient(i.conn).Stop(ctx, &proto.StopRequest{}, grpc.Trailer(&trailer))
	if err == nil && len(trailer.Get(plugin.NothingToStop)) > 0 {
		err = service.NewClient(i.conn).Sync(ctx, service.Snapshot{})
	}
	if err != nil {
		return fmt.Errorf("withdraw %s: %w", i.id, plugin.FromStatus(err))
	}
	return nil
}
