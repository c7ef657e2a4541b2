// Package process names and signals processes that this program may not be the parent of. It exists because
// plugins outlive the agent and what they supervise outlives them: a PID that was written down may belong
// to somebody else by the time it is read.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ID names one process for good, until the machine starts again. The zero value names none.
type ID struct {
	PID int `json:"pid"`
	// Start is when it started, in clock ticks after boot (proc_pid_stat(5), field 22).
	Start uint64 `json:"start"`
	// Boot is the boot it belongs to (/proc/sys/kernel/random/boot_id).
	Boot string `json:"boot"`
}

// Find returns the identity of a process that runs now. A zombie counts as gone.
func Find(pid int) (ID, error) {
	start, err := startTime(pid)
	if err != nil {
		return ID{}, err
	}
	boot, err := bootID()
	if err != nil {
		return ID{}, err
	}
	return ID{PID: pid, Start: start, Boot: boot}, nil
}

func bootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot ID: %w", err)
	}
	return string(bytes.TrimSpace(raw)), nil
}

func startTime(pid int) (uint64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read start time of process %d: %w", pid, err)
	}
	// The name is in parentheses and may contain anything; the fields follow the last one.
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	const state, start = 0, 19
	if len(fields) <= start {
		return 0, fmt.Errorf("read start time of process %d: short stat", pid)
	}
	if s := fields[state][0]; s == 'Z' || s == 'X' {
		return 0, fmt.Errorf("read start time of process %d: it ended: %w", pid, os.ErrProcessDone)
	}
	return strconv.ParseUint(string(fields[start]), 10, 64)
}

// Open returns a pidfd (pidfd_open(2)) of this very process, or os.ErrProcessDone. The caller closes it.
func (p ID) Open() (int, error) {
	if p.PID <= 0 {
		return -1, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		// Kernels before 6.9 say EINVAL while a group or session has the number of a process that ended, or a thread has it now.
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			err = os.ErrProcessDone
		}
		return -1, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	if now, err := Find(p.PID); err != nil || now != p {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("open process %d: it is another one: %w", p.PID, os.ErrProcessDone)
	}
	return fd, nil
}

// Wait returns when the process has ended or ctx is done.
func (p ID) Wait(ctx context.Context) error {
	fd, err := p.Open()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	wake, err := wakeOn(ctx)
	if err != nil {
		return err
	}
	defer wake.release()
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake.read), Events: unix.POLLIN}}, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", p.PID, err)
		}
		if n > 0 && ctx.Err() == nil {
			return nil
		}
	}
	return ctx.Err()
}

// waker turns the end of a context into something poll(2) sees.
type waker struct {
	read, write int
	stop        func() bool
	fired       chan struct{}
}

func wakeOn(ctx context.Context) (*waker, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	w := &waker{read: fds[0], write: fds[1], fired: make(chan struct{})}
	w.stop = context.AfterFunc(ctx, func() {
		defer close(w.fired)
		_, _ = unix.Write(w.write, []byte{1})
	})
	return w, nil
}

func (w *waker) release() {
	if !w.stop() {
		<-w.fired
	}
	_ = unix.Close(w.read)
	_ = unix.Close(w.write)
}

// Signal sends a signal to this very process; none if it is gone.
func (p ID) Signal(s unix.Signal) error {
	fd, err := p.Open()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// Alive says whether this very process runs.
func (p ID) Alive() bool {
	fd, err := p.Open()
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// End asks a process to end and kills it when it has not after grace. It returns when it is gone.
func (p ID) End(grace time.Duration) error {
	if err := p.Signal(unix.SIGTERM); err != nil {
		return err
	}
	if err := p.waitFor(grace); err == nil {
		return nil
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		return err
	}
	return p.waitFor(10 * time.Second)
}

func (p ID) waitFor(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return p.Wait(ctx)
}
