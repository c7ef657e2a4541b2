// Package local connects a gRPC client to a server in the same process without a socket and without
// encoding, so that fakes are used through exactly the client types that real plugins are used through.
package local

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Conn is both the registrar that services are registered with and the connection that clients use.
// Messages are copied at the boundary, so neither side sees the other's changes. Register everything
// before the first call; then it is safe for concurrent use.
type Conn struct {
	services map[string]service
}

type service struct {
	desc *grpc.ServiceDesc
	impl any
}

var (
	_ grpc.ServiceRegistrar    = (*Conn)(nil)
	_ grpc.ClientConnInterface = (*Conn)(nil)
)

// RegisterService adds a service, as grpc.Server does.
func (c *Conn) RegisterService(desc *grpc.ServiceDesc, impl any) {
	if c.services == nil {
		c.services = map[string]service{}
	}
	c.services[desc.ServiceName] = service{desc: desc, impl: impl}
}

// Invoke calls a unary method.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	svc, name, err := c.find(method)
	if err != nil {
		return err
	}
	for _, m := range svc.desc.Methods {
		if m.MethodName != name {
			continue
		}
		res, err := m.Handler(svc.impl, ctx, func(in any) error { return transfer(in, args) }, nil)
		if err != nil {
			return asStatus(err)
		}
		return transfer(reply, res)
	}
	return status.Errorf(codes.Unimplemented, "unknown method %s", method)
}

// NewStream opens a stream. The handler runs until it returns or ctx ends.
func (c *Conn) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	svc, name, err := c.find(method)
	if err != nil {
		return nil, err
	}
	for _, d := range svc.desc.Streams {
		if d.StreamName != name {
			continue
		}
		return open(ctx, func(s grpc.ServerStream) error { return d.Handler(svc.impl, s) }), nil
	}
	return nil, status.Errorf(codes.Unimplemented, "unknown method %s", method)
}

func (c *Conn) find(method string) (service, string, error) {
	name, m, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	svc, known := c.services[name]
	if !ok || !known {
		return service{}, "", status.Errorf(codes.Unimplemented, "unknown service %s", name)
	}
	return svc, m, nil
}

func transfer(to, from any) error {
	t, ok1 := to.(proto.Message)
	f, ok2 := from.(proto.Message)
	if !ok1 || !ok2 {
		return fmt.Errorf("copy %T to %T: no protobuf messages", from, to)
	}
	proto.Reset(t)
	proto.Merge(t, f)
	return nil
}
