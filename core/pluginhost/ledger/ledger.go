// Package ledger remembers which plugin attached which sandbox. An entry is durable before the plugin is
// called and forgotten only after a successful detach, so that whatever happens in between, somebody
// knows what may be left on the machine and who has to remove it.
package ledger

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Entry is one sandbox.
type Entry struct {
	Sandbox network.Sandbox `json:"sandbox"`
	Plugin  pluginhost.Ref  `json:"plugin"`
	Since   time.Time       `json:"since"`
	// Of is the ID of the sandbox whose further interface this entry is; empty for the first interface.
	Of string `json:"of,omitempty"`
	// Extra are the plugins of a sandbox's further interfaces, in their order.
	Extra []string `json:"extra,omitempty"`
	// Attachment is set once the plugin has answered.
	Attachment *network.Attachment `json:"attachment,omitempty"`
}

// Ledger is the set of entries, one file each. It is safe for concurrent use within one process.
type Ledger struct {
	dir string

	mu      sync.Mutex
	entries map[string]Entry
}

// Open reads the ledger in a folder, which is made if need be. A file that cannot be read is an error:
// guessing would leak what it stands for.
func Open(dir string) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{dir: dir, entries: map[string]Entry{}}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		if strings.HasSuffix(f.Name(), ".new") {
			// A write that did not finish: the entry it was for was never relied on.
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("open ledger: %w", err)
			}
			continue
		}
		e, err := read(path)
		if err != nil {
			return nil, err
		}
		l.entries[e.Sandbox.ID] = e
	}
	return l, nil
}

func read(path string) (Entry, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Entry{}, fmt.Errorf("read ledger: %w", err)
	}
	var e Entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return Entry{}, fmt.Errorf("read ledger entry %s: %w", path, err)
	}
	return e, nil
}

// Intend records that a plugin is about to attach a sandbox. It is on disk when Intend returns. Of a
// sandbox that has an entry the old one stays and is returned: the plugin that attached first stays
// responsible.
func (l *Ledger) Intend(e Entry) (Entry, error) {
	if err := checkID(e.Sandbox.ID); err != nil {
		return Entry{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.entries[e.Sandbox.ID]; ok {
		return old, nil
	}
	if err := l.write(e, true); err != nil {
		return Entry{}, err
	}
	l.entries[e.Sandbox.ID] = e
	return e, nil
}

// Finish records what the plugin answered. It need not survive a power failure: the entry then reads as
// an attach that may have happened, and is handled alike.
func (l *Ledger) Finish(id string, a network.Attachment) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[id]
	if !ok {
		return fmt.Errorf("finish ledger entry %s: %w", id, plugin.ErrNotFound)
	}
	e.Attachment = &a
	if err := l.write(e, false); err != nil {
		return err
	}
	l.entries[id] = e
	return nil
}

// Forget removes an entry. Call it only after the plugin has detached the sandbox. Forgetting twice is no
// error.
func (l *Ledger) Forget(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.entries[id]; !ok {
		return nil
	}
	if err := os.Remove(l.path(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget ledger entry %s: %w", id, err)
	}
	delete(l.entries, id)
	return nil
}

// Get returns the entry of a sandbox.
func (l *Ledger) Get(id string) (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[id]
	return e, ok
}

// Interfaces returns the entries of a sandbox's further interfaces.
func (l *Ledger) Interfaces(id string) []Entry {
	return slices.DeleteFunc(l.List(), func(e Entry) bool { return e.Of != id })
}

// List returns all entries, the oldest first.
func (l *Ledger) List() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Entry
	for _, e := range l.entries {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Sandbox.ID, b.Sandbox.ID))
	})
	return out
}

func (l *Ledger) path(id string) string { return filepath.Join(l.dir, id) }

func (l *Ledger) write(e Entry, durable bool) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode ledger entry %s: %w", e.Sandbox.ID, err)
	}
	if err := l.replace(l.path(e.Sandbox.ID), raw, durable); err != nil {
		return fmt.Errorf("write ledger entry %s: %w", e.Sandbox.ID, err)
	}
	return nil
}

func (l *Ledger) replace(path string, content []byte, durable bool) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && durable {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil || !durable {
		return err
	}
	d, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkID keeps an ID from being a path.
func checkID(id string) error {
	if id == "" || strings.ContainsAny(id, "/\x00") || strings.HasPrefix(id, ".") || strings.HasSuffix(id, ".new") {
		return fmt.Errorf("check sandbox ID %q: %w", id, plugin.ErrInvalid)
	}
	return nil
}
