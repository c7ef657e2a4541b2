package plugin

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A plugin is a small program in a large executable. Starting touches nearly all of it (tables, type descriptors, the init
// functions of libraries), little of which is needed again, and leaves a heap that was as large only then.
const (
	// trimFirst is long enough after the start that nobody waits for the plugin any more.
	trimFirst = 5 * time.Second
	// trimAgain is how often what has been used since is given back. A collection of so small a heap takes a millisecond or two.
	trimAgain = time.Minute
	// heapGrowth is how much the heap may grow between collections, in percent. A plugin's heap is a few megabytes, and
	// collecting it costs little.
	heapGrowth = 50
)

// trim keeps the memory of this process small, for ever.
func trim() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	for wait := trimFirst; ; wait = trimAgain {
		time.Sleep(wait)
		debug.FreeOSMemory()
		dropExecutable()
	}
}

// dropExecutable takes the pages of the executable out of this process, as the kernel would if memory was short: they stay in
// the page cache, and what is needed is mapped again when it is touched. A failure costs nothing but memory.
func dropExecutable() {
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
