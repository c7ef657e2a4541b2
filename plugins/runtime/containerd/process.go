package containerd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// process names one process for good: a PID alone may be used again.
type process struct {
	PID int `json:"pid"`
	// Start is when it started, in clock ticks after boot (proc_pid_stat(5), field 22).
	Start uint64 `json:"start"`
	// Config is the digest of what it was started with.
	Config string `json:"config"`
}

// startTime reads when a process started. A zombie counts as gone.
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

// open returns a file descriptor that stays with this very process, or os.ErrProcessDone.
func (p process) open() (int, error) {
	if p.PID <= 0 {
		return -1, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			err = os.ErrProcessDone
		}
		return -1, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	if start, err := startTime(p.PID); err != nil || start != p.Start {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("open process %d: it is another one: %w", p.PID, os.ErrProcessDone)
	}
	return fd, nil
}

// wait returns when the process has ended or ctx is done.
func (p process) wait(ctx context.Context) error {
	fd, err := p.open()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	timeout := -1
	if ctx.Done() != nil {
		timeout = 100
	}
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", p.PID, err)
		}
		if n > 0 {
			return nil
		}
	}
	return ctx.Err()
}

// signal sends a signal to this very process; none if it is gone.
func (p process) signal(s unix.Signal) error {
	fd, err := p.open()
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

func readProcess(path string) (process, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return process{}, err
	}
	var p process
	if err := json.Unmarshal(raw, &p); err != nil {
		return process{}, fmt.Errorf("read %s: %w", path, err)
	}
	return p, nil
}

func (p process) write(path string) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
