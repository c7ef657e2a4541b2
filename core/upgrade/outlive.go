package upgrade

import (
	"context"
	"errors"
)

// LogPosition is the trailer with which an agent's answer to a follower of a log ends when the agent stops and the container does not.
// The query parameter LogPositionParameter with its value makes the agent that comes after it go on there.
const (
	LogPosition          = "Gantry-Log-Position"
	LogPositionParameter = "position"
)

// ErrHandedOver is the cause (context.Cause) for which requests end in a process when another one has taken over.
var ErrHandedOver = errors.New("another process serves on")

// Outlive returns a context that ends when ctx does, unless the cause of that is ErrHandedOver: what the old process can still
// do for a client runs on in it. The client's leaving is not noticed any more then.
func Outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, ErrHandedOver) {
			cancel(cause)
		}
	})
	return out, func() { stop(); cancel(context.Canceled) }
}
