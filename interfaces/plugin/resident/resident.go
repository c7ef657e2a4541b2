// Package resident keeps the memory of a process that has become idle small.
package resident

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Trim collects garbage, returns free memory to the machine, and takes the executable's pages out of this process. It
// takes some milliseconds, and what runs next some more until its pages are mapped again: it is for quiet moments.
func Trim() {
	debug.FreeOSMemory()
	DropExecutable()
}

// DropExecutable takes the pages of the executable out of this process, as the kernel would if memory was short: they stay in
// the page cache, and what is needed is mapped again when it is touched. A failure costs nothing but memory.
func DropExecutable() {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	var from, to uintptr
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if start, end, ok := readOnly(lines.Text(), self); ok {
			from, to = start, end
			continue
		}
		// A page that was written before it was protected, as relocations are, is not in the file as it is here.
		if name, value, _ := strings.Cut(lines.Text(), ":"); to != 0 && name == "Anonymous" {
			if strings.TrimSpace(value) == "0 kB" {
				_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
			}
			to = 0
		}
	}
}

// readOnly reads the first line of a mapping (proc_pid_smaps(5)), and tells whether it is one of file that cannot be written.
func readOnly(line, file string) (from, to uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[5] != file || !strings.HasPrefix(fields[1], "r-") {
		return 0, 0, false
	}
	_, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to)
	return from, to, err == nil && to > from
}
