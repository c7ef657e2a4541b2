package cri

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/plugin"
)

func place(t *testing.T) Config {
	t.Helper()
	dir := shortDir(t)
	return Config{
		Endpoint: filepath.Join(dir, "s"), CNIConfDir: filepath.Join(dir, "etc", "net.d"), CNIBinDir: filepath.Join(dir, "opt", "bin"),
		Shim: "/shim", Loopback: "/gantry/loopback", AttachSocket: filepath.Join(dir, "attach"), Owner: "me", State: filepath.Join(dir, "state"),
	}
}

// tree lists what is below a configuration's folders.
func tree(t *testing.T, c Config) map[string]string {
	t.Helper()
	out, base := map[string]string{}, filepath.Dir(c.State)
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(base, path)
		switch {
		case err != nil || d.IsDir() || name == "attach":
			return err
		case d.Type()&fs.ModeSymlink != 0:
			out[name], err = os.Readlink(path)
			return err
		}
		raw, err := os.ReadFile(path)
		out[name] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWireAndUnwire(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		wired map[string]string
	}{
		{name: "no folders", wired: map[string]string{}},
		{
			name:  "later files stay",
			files: map[string]string{"etc/net.d/10-flannel.conflist": "f", "opt/bin/flannel": "x"},
			wired: map[string]string{"etc/net.d/10-flannel.conflist": "f", "opt/bin/flannel": "x"},
		},
		{
			name:  "earlier files go aside",
			files: map[string]string{"etc/net.d/00-a.conf": "a", "etc/net.d/00-README": "r"},
			wired: map[string]string{"etc/net.d/00-a.conf" + aside: "a", "etc/net.d/00-README": "r"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := place(t)
			for name, content := range test.files {
				write(t, filepath.Join(filepath.Dir(c.State), name), content)
			}
			before := tree(t, c)
			for range 2 {
				if err := c.wire(); err != nil {
					t.Fatal(err)
				}
			}
			got := tree(t, c)
			if got["opt/bin/gantry-cni-me"] != "/shim" || socketIn(c.CNIConfDir) != c.AttachSocket {
				t.Errorf("wired is %v", got)
			}
			for name, content := range test.wired {
				if got[name] != content {
					t.Errorf("%s is %q, want %q", name, got[name], content)
				}
			}
			for range 2 {
				if err := c.unwire(); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(before, tree(t, c)); diff != "" {
				t.Errorf("not as before:\n%s", diff)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(c.State), "etc")); len(test.files) == 0 && !os.IsNotExist(err) {
				t.Errorf("a folder that was made is left: %v", err)
			}
		})
	}
}

func TestLoopback(t *testing.T) {
	c := place(t)
	link := filepath.Join(c.CNIBinDir, loopback)
	if err := c.wire(); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != c.Loopback {
		t.Errorf("a runtime without it got %q, %v", to, err)
	}
	if err := c.unwire(); err != nil {
		t.Fatal(err)
	}
	write(t, link, "their own")
	for _, step := range []func() error{c.wire, c.unwire} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if got := tree(t, c)["opt/bin/loopback"]; got != "their own" {
			t.Errorf("the runtime's own one is %q now", got)
		}
	}
}

func TestWireRepairs(t *testing.T) {
	c := place(t)
	for _, spoil := range []func(){
		func() {},
		func() { _ = os.Remove(filepath.Join(c.CNIConfDir, confFile)) },
		func() { write(t, filepath.Join(c.CNIConfDir, confFile), "garbage") },
		func() { _ = os.Remove(filepath.Join(c.CNIBinDir, c.shimType())) },
		func() { write(t, filepath.Join(c.CNIConfDir, "00-a.conf"), "a") },
		func() { write(t, filepath.Join(c.CNIConfDir, "00-a.conf"), "b") },
	} {
		spoil()
		if err := c.wire(); err != nil {
			t.Fatal(err)
		}
		if earlier, err := sortingEarlier(c.CNIConfDir); err != nil || len(earlier) > 0 || socketIn(c.CNIConfDir) != c.AttachSocket {
			t.Fatalf("wired is %v", tree(t, c))
		}
	}
	if err := c.unwire(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"etc/net.d/00-a.conf": "b"}, tree(t, c)); diff != "" {
		t.Errorf("the newest of a name is not given back:\n%s", diff)
	}
}

func TestWireElsewhere(t *testing.T) {
	c := place(t)
	if err := c.wire(); err != nil {
		t.Fatal(err)
	}
	moved := c
	moved.CNIConfDir = filepath.Join(filepath.Dir(c.State), "other")
	if err := moved.wire(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.CNIConfDir); !os.IsNotExist(err) {
		t.Errorf("the former folder is left: %v", err)
	}
	if err := moved.unwire(); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, c); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

func TestTwoRuntimesShareFolders(t *testing.T) {
	one := place(t)
	two := one
	two.Endpoint += "2"
	for _, c := range []Config{one, two} {
		if err := c.wire(); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.unwire(); err != nil {
		t.Fatal(err)
	}
	if socketIn(two.CNIConfDir) != two.AttachSocket || tree(t, two)["opt/bin/gantry-cni-me"] != "/shim" {
		t.Errorf("the other runtime has lost its network: %v", tree(t, two))
	}
	if err := two.unwire(); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, one); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if _, err := os.Stat(one.CNIBinDir); !os.IsNotExist(err) {
		t.Errorf("a folder that was made is left: %v", err)
	}
}

func TestAnotherClusterKeepsTheFolder(t *testing.T) {
	c := place(t)
	other := c
	other.AttachSocket, other.State, other.Owner = c.AttachSocket+"2", c.State+"2", "you"
	lis, err := net.Listen("unix", other.AttachSocket)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.wire(); err != nil {
		t.Fatal(err)
	}
	if err := c.wire(); !errors.Is(err, plugin.ErrExists) {
		t.Errorf("took the folder of a cluster that runs: %v", err)
	}
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.wire(); err != nil {
		t.Errorf("did not take the folder of a cluster that is gone: %v", err)
	}
	if err := other.unwire(); err != nil {
		t.Fatal(err)
	}
	if socketIn(c.CNIConfDir) != c.AttachSocket {
		t.Error("the former cluster took the new one's configuration away")
	}
}
