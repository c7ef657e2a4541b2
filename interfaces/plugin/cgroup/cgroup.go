// Package cgroup bounds what single processes may use, on cgroup v1 and v2. Hosts put plugins into cgroups with it, and
// plugins put what they supervise out of theirs.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Limits are what a process may use; 0 is no limit.
type Limits struct {
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	CPUMillis   int64 `json:"cpuMillis,omitempty"`
}

// Tree is a cgroup below which others are made.
type Tree struct {
	// Mount is where cgroups are mounted, /sys/fs/cgroup when empty.
	Mount string
	Root  string
}

const period = 100_000 // microseconds, the kernel's default

func (t Tree) mount() string {
	if t.Mount == "" {
		return "/sys/fs/cgroup"
	}
	return t.Mount
}

func (t Tree) v2() bool {
	_, err := os.Stat(filepath.Join(t.mount(), "cgroup.controllers"))
	return err == nil
}

// tops are the directories of the hierarchies that bound memory and CPU.
func (t Tree) tops() []string {
	if t.v2() {
		return []string{t.mount()}
	}
	var out []string
	for _, c := range []string{"memory", "cpu"} {
		if dir := filepath.Join(t.mount(), c); isDir(dir) {
			out = append(out, dir)
		}
	}
	return out
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Make makes a cgroup of a name with limits, and returns its directories: one for each hierarchy. It is idempotent.
func (t Tree) Make(name string, l Limits) ([]string, error) {
	tops := t.tops()
	if len(tops) == 0 {
		return nil, fmt.Errorf("make cgroup %s: no cgroups are mounted at %s", name, t.mount())
	}
	var dirs []string
	for _, top := range tops {
		dir := top
		for part := range strings.SplitSeq(strings.Trim(filepath.Join(t.Root, name), "/"), "/") {
			if t.v2() {
				for _, c := range []string{"+memory", "+cpu"} {
					_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(c), 0o644) // Missed below.
				}
			}
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return dirs, fmt.Errorf("make cgroup: %w", err)
			}
		}
		dirs = append(dirs, dir)
	}
	for file, value := range t.files(dirs, l) {
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
			return dirs, fmt.Errorf("limit cgroup: %w", err)
		}
	}
	return dirs, nil
}

// files are what has to be written.
func (t Tree) files(dirs []string, l Limits) map[string]string {
	out := map[string]string{}
	for _, dir := range dirs {
		switch v2, memory := t.v2(), strings.HasPrefix(dir, filepath.Join(t.mount(), "memory")+"/"); {
		case v2:
			if l.MemoryBytes > 0 {
				out[filepath.Join(dir, "memory.max")] = strconv.FormatInt(l.MemoryBytes, 10)
			}
			if l.CPUMillis > 0 {
				out[filepath.Join(dir, "cpu.max")] = fmt.Sprintf("%d %d", quota(l), period)
			}
		case memory && l.MemoryBytes > 0:
			out[filepath.Join(dir, "memory.limit_in_bytes")] = strconv.FormatInt(l.MemoryBytes, 10)
		case !memory && l.CPUMillis > 0:
			out[filepath.Join(dir, "cpu.cfs_quota_us")] = strconv.FormatInt(quota(l), 10)
		}
	}
	return out
}

// quota is at least the millisecond that the kernel asks for.
func quota(l Limits) int64 { return max(l.CPUMillis*period/1000, 1000) }

// Enter puts a process into a cgroup that Make has returned.
func Enter(dirs []string, pid int) error {
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	return nil
}

// OutOfMemory tells that a process of a cgroup was killed for its limit.
func (t Tree) OutOfMemory(name string) bool {
	for _, top := range t.tops() {
		for _, file := range []string{"memory.events", "memory.oom_control"} {
			f, err := os.Open(filepath.Join(top, t.Root, name, file))
			if err != nil {
				continue
			}
			lines := bufio.NewScanner(f)
			for lines.Scan() {
				if n, ok := strings.CutPrefix(lines.Text(), "oom_kill "); ok && n != "0" {
					_ = f.Close()
					return true
				}
			}
			_ = f.Close()
		}
	}
	return false
}

// settle is how long a cgroup may be busy after its last process has ended: the kernel takes it out a moment later.
const settle = 500 * time.Millisecond

// rmdir removes a directory. Where its last processes have just ended, or are about to and it is patient, it does so a
// moment later.
func rmdir(dir string, patient bool) error {
	for until := time.Now().Add(settle); ; time.Sleep(time.Millisecond) {
		err := syscall.Rmdir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(until) || parent(dir) || !patient && busy(dir) {
			return err
		}
	}
}

func busy(dir string) bool {
	procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	return err != nil || len(procs) > 0
}

func parent(dir string) bool {
	entries, _ := os.ReadDir(dir)
	return slices.ContainsFunc(entries, fs.DirEntry.IsDir)
}

// Remove removes a cgroup in which no process is left. One that does not exist is no error.
func (t Tree) Remove(name string) error {
	var errs []error
	for _, top := range t.tops() {
		if err := rmdir(filepath.Join(top, t.Root, name), false); err != nil {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Sweep removes the cgroups below Root that have no processes, then Root and what is above it, as far as nothing else is
// in them.
func (t Tree) Sweep() {
	for _, top := range t.tops() {
		entries, _ := os.ReadDir(filepath.Join(top, t.Root))
		for _, e := range entries {
			if e.IsDir() {
				_ = rmdir(filepath.Join(top, t.Root, e.Name()), true) // It stays where a process is in it.
			}
		}
		for dir := filepath.Join("/", t.Root); dir != "/"; dir = filepath.Dir(dir) {
			if rmdir(filepath.Join(top, dir), true) != nil {
				break
			}
		}
	}
}
