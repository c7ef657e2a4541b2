package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// test starts a cluster, runs the tests against it and writes the table. It runs inside the namespace.
func (s *settings) test(ctx context.Context) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	if err := s.gantry(ctx, "up"); err != nil {
		return err
	}
	if err := s.gantry(ctx, "image", "import", s.path("images.tar")); err != nil {
		return err
	}
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.serveRegistry(serving); err != nil {
		return err
	}
	ran := s.ginkgo(ctx)
	report := filepath.Join(s.work, "report/ginkgo/report.json")
	results, err := readReport(report)
	if err != nil {
		return errors.Join(ran, err)
	}
	if err := copyFile(report, s.path("report.json")); err != nil {
		return err
	}
	if s.table != "" {
		if err := update(s.table, results); err != nil {
			return err
		}
	}
	if s.part {
		ran = errors.Join(ran, missing(results))
	}
	if ran != nil {
		return fmt.Errorf("tests failed, see %s: %w", cmp.Or(s.table, s.path("e2e.log")), ran)
	}
	return nil
}

func (s *settings) data() string { return filepath.Join(s.work, "c") }

func (s *settings) gantry(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "gantry"), args...)
	cmd.Env = append(os.Environ(), "GANTRY_DATA="+s.data())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("gantry %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// ginkgo runs the tests; all that they say goes to a file in the cache, the verdicts to the terminal as well.
func (s *settings) ginkgo(ctx context.Context) error {
	log, err := os.Create(s.path("e2e.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Println("running tests; their output is in", log.Name())
	args := []string{"--procs=" + strconv.Itoa(s.procs), "--timeout=" + s.timeout.String(), "--focus=" + s.focus, "--no-color", "--silence-skips"}
	if s.skip != "" {
		args = append(args, "--skip="+s.skip)
	}
	cmd := exec.CommandContext(ctx, s.path("ginkgo"), append(args, s.path("e2e.test"), "--",
		"--kubeconfig="+filepath.Join(s.data(), "admin.kubeconfig"), "--kubectl-path="+filepath.Join(s.bin, "kubectl"),
		"--provider=skeleton", "--disable-log-dump", "--report-dir="+filepath.Join(s.work, "report"), "--report-complete-ginkgo")...)
	verdicts := &verdictWriter{to: os.Stdout}
	cmd.Stdout = io.MultiWriter(log, verdicts)
	cmd.Stderr = cmd.Stdout
	// Interrupted, it ends the tests that run and writes its report; what it has started is in its process group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }()
	return cmd.Wait()
}

// sweep takes the cluster down, from a namespace without anything.
func (s *settings) sweep() {
	if _, err := os.Stat(s.data()); err == nil {
		if err := copyFile(filepath.Join(s.data(), "gantry.log"), s.path("gantry.log")); err != nil {
			fmt.Fprintln(os.Stderr, "keep the log:", err)
		}
		down := exec.Command(filepath.Join(s.bin, "gantry"), "down", "--purge", "--data", s.data())
		down.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if out, err := down.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "take the cluster down: %v\n%s", err, out)
			return
		}
	}
	if err := os.RemoveAll(s.work); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// copyFile keeps a file of the work folder, which may be on another file system.
func copyFile(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o600)
}
