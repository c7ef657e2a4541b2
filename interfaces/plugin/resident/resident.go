// Package resident keeps the memory of a process small.
package resident

import (
	"bufio"
	"fmt"
	"iter"
	"os"
	"runtime/debug"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Trim collects garbage, returns free memory to the machine, and takes the executable's pages out of this process. It
// takes some milliseconds, and what runs next some more until its pages are mapped again: it is for quiet moments.
func Trim() {
	debug.FreeOSMemory()
	DropExecutable()
}

// DropExecutable takes the pages of the executable out of this process, as Drop does.
func DropExecutable() { drop(executable()) }

// executable stays mapped where it is, and what of it can be written at all has been before it began to run.
var executable = sync.OnceValue(func() []mapping {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	return droppable(self)
})

// Drop takes the pages of a mapped file out of this process, as the kernel would if memory was short: they stay in the page cache,
// and what is needed is mapped again when it is touched. Path has no symbolic links. Only what cannot be written and is in the
// file as it is here is dropped. The caller sees to it that the file stays mapped where it is meanwhile. A failure costs nothing but memory.
func Drop(path string) { drop(droppable(path)) }

// drop is called only when all is known: what is needed to find the next mapping would bring much of the executable back, 2 MB at once
// where it lies in the page cache in large pieces.
func drop(all []mapping) {
	for _, m := range all {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
	}
}

// droppable finds the mappings of a file that have no pages of their own. Shared ones have none; for others the kernel has to look at every
// page of the process, which takes milliseconds and keeps it from mapping others meanwhile.
func droppable(path string) []mapping {
	var out []mapping
	for line := range lines("/proc/self/maps") {
		m, ok := mapped(line, path)
		switch {
		case ok && !m.shared:
			return untouched(path)
		case ok:
			out = append(out, m)
		}
	}
	return out
}

// untouched finds the mappings of a file whose pages have all been left as they are in the file.
func untouched(path string) []mapping {
	var out []mapping
	var m mapping
	for line := range lines("/proc/self/smaps") {
		if have, ok := mapped(line, path); ok {
			m = have
			continue
		}
		// A page that was written before it was protected, as relocations are, is not in the file as it is here.
		if name, value, _ := strings.Cut(line, ":"); m.to != 0 && name == "Anonymous" {
			if strings.TrimSpace(value) == "0 kB" {
				out = append(out, m)
			}
			m = mapping{}
		}
	}
	return out
}

// lines are those of a file, none where it cannot be read.
func lines(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		f, err := os.Open(path)
		if err != nil {
			return
		}
		defer func() { _ = f.Close() }()
		for in := bufio.NewScanner(f); in.Scan() && yield(in.Text()); {
		}
	}
}

// mapping is a part of the address space.
type mapping struct {
	from, to uintptr
	shared   bool
}

// mapped reads the line of a mapping (proc_pid_maps(5)), and tells whether it is one of the file that cannot be written.
func mapped(line, path string) (m mapping, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || !strings.HasPrefix(fields[1], "r-") || !strings.HasSuffix(line, " "+path) || !strings.HasPrefix(path, "/") {
		return mapping{}, false
	}
	m.shared = strings.HasSuffix(fields[1], "s")
	_, err := fmt.Sscanf(fields[0], "%x-%x", &m.from, &m.to)
	return m, err == nil && m.to > m.from
}

// Files is how much of files is in this process, in bytes: what Drop can make less.
func Files() uint64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident, shared uint64 // in pages (proc_pid_statm(5))
	if _, err := fmt.Sscan(string(data), &size, &resident, &shared); err != nil {
		return 0
	}
	return shared * uint64(os.Getpagesize())
}
