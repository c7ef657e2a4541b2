package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is one file of a payload.
type File struct {
	Data []byte
	Mode fs.FileMode
	// UID owns the file when it is not nil.
	UID *int64
}

// Payload is the wanted content of a volume by relative path.
type Payload map[string]File

const (
	dataLink = "..data"
	dataTemp = "..data_tmp"
)

// Write makes a directory hold exactly the payload. Readers see the old or the new content, never a mixture: the files
// are in a directory of their own, and a link to it is renamed into place. Nothing is written when nothing changed.
func Write(dir string, p Payload, gid *int64) (changed bool, err error) {
	for name := range p {
		if clean := filepath.Clean(name); !filepath.IsLocal(name) || clean != name || strings.HasPrefix(name, "..") {
			return false, fmt.Errorf("write volume: invalid path %q", name)
		}
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("write volume: %w", err)
	}
	if old != "" && same(filepath.Join(dir, old), p) {
		return false, nil
	}
	next, err := os.MkdirTemp(dir, "..v")
	if err != nil {
		return false, fmt.Errorf("write volume: %w", err)
	}
	if err := fill(next, p, gid); err != nil {
		return false, errors.Join(err, os.RemoveAll(next))
	}
	if err := swap(dir, filepath.Base(next), p); err != nil {
		return false, err
	}
	if old != "" {
		err = os.RemoveAll(filepath.Join(dir, old))
	}
	return true, err
}

func same(dir string, p Payload) bool {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want, ok := p[rel]
		have, readErr := os.ReadFile(path)
		if !ok || readErr != nil || !bytes.Equal(have, want.Data) {
			return fs.ErrInvalid
		}
		n++
		return nil
	})
	return err == nil && n == len(p)
}

func fill(dir string, p Payload, gid *int64) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("write volume: %w", err)
	}
	for name, f := range p {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write volume: %w", err)
		}
		if err := os.WriteFile(path, f.Data, f.Mode); err != nil {
			return fmt.Errorf("write volume: %w", err)
		}
		if err := os.Chmod(path, f.Mode); err != nil {
			return fmt.Errorf("write volume: %w", err)
		}
		if f.UID != nil {
			if err := os.Chown(path, int(*f.UID), -1); err != nil {
				return fmt.Errorf("write volume: %w", err)
			}
		}
	}
	if gid == nil {
		return nil
	}
	return own(dir, *gid, true)
}

// swap points the data link at the new directory and makes the links that users see match it.
func swap(dir, next string, p Payload) error {
	tmp := filepath.Join(dir, dataTemp)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write volume: %w", err)
	}
	if err := os.Symlink(next, tmp); err != nil {
		return fmt.Errorf("write volume: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, dataLink)); err != nil {
		return fmt.Errorf("write volume: %w", err)
	}
	want := map[string]bool{}
	for name := range p {
		top, _, _ := strings.Cut(name, "/")
		want[top] = true
		err := os.Symlink(filepath.Join(dataLink, top), filepath.Join(dir, top))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("write volume: %w", err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("write volume: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "..") && !want[e.Name()] {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("write volume: %w", err)
			}
		}
	}
	return nil
}

// own gives a tree to a group, as fsGroup asks: files become readable (and, unless read-only, writable) for the group
// and directories pass the group on.
func own(root string, gid int64, readOnly bool) error {
	mask := fs.FileMode(0o660)
	if readOnly {
		mask = 0o440
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return fmt.Errorf("own volume: %w", err)
		}
		if err := os.Lchown(path, -1, int(gid)); err != nil {
			return fmt.Errorf("own volume: %w", err)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil
		}
		mode := info.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) | mask
		if d.IsDir() {
			mode |= 0o110 | fs.ModeSetgid
		}
		if err := os.Chmod(path, mode); err != nil {
			return fmt.Errorf("own volume: %w", err)
		}
		return nil
	})
}
