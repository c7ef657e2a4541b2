package resident

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestReadOnly(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-00a41000 r-xp 00000000 fe:00 1234   /bin/plugin":  true,
		"00a41000-00b00000 r--p 00641000 fe:00 1234   /bin/plugin":  true,
		"00b00000-00c00000 rw-p 00641000 fe:00 1234   /bin/plugin":  false,
		"00400000-00a41000 r-xp 00000000 fe:00 1234   /bin/another": false,
		"c000000000-c000400000 rw-p 00000000 00:00 0":               false,
		"Anonymous:             0 kB":                               false,
		"00a41000-00a41000 r--p 00641000 fe:00 1234   /bin/plugin":  false,
	} {
		from, to, got := readOnly(line, "/bin/plugin")
		if got != want || got && (from == 0 || to <= from) {
			t.Errorf("%q: %x-%x %v, want %v", line, from, to, got, want)
		}
	}
}

// resident is how much of files is in this process, in kB.
func resident(t *testing.T) (kb int) {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, "RssFile:"); ok {
			if _, err := fmt.Sscan(value, &kb); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kb
}

func TestDropExecutable(t *testing.T) {
	before := resident(t)
	DropExecutable()
	if after := resident(t); after >= before {
		t.Errorf("%d kB of the executable were resident, now %d", before, after)
	}
}
