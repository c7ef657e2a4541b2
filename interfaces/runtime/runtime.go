// Package runtime is the contract of container runtimes: CRI v1 itself, seen from the caller's side, with
// the few powers Gantry wants beyond it as separate small interfaces. Every runtime that speaks CRI is
// thereby a runtime of Gantry.
package runtime

import (
	"context"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/runtime/proto"
)

// Runtime is CRI v1. Errors are gRPC statuses as CRI specifies them.
type Runtime interface {
	runtimeapi.RuntimeServiceClient
	runtimeapi.ImageServiceClient
}

// Importer is an optional power: images from files.
type Importer interface {
	// Import loads the images of an OCI layout (folder or tar) or a docker archive at a path that the
	// runtime can read, and returns their names. Importing the same file again changes nothing.
	Import(ctx context.Context, path string) ([]string, error)
}

// Server is the plugin's side of a runtime that is written against CRI's server interfaces.
type Server interface {
	runtimeapi.RuntimeServiceServer
	runtimeapi.ImageServiceServer
}

// Register serves a runtime; its Importer too if it has one.
func Register(r grpc.ServiceRegistrar, s Server) {
	runtimeapi.RegisterRuntimeServiceServer(r, s)
	runtimeapi.RegisterImageServiceServer(r, s)
	if i, ok := s.(Importer); ok {
		RegisterImporter(r, i)
	}
}

// RegisterImporter serves Import alone, for a plugin that forwards CRI unread.
func RegisterImporter(r grpc.ServiceRegistrar, i Importer) {
	proto.RegisterImporterServer(r, &importServer{impl: i})
}

// Client is a runtime behind a connection. Import of a runtime without that power returns
// plugin.ErrUnsupported.
type Client struct {
	runtimeapi.RuntimeServiceClient
	runtimeapi.ImageServiceClient
	importer proto.ImporterClient
}

var (
	_ Runtime  = (*Client)(nil)
	_ Importer = (*Client)(nil)
)

// NewClient returns the runtime at the other end of a connection.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{
		RuntimeServiceClient: runtimeapi.NewRuntimeServiceClient(conn),
		ImageServiceClient:   runtimeapi.NewImageServiceClient(conn),
		importer:             proto.NewImporterClient(conn),
	}
}

// Import implements Importer.
func (c *Client) Import(ctx context.Context, path string) ([]string, error) {
	res, err := c.importer.Import(ctx, &proto.ImportRequest{Path: path})
	if err != nil {
		return nil, plugin.FromStatus(err)
	}
	return res.GetNames(), nil
}

type importServer struct {
	proto.UnimplementedImporterServer
	impl Importer
}

func (s *importServer) Import(ctx context.Context, in *proto.ImportRequest) (*proto.ImportResponse, error) {
	names, err := s.impl.Import(ctx, in.GetPath())
	if err != nil {
		return nil, plugin.ToStatus(err)
	}
	return &proto.ImportResponse{Names: names}, nil
}
