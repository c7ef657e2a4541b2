// Command bench prints how fast and how small Gantry is on this machine: start-up, idle cost, pod start,
// restart and deletion, a deployment of 50, plugins (memory, reattaching, swaps, the cost of a call), writes over HTTPS, a client beside a flooding one, what reads,
// lists, watches and a large cluster cost the server, some of that beside a kube-apiserver where one is built, a deployment of 1,000 and 10,000 pods on a thousand hollow nodes, and the scheduler. It
// needs root and what `make build` makes, and runs everything in a network namespace of its own without an uplink.
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
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"go.etcd.io/etcd/server/v3/etcdmain"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// inside marks the process that runs in the namespace.
const inside = "GANTRY_BENCH_INSIDE"

// bench is one line, or a few, of the result.
type bench struct {
	name string
	run  func(ctx context.Context, c *cluster) error
	core func(ctx context.Context) error // in this process, without a cluster
}

// benches run in this order, each on what the ones before have left.
var benches = []bench{
	{name: "startup", run: startup},
	{name: "idle", run: idleEmpty},
	{name: "pod", run: podLatency},
	{name: "crash", run: crashLatency},
	{name: "delete", run: deleteLatency},
	{name: "deployment", run: deployment},
	{name: "memory", run: memory},
	{name: "reattach", run: reattach},
	{name: "swapfakes", run: swapFakes},
	{name: "swap", run: swapReal}, // after it the shipped runtime is the chosen default, which no other takes the place of by itself
	{name: "boundary", core: boundary},
	{name: "writes", run: writes},
	{name: "flood", run: flood},
	{name: "empty", run: empty},
	{name: "created", run: created},
	{name: "reads", run: reads},
	{name: "lists", run: lists},
	{name: "watchers", run: watchers},
	{name: "beside", run: beside},
	{name: "large", run: large},
	{name: "rollout", run: rollout},
	{name: "jobs", run: jobs},
	{name: "hollow", run: hollow},
	{name: "scheduler", core: scheduleReady},
	{name: "judged", core: scheduleJudged},
	{name: "spread", core: scheduleSpread},
	{name: "stream", core: scheduleStream},
	{name: "preempt", core: schedulePreempt},
}

// profiles is a folder for profiles of the server, "" for none.
var profiles = flag.String("profiles", "", "folder for profiles of the API server, of the benches that have one of their own")

func main() {
	if os.Getenv(beingEtcd) != "" {
		etcdmain.Main(os.Args)
		return
	}
	only := flag.String("only", "", "names of the benches to run, with commas between; all when empty")
	profile := flag.String("cpuprofile", "", "file for a CPU profile of this process, which has all of the scheduler's benches")
	flag.Parse()
	if text := os.Getenv(flooding); text != "" {
		if err := runFlood(text); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(inside) == "" {
		os.Exit(enter())
	}
	ctrllog.SetLogger(logr.Discard())
	debug.SetGCPercent(200) // as gantry does while its heap is small
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	stopProfile, err := startProfile(*profile)
	if err == nil {
		err = runAll(ctx, *only)
		stopProfile()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// startProfile begins to profile this process, unless path is empty.
func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, nil
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
	var c *cluster
	for _, b := range benches {
		if only != "" && !slices.Contains(strings.Split(only, ","), b.name) {
			continue
		}
		if c == nil && b.run != nil {
			var err error
			if c, err = newCluster(); err != nil {
				return err
			}
			defer c.remove()
		}
		limit, cancel := context.WithTimeout(ctx, 15*time.Minute)
		var err error
		if b.core != nil {
			err = b.core(limit)
		} else {
			err = b.run(limit, c)
		}
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
