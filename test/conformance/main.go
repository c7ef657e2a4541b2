// Command conformance runs Kubernetes' own end-to-end tests against Gantry and writes down which of them pass. It is a
// module of its own, for those tests come with all of Kubernetes, which nothing else here may depend on.
//
// It builds the tests and the images that they need from the modules pinned in go.mod, which takes minutes once, and then
// starts a fresh cluster in a network namespace without an uplink. It needs root, what `make build` makes, and busybox-static.
//
//	go run . [-focus REGEXP | -part] [-procs N]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// inside marks the process that runs in the namespace.
const inside = "GANTRY_CONFORMANCE_INSIDE"

// settings are what the flags say.
type settings struct {
	focus, skip string
	procs       int
	timeout     time.Duration
	// part runs the tests that part.go names instead, and fails if one of them did not run. seccomp allows runc to be built with it.
	part, seccomp bool
	// bin has Gantry's executables, while the tests run the copy of them in the cache. cache has what is built here. table is
	// the file for the results; none if empty.
	bin, cache, table string
	// work is a new folder for the cluster's state and the tests' reports.
	work string
}

func main() {
	s := settings{}
	flag.StringVar(&s.focus, "focus", `\[sig-(apps|scheduling)\].*\[Conformance\]`, "run the tests whose names match")
	flag.StringVar(&s.skip, "skip", "", "but not those whose names match this")
	flag.BoolVar(&s.part, "part", false, "run the quick and steady tests that part.go names instead")
	flag.BoolVar(&s.seccomp, "seccomp", true, "build runc with seccomp, where libseccomp is installed")
	flag.IntVar(&s.procs, "procs", 4, "tests to run at the same time, [Serial] ones excepted")
	flag.DurationVar(&s.timeout, "timeout", 2*time.Hour, "stop the tests after this time")
	flag.StringVar(&s.bin, "bin", "../../bin", "folder of Gantry's executables")
	flag.StringVar(&s.cache, "cache", defaultCache(), "folder for what is built here")
	flag.StringVar(&s.table, "table", "../../docs/conformance.md", "file to write the results to; empty for none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "gantry-conformance")
}

func (s *settings) run(ctx context.Context) error {
	if s.part {
		s.focus = partFocus()
	}
	for _, path := range []*string{&s.bin, &s.cache, &s.table} {
		var err error
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if s.work = os.Getenv(inside); s.work != "" {
		s.bin = s.path("bin")
		return s.test(ctx)
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("containers need root")
	}
	if err := s.build(ctx); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "gc")
	if err != nil {
		return err
	}
	s.work, s.bin = work, s.path("bin")
	err = s.enter(ctx)
	s.sweep()
	return err
}

// enter runs this program again in a new network namespace. It waits for it even when interrupted: the signal is handed on.
func (s *settings) enter(ctx context.Context) error {
	runtime.LockOSThread() // Pdeathsig is about the thread that starts the child (prctl(2))
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), inside+"="+s.work)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	return cmd.Run()
}
