// Package plugintest helps to test plugins that change the machine's network: their tests run in a network
// namespace of their own, which has no way out.
package plugintest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const inside = "GANTRY_TEST_ISOLATED"

// Isolate is for TestMain: it runs the test's executable again in a new network namespace with nothing but
// a loopback interface, and returns its exit code. m is a *testing.M, or something around one. Without root the tests are skipped with a message.
func Isolate(m interface{ Run() int }) int {
	if os.Getenv(inside) != "" {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "cannot bring up loopback:", err)
			return 1
		}
		return m.Run()
	}
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "skipped: network namespaces need root")
		return 0
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot isolate:", err)
		return 1
	}
	return 0
}

// Isolated tells that this process runs in the namespace that Isolate has made.
func Isolated() bool { return os.Getenv(inside) != "" }

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Namespace makes a network namespace and returns its path; both go when the test ends.
func Namespace(t conformance.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "netns")
	made := make(chan error, 1)
	// The thread that unshares is not used for anything else afterwards: it ends with its goroutine.
	go func() {
		runtime.LockOSThread()
		made <- mountNamespace(path)
	}()
	if err := <-made; err != nil {
		t.Fatalf("make network namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("remove network namespace: %v", err)
		}
	})
	return path
}

func mountNamespace(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
}

// In runs a function on a thread that is in a network namespace.
func In(path string, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.GetFromPath(path)
		if err == nil {
			err = netns.Set(ns)
			_ = ns.Close()
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}
