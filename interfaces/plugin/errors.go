package plugin

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The errors whose meaning survives the wire. Test for them with errors.Is.
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("already exists")
	ErrInvalid     = errors.New("invalid")
	ErrExhausted   = errors.New("exhausted")
	ErrUnavailable = errors.New("plugin unavailable")
	ErrUnsupported = errors.New("unsupported")
)

var wire = []struct {
	err  error
	code codes.Code
}{
	{ErrNotFound, codes.NotFound},
	{ErrExists, codes.AlreadyExists},
	{ErrInvalid, codes.InvalidArgument},
	{ErrExhausted, codes.ResourceExhausted},
	{ErrUnavailable, codes.Unavailable},
	{ErrUnsupported, codes.Unimplemented},
	{context.Canceled, codes.Canceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
}

// ToStatus turns an error into a gRPC status; an error which is a status already stays as it is.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	for _, w := range wire {
		if errors.Is(err, w.err) {
			return status.Error(w.code, err.Error())
		}
	}
	return status.Error(codes.Unknown, err.Error())
}

// FromStatus turns a gRPC status back into an error that errors.Is recognises. The text is kept.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, w := range wire {
		if s.Code() == w.code {
			return &remote{text: s.Message(), is: w.err, status: s}
		}
	}
	return &remote{text: s.Message(), status: s}
}

// remote is an error that happened at the other end.
type remote struct {
	text   string
	is     error
	status *status.Status
}

func (r *remote) Error() string              { return r.text }
func (r *remote) Unwrap() error              { return r.is }
func (r *remote) GRPCStatus() *status.Status { return r.status }

// errorInterceptor translates what a plugin's methods return, once, at the boundary.
func errorInterceptor(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (res any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = status.Error(codes.Internal, fmt.Sprintf("plugin panicked: %v", p))
		}
	}()
	res, err = next(ctx, req)
	return res, ToStatus(err)
}
