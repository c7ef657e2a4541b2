package pluginhost

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The connection before has been answered when its last call has returned, whether there is another one or none.
func TestAnswered(t *testing.T) {
	for name, order := range map[string][]string{
		"no calls":           {"set"},
		"a call":             {"take", "set", "give"},
		"two calls":          {"take", "take", "set", "give", "give"},
		"one of two before":  {"take", "take", "give", "set", "give"},
		"when there is none": {"take", "down", "give"},
		"none any more":      {"take", "give", "set"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConn("x")
			c.set(&line{ClientConn: &grpc.ClientConn{}}, nil)
			var idle <-chan struct{}
			var l *line
			for i, step := range order {
				switch step {
				case "take":
					l, _, _ = c.take()
				case "give":
					c.give(l)
				case "set":
					idle = c.set(&line{ClientConn: &grpc.ClientConn{}}, nil)
				case "down":
					idle = c.set(nil, errors.New("down"))
				}
				select {
				case <-idle:
					if i < len(order)-1 {
						t.Errorf("it has been answered after step %d", i)
					}
				default:
					if i == len(order)-1 {
						t.Error("it is never answered")
					}
				}
			}
		})
	}
}

// calls serves any method: it tells of each call and answers none before the test ends.
func calls(t *testing.T) (*grpc.ClientConn, <-chan struct{}) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan struct{}, 10)
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		came <- struct{}{}
		<-stream.Context().Done()
		return stream.Context().Err()
	}))
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	cc, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc, came
}

// A call that the plugin has seen is not made again when its connection is closed before its end is noticed.
func TestSentOnce(t *testing.T) {
	first, came := calls(t)
	second, again := calls(t)
	c := newConn("x")
	c.set(&line{ClientConn: first}, nil)
	answer := make(chan error, 1)
	go func() { answer <- c.Invoke(context.Background(), "/v1.X/Do", &emptypb.Empty{}, &emptypb.Empty{}) }()
	<-came
	c.set(&line{ClientConn: second}, nil)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answer:
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "plugin x: Do: ") {
			t.Errorf("it failed with %v", err)
		}
	case <-again:
		t.Error("it was made again")
	}
}
