// Command bench prints how fast and how small Gantry is on this machine: start-up, idle cost, pod start,
// restart and deletion, a deployment of 50, writes over HTTPS, and a thousand hollow nodes. It needs root and
// what `make build` makes, and runs everything in a network namespace of its own without an uplink.
//
//	go run ./test/bench [-only NAME,...]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// inside marks the process that runs in the namespace.
const inside = "GANTRY_BENCH_INSIDE"

// bench is one line, or a few, of the result.
type bench struct {
	name string
	run  func(ctx context.Context, c *cluster) error
}

// benches run in this order, each on what the ones before have left.
var benches = []bench{
	{"startup", startup},
	{"idle", idleEmpty},
	{"pod", podLatency},
	{"crash", crashLatency},
	{"delete", deleteLatency},
	{"deployment", deployment},
	{"writes", writes},
	{"hollow", hollow},
}

func main() {
	only := flag.String("only", "", "names of the benches to run, with commas between; all when empty")
	flag.Parse()
	if os.Getenv(inside) == "" {
		os.Exit(enter())
	}
	ctrllog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := runAll(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// enter runs this program again in a new network namespace.
func enter() int {
	runtime.LockOSThread() // Pdeathsig is about the thread that starts the child (prctl(2))
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

func runAll(ctx context.Context, only string) error {
	machine()
	c, err := newCluster()
	if err != nil {
		return err
	}
	defer c.remove()
	for _, b := range benches {
		if only != "" && !slices.Contains(strings.Split(only, ","), b.name) {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, 10*time.Minute)
		err := b.run(limit, c)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return nil
}

// machine prints what the figures were taken on.
func machine() {
	var u syscall.Utsname
	_ = syscall.Uname(&u)
	release := make([]byte, 0, len(u.Release))
	for _, b := range u.Release {
		if b == 0 {
			break
		}
		release = append(release, byte(b))
	}
	model := "unknown CPU"
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	fmt.Printf("machine: %d × %s, Linux %s, %s\n", runtime.NumCPU(), model, release, runtime.Version())
}

func print(name, format string, args ...any) {
	fmt.Printf("%-34s %s\n", name+":", fmt.Sprintf(format, args...))
}
