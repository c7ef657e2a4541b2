// Package logs reads, follows and rotates container logs in the CRI format: one line a record, "TIME STREAM TAG TEXT",
// where the tag P marks a part of a longer line.
package logs

import (
	"bytes"
	"fmt"
	"time"
)

// Line is one record of a log. Text ends with a newline unless the record is a part of a longer line.
type Line struct {
	Time   time.Time
	Stamp  []byte
	Stream string
	Text   []byte
}

// Parse reads one record, without its final newline. The text refers to raw.
func Parse(raw []byte) (Line, error) {
	var l Line
	stamp, rest, ok := bytes.Cut(raw, []byte{' '})
	if !ok {
		return l, fmt.Errorf("parse log line: no timestamp in %.40q", raw)
	}
	t, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return l, fmt.Errorf("parse log line: %w", err)
	}
	stream, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok || string(stream) != "stdout" && string(stream) != "stderr" {
		return l, fmt.Errorf("parse log line: no stream in %.40q", raw)
	}
	tag, text, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return l, fmt.Errorf("parse log line: no tag in %.40q", raw)
	}
	tag, _, _ = bytes.Cut(tag, []byte{':'})
	l = Line{Time: t, Stamp: stamp, Stream: string(stream), Text: text}
	if string(tag) != "P" {
		l.Text = append(text[:len(text):len(text)], '\n')
	}
	return l, nil
}
