package pluginhost

import (
	"errors"
	"testing"

	"google.golang.org/grpc"
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
			c.set(&grpc.ClientConn{}, nil)
			var idle <-chan struct{}
			var l *line
			for i, step := range order {
				switch step {
				case "take":
					l, _, _ = c.take()
				case "give":
					c.give(l)
				case "set":
					idle = c.set(&grpc.ClientConn{}, nil)
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
