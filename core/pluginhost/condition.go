package pluginhost

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gantryio/gantry/interfaces/plugin/proto"
)

// follow takes over what a plugin that answers says of itself, until ctx ends. Most plugins say nothing.
func (i *instance) follow(ctx context.Context, s *session) {
	for wait := firstBackOff; ctx.Err() == nil; wait = min(wait*2, lastBackOff) {
		err := i.read(ctx, s)
		if status.Code(err) == codes.Unimplemented {
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (i *instance) read(ctx context.Context, s *session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := proto.NewLifecycleClient(s.conn).Watch(ctx, &proto.WatchRequest{})
	if err != nil {
		return err
	}
	for {
		said, err := stream.Recv()
		if err != nil {
			return err
		}
		if ctx.Err() == nil {
			i.hear(said)
		}
	}
}

// hear keeps the connection: a plugin with a problem says best itself why a call fails.
func (i *instance) hear(said *proto.WatchResponse) {
	i.mu.Lock()
	up := said.GetProblem() == ""
	turned := up != i.now.Up
	if turned {
		i.now.Since = time.Now()
	}
	i.now.Up, i.now.Error, i.now.Handlers = up, said.GetProblem(), said.GetHandlers()
	i.mu.Unlock()
	if turned && !up {
		slog.Warn("plugin has a problem", "plugin", i.conn.name, "problem", said.GetProblem())
	}
	if turned && up {
		slog.Info("plugin is well again", "plugin", i.conn.name)
	}
	i.changed()
}
