package pluginhost

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/process"
)

// state is what is written down of a running plugin.
type state struct {
	Process process.ID `json:"process"`
	// Socket is empty until the plugin has said it: a process without is one that a host launched and
	// then died before it was reached.
	Socket string `json:"socket,omitempty"`
	// Executable and Config are SHA-256 digests in hexadecimal.
	Executable string `json:"executable"`
	Config     string `json:"config"`
	// Plugin is what the process was launched for; hosts of old did not write it.
	Plugin *remembered `json:"plugin,omitempty"`
	// Cgroup is the name of the process's own; Unlimited why it has none.
	Cgroup    string `json:"cgroup,omitempty"`
	Unlimited string `json:"unlimited,omitempty"`
}

func readState(path string) (state, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return state{}, fmt.Errorf("read plugin state: %w", err)
	}
	var s state
	if err := json.Unmarshal(raw, &s); err != nil {
		return state{}, fmt.Errorf("read plugin state %s: %w", path, err)
	}
	return s, nil
}

func (s state) write(path string) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return replace(path, raw)
}

// replace writes a file such that readers see the old content or the new.
func replace(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// sums is the name of the file with the wanted digests of the executables.
const sums = "SHA256SUMS"

// verify opens an executable and returns it with its digest. What was digested is what is executed when
// the file itself is, by its descriptor. A digest other than want, or without want other than the one listed in
// SHA256SUMS, is an error.
func verify(path, want string) (*os.File, string, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: %w", err, plugin.ErrNotFound)
		}
		return nil, "", fmt.Errorf("open plugin: %w", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, "", errors.Join(fmt.Errorf("digest plugin %s: %w", path, err), f.Close())
	}
	got := hex.EncodeToString(h.Sum(nil))
	listed := want != ""
	if !listed {
		if want, listed, err = wanted(filepath.Dir(path), filepath.Base(path)); err != nil {
			return nil, "", errors.Join(err, f.Close())
		}
	}
	if listed && got != want {
		return nil, "", errors.Join(fmt.Errorf("verify plugin %s: SHA-256 is %s, want %q: %w", path, got, want, plugin.ErrInvalid), f.Close())
	}
	return f, got, nil
}

// wanted looks a digest up. Where there is no list, nothing is wanted; where there is one, everything has
// to be in it.
func wanted(dir, name string) (digest string, listed bool, err error) {
	f, err := os.Open(filepath.Join(dir, sums))
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read digests: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		sum, file, ok := strings.Cut(lines.Text(), " ")
		if ok && filepath.Base(strings.TrimLeft(file, " *")) == name {
			return strings.ToLower(sum), true, nil
		}
	}
	return "", true, lines.Err()
}
