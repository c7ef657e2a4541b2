package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Options select what of a log is read, as the query of the API's log subresource does.
type Options struct {
	Follow     bool
	Timestamps bool
	Since      time.Time
	// Tail is how many lines to begin with from the end; negative means all.
	Tail int64
	// Limit is how many bytes to write at most; negative means all.
	Limit int64
	// Stream is "stdout", "stderr" or "" for both.
	Stream string
	// Ended is closed when no more can come; a follower then reads to the end and stops.
	Ended <-chan struct{}
	// At, if set, is where Read begins, in place of Tail and Since, unless it is zero; and where it ended once it has returned.
	At *Position
}

// errLimit ends a read that wrote as much as was asked for.
var errLimit = errors.New("limit reached")

// Read writes a log to w. It returns nil at the end, and at the end of the context when it follows.
func Read(ctx context.Context, path string, o Options, w io.Writer) error {
	r := &reader{path: path, o: o, w: w, left: o.Limit}
	err := r.run(ctx)
	if errors.Is(err, errLimit) || o.Follow && ctx.Err() != nil {
		return nil
	}
	return err
}

type reader struct {
	path string
	o    Options
	w    io.Writer
	left int64
	file *os.File
	buf  *bufio.Reader
	held []byte
	part bool
	at   int64 // behind the last record that was read
}

func (r *reader) run(ctx context.Context) error {
	resumed, err := r.open()
	if err != nil {
		return err
	}
	defer func() {
		if r.o.At != nil {
			*r.o.At = r.position()
		}
		r.file.Close()
	}()
	var watcher *fsnotify.Watcher
	if r.o.Follow {
		if watcher, err = fsnotify.NewWatcher(); err != nil {
			return fmt.Errorf("watch log: %w", err)
		}
		defer watcher.Close()
		if err = watcher.Add(filepath.Dir(r.path)); err != nil {
			return fmt.Errorf("watch log: %w", err)
		}
	}
	if r.o.Tail >= 0 && !resumed {
		if r.at, err = tailOffset(r.file, r.o.Tail); err != nil {
			return err
		}
	}
	if _, err := r.file.Seek(r.at, io.SeekStart); err != nil {
		return fmt.Errorf("seek log: %w", err)
	}
	r.buf = bufio.NewReaderSize(r.file, 32<<10)
	if err := r.drain(); err != nil {
		return err
	}
	if resumed { // it may have been rotated before
		if err := r.reopen(false); err != nil {
			return err
		}
	}
	if !r.o.Follow {
		return nil
	}
	return r.follow(ctx, watcher)
}

func (r *reader) follow(ctx context.Context, watcher *fsnotify.Watcher) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.o.Ended:
			if err := r.drain(); err != nil {
				return err
			}
			return r.reopen(false)
		case err := <-watcher.Errors:
			return fmt.Errorf("watch log: %w", err)
		case e := <-watcher.Events:
			if e.Name != r.path {
				continue
			}
			if err := r.drain(); err != nil {
				return err
			}
			if e.Has(fsnotify.Create) {
				if err := r.reopen(true); err != nil {
					return err
				}
			}
		}
		flush(r.w)
	}
}

// reopen goes on with the file that rotation put in place of the one that is open, if there is one.
func (r *reader) reopen(must bool) error {
	next, err := os.Open(r.path)
	if err != nil {
		return nil
	}
	a, errA := next.Stat()
	b, errB := r.file.Stat()
	if !must && (errA != nil || errB != nil || os.SameFile(a, b)) || os.SameFile(a, b) {
		next.Close()
		return nil
	}
	r.file.Close()
	r.file, r.buf, r.held, r.at = next, bufio.NewReaderSize(next, 32<<10), nil, 0
	return r.drain()
}

// drain writes all complete records that are there.
func (r *reader) drain() error {
	for {
		chunk, err := r.buf.ReadSlice('\n')
		r.held = append(r.held, chunk...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			flush(r.w)
			return nil
		case err != nil:
			return fmt.Errorf("read log: %w", err)
		}
		if err := r.emit(bytes.TrimSuffix(r.held, []byte{'\n'})); err != nil {
			return err
		}
		r.at += int64(len(r.held))
		r.held = r.held[:0]
	}
}

func (r *reader) emit(raw []byte) error {
	l, err := Parse(raw)
	if err != nil {
		return nil
	}
	if l.Time.Before(r.o.Since) || r.o.Stream != "" && r.o.Stream != l.Stream {
		return nil
	}
	if r.o.Timestamps && !r.part {
		if err := r.write(append(append([]byte(nil), l.Stamp...), ' ')); err != nil {
			return err
		}
	}
	r.part = len(l.Text) == 0 || l.Text[len(l.Text)-1] != '\n'
	return r.write(l.Text)
}

func (r *reader) write(b []byte) error {
	if r.o.Limit >= 0 && int64(len(b)) >= r.left {
		b = b[:r.left]
	}
	n, err := r.w.Write(b)
	r.left -= int64(n)
	if err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	if r.o.Limit >= 0 && r.left <= 0 {
		return errLimit
	}
	return nil
}

func flush(w io.Writer) {
	if f, ok := w.(interface{ Flush() }); ok {
		f.Flush()
	}
}

// tailOffset finds where the last n lines of a file begin.
func tailOffset(f *os.File, n int64) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("stat log: %w", err)
	}
	size := st.Size()
	if n == 0 {
		return size, nil
	}
	const block = 16 << 10
	buf := make([]byte, block)
	var seen int64
	for end := size; end > 0; {
		start := max(0, end-block)
		part := buf[:end-start]
		if _, err := f.ReadAt(part, start); err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read log: %w", err)
		}
		for i := len(part) - 1; i >= 0; i-- {
			if part[i] != '\n' || start+int64(i) == size-1 {
				continue
			}
			if seen++; seen == n {
				return start + int64(i) + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}

// Tail returns the text of the last lines of a log, at most so many bytes. It serves termination messages.
func Tail(path string, lines, limit int64) (string, error) {
	var b bytes.Buffer
	if err := Read(context.Background(), path, Options{Tail: lines, Limit: -1}, &b); err != nil {
		return "", err
	}
	out := b.Bytes()
	if int64(len(out)) > limit {
		out = out[int64(len(out))-limit:]
	}
	return string(out), nil
}
