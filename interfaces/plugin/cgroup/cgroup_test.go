package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree is everything below a folder.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			raw, readErr := os.ReadFile(path)
			out[strings.TrimPrefix(path, root+"/")] = string(raw)
			return readErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMake(t *testing.T) {
	limits := Limits{MemoryBytes: 1 << 20, CPUMillis: 1500}
	for name, test := range map[string]struct {
		have []string // folders, or files when they have a dot
		l    Limits
		want map[string]string
	}{
		"v2": {
			have: []string{"cgroup.controllers"}, l: limits,
			want: map[string]string{
				"cgroup.controllers": "", "cgroup.subtree_control": "+cpu", "a/cgroup.subtree_control": "+cpu",
				"a/b/memory.max": "1048576", "a/b/cpu.max": "150000 100000", "a/b/cgroup.procs": "7",
			},
		},
		"v1": {
			have: []string{"memory", "cpu", "pids"}, l: limits,
			want: map[string]string{
				"memory/a/b/memory.limit_in_bytes": "1048576", "cpu/a/b/cpu.cfs_quota_us": "150000",
				"memory/a/b/cgroup.procs": "7", "cpu/a/b/cgroup.procs": "7",
			},
		},
		"v1 without limits": {
			have: []string{"memory", "cpu"}, want: map[string]string{"memory/a/b/cgroup.procs": "7", "cpu/a/b/cgroup.procs": "7"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			mount := t.TempDir()
			for _, h := range test.have {
				var err error
				if strings.Contains(h, ".") {
					err = os.WriteFile(filepath.Join(mount, h), nil, 0o600)
				} else {
					err = os.Mkdir(filepath.Join(mount, h), 0o700)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			dirs, err := Tree{Mount: mount, Root: "a"}.Make("b", test.l)
			if err == nil {
				err = Enter(dirs, 7)
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.want, tree(t, mount)); d != "" {
				t.Error(d)
			}
		})
	}
	if _, err := (Tree{Mount: t.TempDir()}).Make("b", limits); err == nil {
		t.Error("a machine without cgroups has one")
	}
}

func TestOutOfMemory(t *testing.T) {
	mount := t.TempDir()
	tree := Tree{Mount: mount}
	dir := filepath.Join(mount, "memory", "x")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"oom_kill_disable 0\nunder_oom 0\noom_kill 0\n": false, "under_oom 0\noom_kill 2\n": true} {
		if err := os.WriteFile(filepath.Join(dir, "memory.oom_control"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := tree.OutOfMemory("x"); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}
