// Command gantry-shim stands before containerd-shim-runc-v2. containerd runs the shim's "delete" after the end
// of every container, also when the running shim has taken everything away already; that would start two large
// executables to find nothing, in the middle of a container's restart. This one looks first. For all else it
// becomes the real shim.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The plugin that starts containerd sets these.
const (
	shimEnv = "GANTRY_SHIM"      // the real shim
	rootEnv = "GANTRY_RUNC_ROOT" // where runc keeps what it knows of containers, by namespace
)

func main() {
	if slices.Contains(os.Args[1:], "delete") && gone(os.Getenv(rootEnv), flag("-namespace"), flag("-id")) {
		if _, err := os.Stdout.Write(response(time.Now())); err == nil {
			return
		}
	}
	shim := os.Getenv(shimEnv)
	// The small heap is containerd's: of shims and runc there are many, and most of them live shorter than a collection takes.
	_ = os.Unsetenv("GOGC")
	err := syscall.Exec(shim, append([]string{shim}, os.Args[1:]...), os.Environ())
	fmt.Fprintln(os.Stderr, "run", shim+":", err)
	os.Exit(1)
}

// flag is the value of an option on the command line.
func flag(name string) string {
	if i := slices.Index(os.Args, name); i > 0 && i+1 < len(os.Args) {
		return os.Args[i+1]
	}
	return ""
}

// gone tells that runc does not know the container any more and that its root file system is not mounted in the
// bundle, which is the working directory. When in doubt it is not gone.
func gone(root, namespace, id string) bool {
	if root == "" || namespace == "" || id == "" {
		return false
	}
	if _, err := os.Lstat(filepath.Join(root, namespace, id)); !errors.Is(err, os.ErrNotExist) {
		return false
	}
	bundle, err := os.Getwd()
	if err != nil || filepath.Base(bundle) != id {
		return false
	}
	var here, rootfs syscall.Stat_t
	if syscall.Lstat(bundle, &here) != nil {
		return false
	}
	err = syscall.Lstat(filepath.Join(bundle, "rootfs"), &rootfs)
	return errors.Is(err, syscall.ENOENT) || err == nil && rootfs.Dev == here.Dev && empty(filepath.Join(bundle, "rootfs"))
}

// empty says that a folder has nothing in it. A mount of the same device would show what it has.
func empty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// response is a containerd.task.v2.DeleteResponse as the real shim gives it for a container that was killed. It
// counts only when the shim ended before it could tell itself.
func response(now time.Time) []byte {
	const exitStatus, exitedAt = 2, 3 // field numbers
	var at []byte
	at = protowire.AppendTag(at, 1, protowire.VarintType)
	at = protowire.AppendVarint(at, uint64(now.Unix()))
	at = protowire.AppendTag(at, 2, protowire.VarintType)
	at = protowire.AppendVarint(at, uint64(now.Nanosecond()))
	var out []byte
	out = protowire.AppendTag(out, exitStatus, protowire.VarintType)
	out = protowire.AppendVarint(out, 128+uint64(syscall.SIGKILL))
	out = protowire.AppendTag(out, exitedAt, protowire.BytesType)
	return protowire.AppendBytes(out, at)
}
