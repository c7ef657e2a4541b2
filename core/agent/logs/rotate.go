package logs

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Rotation keeps logs from filling the disk.
type Rotation struct {
	// MaxSize is the size in bytes from which a log is rotated, MaxFiles how many files a container may have.
	MaxSize  int64
	MaxFiles int
}

// Rotate rotates a log that has grown too big. Reopen makes the runtime open the log anew. Rotated files but the newest
// are compressed, and the oldest removed.
func (r Rotation) Rotate(ctx context.Context, path string, now time.Time, reopen func(ctx context.Context) error) (bool, error) {
	st, err := os.Stat(path)
	if err != nil || st.Size() < r.MaxSize {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	old, err := rotated(path)
	if err != nil {
		return false, err
	}
	if err := r.trim(old); err != nil {
		return false, err
	}
	next := path + "." + now.UTC().Format("20060102-150405.000")
	if err := os.Rename(path, next); err != nil {
		return false, fmt.Errorf("rotate log: %w", err)
	}
	if err := reopen(ctx); err != nil {
		return false, errors.Join(fmt.Errorf("reopen log: %w", err), os.Rename(next, path))
	}
	return true, nil
}

// trim compresses rotated files and removes those that leave no room for one more and the log itself.
func (r Rotation) trim(old []string) error {
	keep := max(0, r.MaxFiles-2)
	for len(old) > keep {
		if err := os.Remove(old[0]); err != nil {
			return fmt.Errorf("remove rotated log: %w", err)
		}
		old = old[1:]
	}
	for _, f := range old {
		if strings.HasSuffix(f, ".gz") {
			continue
		}
		if err := compress(f); err != nil {
			return err
		}
	}
	return nil
}

// rotated lists the rotated files of a log, oldest first.
func rotated(path string) ([]string, error) {
	files, err := filepath.Glob(path + ".*")
	if err != nil {
		return nil, fmt.Errorf("list rotated logs: %w", err)
	}
	sort.Strings(files)
	return files, nil
}

func compress(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("compress log: %w", err)
	}
	defer in.Close()
	tmp := path + ".tmp"
	out, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("compress log: %w", err)
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), out.Close()); err != nil {
		return errors.Join(fmt.Errorf("compress log: %w", err), os.Remove(tmp))
	}
	if err := os.Rename(tmp, path+".gz"); err != nil {
		return fmt.Errorf("compress log: %w", err)
	}
	return os.Remove(path)
}

// Remove removes a log and its rotated files.
func Remove(path string) error {
	files, err := rotated(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range append(files, path) {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
