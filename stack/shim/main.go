// Command containerd-shim-runc-v2 is containerd's shim for runc, with two things of its own: it can be a pod's sandbox
// itself (package sandbox), and a runc, which lives for some milliseconds on one thread's work, is told so: each further
// processor that its Go runtime prepares for costs it a tenth of that.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/pkg/shim"

	"github.com/gantryio/gantry/stack/shim/sandbox"
)

func main() {
	// This process has read its own GOMAXPROCS already. runc hands none of its environment to containers.
	if err := os.Setenv("GOMAXPROCS", "1"); err != nil {
		fmt.Fprintln(os.Stderr, "set GOMAXPROCS for runc:", err)
	}
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	sandbox.Register()
	shim.RunShim(context.Background(), starter{manager.NewShimManager("io.containerd.runc.v2")})
}

// starter also starts shims of sandboxes, whose bundles have no specification.
type starter struct{ shim.Shim }

// Start implements shim.Shim.
func (s starter) Start(ctx context.Context, params *bootapi.BootstrapParams) (*bootapi.BootstrapResult, error) {
	f, err := os.OpenFile("config.json", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case err == nil:
		_, err = f.WriteString("{}") // The shim's group is then the sandbox, whose containers name it.
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("write the sandbox's specification: %w", err)
		}
	case !errors.Is(err, os.ErrExist):
		return nil, fmt.Errorf("write the sandbox's specification: %w", err)
	}
	return s.Shim.Start(ctx, params)
}
