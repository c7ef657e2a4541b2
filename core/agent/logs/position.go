package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Position is how far a log was read, so that another process can go on: the zero Position is that of a log of which nothing was.
type Position struct {
	// Log is the base name of the log's path: each incarnation of a container has one of its own.
	Log string
	// Inode is that of the file, which keeps it when it is rotated, and Offset that of the record to go on with.
	Inode  uint64
	Offset int64
	// Part says that the line before it goes on in this record.
	Part bool
}

// String is what [ParsePosition] reads.
func (p Position) String() string {
	return fmt.Sprintf("%s:%d:%d:%t", p.Log, p.Inode, p.Offset, p.Part)
}

// ParsePosition reads what String has written.
func ParsePosition(text string) (Position, error) {
	fields := strings.Split(text, ":")
	if len(fields) != 4 || fields[0] == "" || fields[0] != filepath.Base(fields[0]) {
		return Position{}, fmt.Errorf("invalid position %q", text)
	}
	p := Position{Log: fields[0]}
	var errs [3]error
	p.Inode, errs[0] = strconv.ParseUint(fields[1], 10, 64)
	p.Offset, errs[1] = strconv.ParseInt(fields[2], 10, 64)
	p.Part, errs[2] = strconv.ParseBool(fields[3])
	if err := errors.Join(errs[:]...); err != nil || p.Offset < 0 {
		return Position{}, fmt.Errorf("invalid position %q", text)
	}
	return p, nil
}

// open opens the file to begin with, and tells whether a position says where in it. The file may have been rotated since; one that
// has been compressed is not found again, and reading goes on with what came after it.
func (r *reader) open() (resumed bool, err error) {
	path := r.path
	if from := r.o.At; from != nil && *from != (Position{}) {
		resumed = true
		r.o.Since = time.Time{}
		if from.Log != filepath.Base(r.path) { // the container has been restarted since, and will not write there again
			r.path, r.o.Follow = filepath.Join(filepath.Dir(r.path), from.Log), false
		}
		path = r.path
		files, err := rotated(r.path)
		if err != nil {
			return resumed, err
		}
		for _, f := range files {
			if st, err := os.Stat(f); err == nil && inode(st) == from.Inode {
				path = f
			}
		}
	}
	if r.file, err = os.Open(path); err != nil {
		return resumed, fmt.Errorf("open log: %w", err)
	}
	if st, err := r.file.Stat(); resumed && err == nil && inode(st) == r.o.At.Inode {
		r.at, r.part = r.o.At.Offset, r.o.At.Part
	}
	return resumed, nil
}

// position is where reading goes on.
func (r *reader) position() Position {
	p := Position{Log: filepath.Base(r.path), Offset: r.at, Part: r.part}
	if st, err := r.file.Stat(); err == nil {
		p.Inode = inode(st)
	}
	return p
}

func inode(st os.FileInfo) uint64 { return st.Sys().(*syscall.Stat_t).Ino }
