package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, l := range lines {
		fmt.Fprintln(f, l)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write(t, path,
		"2030-01-01T00:00:01.000000000Z stdout F one",
		"2030-01-01T00:00:02.000000000Z stderr F two",
		"2030-01-01T00:00:03.000000000Z stdout P thr",
		"2030-01-01T00:00:03.000000001Z stdout F ee",
		"garbage",
		"2030-01-01T00:00:04.000000000Z stdout F ")
	since := time.Date(2030, 1, 1, 0, 0, 3, 0, time.UTC)
	for _, tc := range []struct {
		name string
		o    Options
		want string
	}{
		{"all", Options{Tail: -1, Limit: -1}, "one\ntwo\nthree\n\n"},
		{"the last lines", Options{Tail: 2, Limit: -1}, "\n"},
		{"no lines", Options{Tail: 0, Limit: -1}, ""},
		{"more lines than there are", Options{Tail: 99, Limit: -1}, "one\ntwo\nthree\n\n"},
		{"since", Options{Tail: -1, Limit: -1, Since: since}, "three\n\n"},
		{"a stream", Options{Tail: -1, Limit: -1, Stream: "stderr"}, "two\n"},
		{"some bytes", Options{Tail: -1, Limit: 5}, "one\nt"},
		{"timestamps", Options{Tail: -1, Limit: -1, Timestamps: true, Stream: "stderr"}, "2030-01-01T00:00:02.000000000Z two\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Read(context.Background(), path, tc.o, &b); err != nil {
				t.Fatal(err)
			}
			if b.String() != tc.want {
				t.Errorf("%q, want %q", b.String(), tc.want)
			}
		})
	}
}

// TestFollow sees lines that come later, goes on after a rotation, and ends when the container does.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	line := func(s string) string { return "2030-01-01T00:00:01Z stdout F " + s }
	write(t, path, line("a"))
	ended := make(chan struct{})
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Read(context.Background(), path, Options{Follow: true, Tail: -1, Limit: -1, Ended: ended}, w)
		w.Close()
	}()
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	expect("a\n")
	write(t, path, line("b"))
	expect("b\n")
	rotated, err := Rotation{MaxSize: 1, MaxFiles: 3}.Rotate(context.Background(), path, time.Unix(0, 0), func(context.Context) error {
		write(t, path, line("c"))
		return nil
	})
	if err != nil || !rotated {
		t.Fatalf("rotated %v, %v", rotated, err)
	}
	expect("c\n")
	write(t, path, line("d"))
	close(ended)
	expect("d\n")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestResume goes on where another reader ended, after a rotation, and after the container has been restarted.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	line := func(s string) string { return "2030-01-01T00:00:01Z stdout " + s }
	write(t, path, line("F a"), line("P b"))
	var at Position
	read := func(path string, o Options, want string) {
		t.Helper()
		var b bytes.Buffer
		next, err := ParsePosition(at.String())
		if at == (Position{}) {
			next, err = at, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		o.Limit, o.Timestamps, o.At = -1, true, &next
		if err := Read(t.Context(), path, o, &b); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
		at = next
	}
	const stamp = "2030-01-01T00:00:01Z "
	read(path, Options{Tail: 1}, stamp+"b")
	read(path, Options{Tail: 1}, "")
	write(t, path, line("F c"), line("F d"))
	ended := make(chan struct{})
	close(ended)
	read(path, Options{Tail: 0, Since: time.Now(), Follow: true, Ended: ended}, "c\n"+stamp+"d\n")
	write(t, path, line("F e"))
	_, err := Rotation{MaxSize: 1, MaxFiles: 3}.Rotate(t.Context(), path, time.Unix(0, 0), func(context.Context) error {
		write(t, path, line("F f"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	read(path, Options{Tail: -1, Follow: true, Ended: ended}, stamp+"e\n"+stamp+"f\n")
	write(t, path, line("F g"))
	write(t, filepath.Join(dir, "1.log"), line("F h"))
	read(filepath.Join(dir, "1.log"), Options{Tail: -1, Follow: true}, stamp+"g\n")
	at.Inode++ // as when the file has been compressed
	read(path, Options{Tail: -1}, stamp+"f\n"+stamp+"g\n")
}

func TestPositionsOfOthersAreRefused(t *testing.T) {
	for _, text := range []string{"", "0.log", "../0.log:1:2:false", ":1:2:false", "0.log:1:-2:false", "0.log:a:2:false", "0.log:1:2:x"} {
		if p, err := ParsePosition(text); err == nil {
			t.Errorf("%q is read as %v", text, p)
		}
	}
}

func TestRotationKeepsSoManyFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	for i := range 5 {
		write(t, path, "x")
		if _, err := (Rotation{MaxSize: 1, MaxFiles: 3}).Rotate(context.Background(), path, time.Unix(int64(i), 0), func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	write(t, path, "x")
	entries, _ := os.ReadDir(dir)
	if len(entries) != 3 {
		t.Errorf("%d files, want 3", len(entries))
	}
	if err := Remove(path); err != nil {
		t.Fatal(err)
	}
	if entries, _ = os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("%d files left", len(entries))
	}
}
