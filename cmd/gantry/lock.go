package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// awaitLock takes the lock. A process that has passed its ports on has it until it has stopped.
func awaitLock(ctx context.Context, c *config, h *handover) (*os.File, error) {
	for deadline := time.Now().Add(stopPatience); ; {
		lock, err := takeLock(c)
		if err == nil || h.old == nil || time.Now().After(deadline) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// takeLock makes this process the only one that runs on the data folder, and writes its PID. The kernel
// gives the lock back when the process ends, however that happens.
func takeLock(c *config) (*os.File, error) {
	if err := os.MkdirAll(c.data, 0o711); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	f, err := os.OpenFile(c.path("gantry.pid"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: another gantry runs on it: %w", c.data, err)
	}
	if err := writePID(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("write the PID: %w", err)
	}
	return f, nil
}

// writePID never leaves the file empty, for others look at any time.
func writePID(f *os.File) error {
	text := strconv.Itoa(os.Getpid()) + "\n"
	_, err := f.WriteAt([]byte(text), 0)
	return errors.Join(err, f.Truncate(int64(len(text))))
}

// lockHolder is the process that had the lock last.
func lockHolder(c *config) (int, error) {
	data, err := os.ReadFile(c.path("gantry.pid"))
	if err != nil {
		return 0, fmt.Errorf("read the PID: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("read the PID: %w", err)
	}
	return pid, nil
}

// running tells whether a process has the lock.
func running(c *config) bool {
	f, err := os.Open(c.path("gantry.pid"))
	if err != nil {
		return false
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return true
	}
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	return false
}

// stopRunning ends the process that has the lock, with SIGKILL when it does not end in time.
func stopRunning(c *config, patience time.Duration) error {
	if !running(c) {
		return nil
	}
	pid, err := lockHolder(c)
	if err != nil {
		return err
	}
	// A handle on the process cannot come to mean another one; the lock says that it is ours.
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		if !running(c) {
			return nil
		}
		return fmt.Errorf("find process %d: %w", pid, err)
	}
	defer unix.Close(handle)
	if !running(c) {
		return nil
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := unix.PidfdSendSignal(handle, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal process %d: %w", pid, err)
		}
		if ended(handle, patience) {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}

// ended waits for the end of a process: its handle becomes readable (pidfd_open(2)).
func ended(handle int, patience time.Duration) bool {
	deadline := time.Now().Add(patience)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		fds := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if n > 0 {
			return true
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
	}
}
