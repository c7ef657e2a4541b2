// Command containerd-shim-runc-v2 is containerd's shim for runc. Only what it hands down is not containerd's: a runc lives for some
// milliseconds on one thread's work, and each further processor that its Go runtime prepares for costs it a tenth of that.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task/plugin"
	"github.com/containerd/containerd/v2/pkg/shim"
)

func main() {
	// This process has read its own GOMAXPROCS already. runc hands none of its environment to containers.
	if err := os.Setenv("GOMAXPROCS", "1"); err != nil {
		fmt.Fprintln(os.Stderr, "set GOMAXPROCS for runc:", err)
	}
	shim.RunShim(context.Background(), manager.NewShimManager("io.containerd.runc.v2"))
}
