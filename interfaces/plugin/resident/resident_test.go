package resident

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMapped(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-00a41000 r-xp 00000000 fe:00 1234   /bin/plugin":  true,
		"00a41000-00b00000 r--p 00641000 fe:00 1234   /bin/plugin":  true,
		"00b00000-00c00000 rw-p 00641000 fe:00 1234   /bin/plugin":  false,
		"00400000-00a41000 r-xp 00000000 fe:00 1234   /bin/another": false,
		"c000000000-c000400000 rw-p 00000000 00:00 0":               false,
		"Anonymous:             0 kB":                               false,
		"00a41000-00a41000 r--p 00641000 fe:00 1234   /bin/plugin":  false,
	} {
		m, got := mapped(line, "/bin/plugin")
		if got != want || got && (m.from == 0 || m.to <= m.from) {
			t.Errorf("%q: %x-%x %v, want %v", line, m.from, m.to, got, want)
		}
	}
}

func TestDropExecutable(t *testing.T) {
	before := Files()
	DropExecutable()
	if after := Files(); after >= before {
		t.Errorf("%d bytes of the executable were resident, now %d", before, after)
	}
}

// What is mapped to be read goes, whether shared or not; what has been written to a private mapping stays as it is.
func TestDropLeavesWhatWasWritten(t *testing.T) {
	const size = 8 << 20
	path := filepath.Join(t.TempDir(), "with a space")
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	open := func(protection, flags int) []byte {
		data, err := unix.Mmap(int(f.Fd()), 0, size, protection, flags|unix.MAP_POPULATE)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Munmap(data) })
		return data
	}
	dropped := func(want uint64) {
		t.Helper()
		before := Files()
		Drop(path)
		if after := Files(); before-min(after, before) < want {
			t.Errorf("%d bytes were resident, now %d", before, after)
		}
	}
	open(unix.PROT_READ, unix.MAP_SHARED)
	dropped(size / 2)
	shared := open(unix.PROT_READ, unix.MAP_SHARED)
	written := open(unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	written[0] = 2
	if err := unix.Mprotect(written, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	dropped(size / 2)
	if shared[size-1] != 1 || written[0] != 2 {
		t.Errorf("reads %d and %d, want 1 and 2", shared[size-1], written[0])
	}
}
