package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// holder is a thread that is in a pod's namespaces and does nothing else. They are there as long as it is, and
// containers find them below /proc under the thread's number, which the kernel takes there like a process'.
type holder struct {
	tid     int
	release chan struct{}
	gone    chan struct{}
}

// hold makes the namespaces of a pod: the network's is the one of a path, those for IPC and the hostname are new, unless
// the pod uses the machine's.
func hold(netns string, c config) (*holder, error) {
	h := &holder{release: make(chan struct{}), gone: make(chan struct{})}
	ready := make(chan error)
	go h.run(netns, c, ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	return h, nil
}

func (h *holder) run(netns string, c config, ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() { // The first thread is the process: its namespaces are the shim's.
		again := make(chan error)
		go h.run(netns, c, again)
		err := <-again // Another thread, as this one is taken.
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	// The thread is never unlocked, so it ends with this function, and its namespaces with it.
	back, err := leave()
	if err == nil {
		err = enter(netns, c)
	}
	if err != nil {
		closeAll(back)
		ready <- err
		return
	}
	h.tid = unix.Gettid()
	ready <- nil
	<-h.release
	// It goes back first: when it ends is up to the scheduler, and whoever stops a sandbox wants to see the end of it.
	for _, ns := range back {
		_ = unix.Setns(int(ns.Fd()), 0)
	}
	closeAll(back)
	close(h.gone)
}

// end gives the namespaces up. When it returns the thread is in them no more.
func (h *holder) end() {
	close(h.release)
	<-h.gone
}

// leave opens the namespaces that the thread is about to leave.
func leave() ([]*os.File, error) {
	var out []*os.File
	for _, kind := range []string{"net", "ipc", "uts"} {
		f, err := os.Open("/proc/thread-self/ns/" + kind)
		if err != nil {
			closeAll(out)
			return nil, fmt.Errorf("hold namespaces: %w", err)
		}
		out = append(out, f)
	}
	return out, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// enter takes the calling thread into a pod's namespaces.
func enter(netns string, c config) error {
	flags := 0
	if c.ipc != node {
		flags |= unix.CLONE_NEWIPC
	}
	if c.network != node {
		flags |= unix.CLONE_NEWUTS
		if err := join(netns); err != nil {
			return err
		}
	}
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	if c.network != node && c.hostname != "" {
		if err := unix.Sethostname([]byte(c.hostname)); err != nil {
			return fmt.Errorf("set hostname %q: %w", c.hostname, err)
		}
	}
	return setSysctls(c)
}

func join(netns string) error {
	f, err := os.Open(netns)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", netns, err)
	}
	return nil
}

// unprivileged is what containerd sets for pods with a network of their own: any user may listen on any port and send
// ICMP echo requests.
var unprivileged = map[string]string{
	"net.ipv4.ip_unprivileged_port_start": "0",
	"net.ipv4.ping_group_range":           "0 2147483647",
}

// setSysctls sets what the pod wants in the namespaces of the calling thread.
func setSysctls(c config) error {
	if c.network != node {
		for name, value := range unprivileged {
			if _, wanted := c.sysctls[name]; wanted {
				continue
			}
			if err := setSysctl(name, value); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	for name, value := range c.sysctls {
		if err := setSysctl(name, value); err != nil {
			return err
		}
	}
	return nil
}

// setSysctl takes names with dots or, where a dot is part of a name, with slashes (sysctl(8)).
func setSysctl(name, value string) error {
	path := name
	if first := strings.IndexAny(name, "./"); first >= 0 && name[first] == '.' {
		path = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	if !filepath.IsLocal(path) {
		return fmt.Errorf("set sysctl %q: no such name", name)
	}
	if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0); err != nil {
		return fmt.Errorf("set sysctl %q: %w", name, err)
	}
	return nil
}
