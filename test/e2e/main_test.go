//go:build e2e

// Package e2e does what a newcomer does, with the real executables, real containers and kubectl, and looks at
// what the newcomer would see. The cluster runs in a network namespace of its own that has nothing but a
// loopback interface.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
)

const (
	dataEnv = "GANTRY_E2E_DATA"
	// binEnv names another folder than the repository's bin.
	binEnv = "GANTRY_E2E_BIN"
)

// shared is the cluster that all tests use, but those that need one of their own.
var shared *cluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "skipped: containers need root")
		return 0
	}
	if os.Getenv(dataEnv) != "" {
		return plugintest.Isolate(tests{m})
	}
	// The outer process outlives the tests, and clears up after them when they panic or are killed.
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Setenv(dataEnv, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := plugintest.Isolate(tests{m})
	sweep(dir)
	return code
}

// sweep takes down what tests have left below dir, from a network namespace without anything.
func sweep(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	pids, _ := filepath.Glob(filepath.Join(dir, "*", "gantry.pid"))
	for _, pid := range pids {
		down := exec.CommandContext(ctx, filepath.Join(binDir(), "gantry"), "down", "--purge", "--data", filepath.Dir(pid))
		down.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if out, err := down.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "clean up %s: %v\n%s", filepath.Dir(pid), err, out)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// tests are run with the shared cluster around them.
type tests struct{ m *testing.M }

// Run implements what Isolate asks for.
func (r tests) Run() int {
	var err error
	if shared, err = newCluster(filepath.Join(os.Getenv(dataEnv), "c"), ""); err == nil {
		err = shared.up()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: start the cluster:", err)
		return 1
	}
	code := r.m.Run()
	if err := shared.down(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: stop the cluster:", err)
		code = 1
	}
	for _, left := range shared.leftovers() {
		fmt.Fprintln(os.Stderr, "FAIL: left after `gantry down`:", left)
		code = 1
	}
	if code != 0 {
		shared.keepLog()
	}
	return code
}
