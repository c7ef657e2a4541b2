package pluginhost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/gantryio/gantry/interfaces/plugin"
)

// skew is how go-plugin says that the plugin speaks another version of the wire.
var skew = regexp.MustCompile(`ncompatible API version with plugin\. Plugin version: (\d+), Client versions: \[([\d ]+)\]`)

// ErrSkew says that a plugin speaks another version of the wire.
var ErrSkew = errors.New("version skew")

// explain turns what go-plugin says of a process that did not come up into what a person can act on: first what the
// plugin itself says.
func (i *instance) explain(err error, problem string, run *launched) error {
	if text, readErr := os.ReadFile(problem); readErr == nil && len(text) > 0 {
		return fmt.Errorf("it cannot serve: %s: %w", text, plugin.ErrInvalid)
	}
	if m := skew.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("it speaks version %s of the plugin protocol, this host version %s: build it anew with the interfaces of this Gantry: %w",
			m[1], m[2], ErrSkew)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	if words := run.lastWords(); words != "" {
		return fmt.Errorf("launch: %s; its last words: %s", first, words)
	}
	return fmt.Errorf("launch: %s; its log %s is silent", first, run.log)
}

// maxWords is how much of a log an error repeats.
const maxWords = 500

// lastWords is the last line that the process has logged.
func (l *launched) lastWords() string {
	f, err := os.Open(l.log)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() <= l.logBegan {
		return ""
	}
	const tail = 4096
	from := max(l.logBegan, info.Size()-tail)
	raw, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	words := string(lines[len(lines)-1])
	if len(words) > maxWords {
		words = words[:maxWords] + "..."
	}
	return words
}

// cutLog keeps the end of a log that has grown too big. The process goes on writing to the same file.
func cutLog(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= maxLog {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	end := make([]byte, maxLog/2)
	n, err := f.ReadAt(end, info.Size()-int64(len(end)))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return errors.Join(os.WriteFile(path+".old", end[:n], 0o600), f.Truncate(0))
}
