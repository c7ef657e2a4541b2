package cri

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/interfaces/plugin"
)

const (
	// networkName is what our CNI configuration is called.
	networkName = "gantry"
	// confFile is its file. Runtimes take the file whose name sorts first.
	confFile = "00-gantry.conflist"
	// aside is put behind the names of files that sort even before.
	aside = ".aside-by-gantry"
	// loopback is what runtimes call the executable that brings up loopback interfaces.
	loopback = "loopback"
)

// record is what has to be undone, kept in State until it is.
type record struct {
	ConfDir string `json:"confDir"`
	BinDir  string `json:"binDir"`
	// Made are the folders that were not there, outer ones first.
	Made []string `json:"made,omitempty"`
}

func (c Config) recordFile() string {
	sum := sha256.Sum256([]byte(c.Endpoint))
	return filepath.Join(c.State, hex.EncodeToString(sum[:8])+".json")
}

// shimType is the name of the executable, one of its own for each owner.
func (c Config) shimType() string { return "gantry-cni-" + c.Owner }

// conflist is the configuration whose only entry is the shim.
func (c Config) conflist() ([]byte, error) {
	type table = map[string]any
	return json.MarshalIndent(table{
		"cniVersion": "1.0.0", "name": networkName,
		"plugins": []table{{
			"type": c.shimType(), "socket": c.AttachSocket,
			"capabilities": table{"portMappings": true, "bandwidth": true},
		}},
	}, "", "  ")
}

// wire makes our configuration the one that the runtime takes. It is idempotent, repairs what others have changed, and
// may end anywhere: what is recorded first is undone by unwire.
func (c Config) wire() error {
	if c.Shim == "" {
		return nil
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	want := record{ConfDir: c.CNIConfDir, BinDir: c.CNIBinDir}
	have, known := readRecord(c.recordFile())
	if known && (have.ConfDir != want.ConfDir || have.BinDir != want.BinDir) {
		if err := c.undo(have); err != nil {
			return err
		}
		known = false
	}
	if err := c.refuseForeign(); err != nil {
		return err
	}
	if !known {
		want.Made = append(missing(want.ConfDir), missing(want.BinDir)...)
		if err := writeRecord(c.recordFile(), want); err != nil {
			return fmt.Errorf("record the CNI folders: %w", err)
		}
	}
	if err := c.place(); err != nil {
		return fmt.Errorf("give the runtime its network configuration: %w", err)
	}
	return nil
}

// place writes the files.
func (c Config) place() error {
	for _, dir := range []string{c.CNIConfDir, c.CNIBinDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	link := filepath.Join(c.CNIBinDir, c.shimType())
	if to, err := os.Readlink(link); err != nil || to != c.Shim {
		if err := ignoreAbsent(os.Remove(link)); err != nil {
			return err
		}
		if err := os.Symlink(c.Shim, link); err != nil {
			return err
		}
	}
	if err := c.placeLoopback(); err != nil {
		return err
	}
	text, err := c.conflist()
	if err != nil {
		return err
	}
	file := filepath.Join(c.CNIConfDir, confFile)
	if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, text) {
		if err := replace(file, text); err != nil {
			return err
		}
	}
	earlier, err := sortingEarlier(c.CNIConfDir)
	if err != nil {
		return err
	}
	for _, path := range earlier {
		if err := os.Rename(path, path+aside); err != nil {
			return err
		}
	}
	return nil
}

// placeLoopback leaves one that works.
func (c Config) placeLoopback() error {
	link := filepath.Join(c.CNIBinDir, loopback)
	if _, err := os.Stat(link); err == nil || c.Loopback == "" {
		return nil
	}
	if err := ignoreAbsent(os.Remove(link)); err != nil {
		return err
	}
	return os.Symlink(c.Loopback, link)
}

// removeLoopback removes what placeLoopback has made.
func (c Config) removeLoopback(dir string) error {
	link := filepath.Join(dir, loopback)
	if to, err := os.Readlink(link); err != nil || c.Loopback == "" || to != c.Loopback {
		return nil
	}
	return os.Remove(link)
}

// sortingEarlier lists the configurations that runtimes would prefer to ours.
func sortingEarlier(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.Name() < confFile && slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(e.Name())) {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

// refuseForeign finds out that another cluster uses the folder.
func (c Config) refuseForeign() error {
	socket := socketIn(c.CNIConfDir)
	if socket == "" || socket == c.AttachSocket {
		return nil
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil // It is what a cluster has left that is no more.
	}
	_ = conn.Close()
	return fmt.Errorf("%s belongs to the cluster behind %s: %w", c.CNIConfDir, socket, plugin.ErrExists)
}

// socketIn is the socket that our kind of configuration in a folder names.
func socketIn(dir string) string {
	raw, err := os.ReadFile(filepath.Join(dir, confFile))
	if err != nil {
		return ""
	}
	var list struct {
		Plugins []struct {
			Socket string `json:"socket"`
		} `json:"plugins"`
	}
	if json.Unmarshal(raw, &list) != nil || len(list.Plugins) == 0 {
		return ""
	}
	return list.Plugins[0].Socket
}

// unwire leaves the folders as they were. It is idempotent.
func (c Config) unwire() error {
	if c.Shim == "" {
		return nil
	}
	if _, err := os.Stat(c.State); os.IsNotExist(err) {
		return nil
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	r, known := readRecord(c.recordFile())
	if !known {
		return nil
	}
	return c.undo(r)
}

// undo leaves what another runtime of this node still uses.
func (c Config) undo(r record) error {
	heirConf, heirBin := c.heir(func(o record) bool { return o.ConfDir == r.ConfDir }), c.heir(func(o record) bool { return o.BinDir == r.BinDir })
	var errs []error
	if heirConf == "" && socketIn(r.ConfDir) == c.AttachSocket {
		errs = append(errs, giveBack(r.ConfDir), ignoreAbsent(os.Remove(filepath.Join(r.ConfDir, confFile))))
	}
	if heirBin == "" {
		errs = append(errs, ignoreAbsent(os.Remove(filepath.Join(r.BinDir, c.shimType()))), c.removeLoopback(r.BinDir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("give the runtime its own network configuration back: %w", err)
	}
	for _, heir := range []string{heirConf, heirBin} {
		if heir == "" {
			continue
		}
		o, _ := readRecord(heir)
		for _, dir := range r.Made {
			if !slices.Contains(o.Made, dir) {
				o.Made = append(o.Made, dir)
			}
		}
		if err := writeRecord(heir, o); err != nil {
			return fmt.Errorf("hand on the CNI folders: %w", err)
		}
	}
	for _, dir := range slices.Backward(slices.SortedFunc(slices.Values(r.Made), func(a, b string) int { return len(a) - len(b) })) {
		_ = os.Remove(dir) // It stays where somebody else has put something into it.
	}
	return ignoreAbsent(os.Remove(c.recordFile()))
}

// heir is the record of another runtime of which something is true.
func (c Config) heir(same func(record) bool) string {
	files, _ := filepath.Glob(filepath.Join(c.State, "*.json"))
	for _, f := range files {
		if o, ok := readRecord(f); ok && f != c.recordFile() && same(o) {
			return f
		}
	}
	return ""
}

// giveBack restores the files that were put aside, unless there are new ones of their names.
func giveBack(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"+aside))
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		was := strings.TrimSuffix(f, aside)
		if _, err := os.Lstat(was); err == nil {
			errs = append(errs, os.Remove(f))
			continue
		}
		errs = append(errs, os.Rename(f, was))
	}
	return errors.Join(errs...)
}

// lock keeps the other instances of this node away from the records.
func (c Config) lock() (func(), error) {
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	dir, err := os.Open(c.State)
	if err != nil {
		return nil, fmt.Errorf("lock the state folder: %w", err)
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the state folder: %w", err), dir.Close())
	}
	return func() { _ = dir.Close() }, nil
}

func readRecord(path string) (record, bool) {
	raw, err := os.ReadFile(path)
	var r record
	return r, err == nil && json.Unmarshal(raw, &r) == nil
}

func writeRecord(path string, r record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return replace(path, raw)
}

// replace writes a file such that readers see the old content or the new; the name in between is nobody's.
func replace(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// missing are the folders that would have to be made, outer ones first.
func missing(dir string) []string {
	var out []string
	for {
		if _, err := os.Stat(dir); err == nil {
			slices.Reverse(out)
			return out
		}
		out = append(out, dir)
		dir = filepath.Dir(dir)
	}
}

func ignoreAbsent(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
