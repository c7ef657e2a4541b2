package gantry_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestNoExecutables looks for what was built and then committed.
func TestNoExecutables(t *testing.T) {
	out, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("this is no clone: %v", err)
	}
	for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		f, err := os.Open(path)
		if err != nil {
			continue // it has been removed, which is not committed yet
		}
		head := make([]byte, 4)
		_, err = io.ReadFull(f, head)
		_ = f.Close()
		if err == nil && bytes.Equal(head, []byte("\x7fELF")) {
			t.Errorf("%s is an executable", path)
		}
	}
}
