package apiserver

import (
	"fmt"
	"net/http"
	"strings"
)

// maxWarnings bounds the warnings of one answer, for clients refuse large headers. Upstream has the same bound.
const maxWarnings = 4096

// warnings are told to a client, each once.
type warnings struct {
	header http.Header
	told   map[string]bool
	size   int
}

func (w *warnings) add(text string) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if text == "" || w.told[text] || w.size+len(text) > maxWarnings {
		return
	}
	if w.told == nil {
		w.told = map[string]bool{}
	}
	w.told[text] = true
	w.size += len(text)
	w.header.Add("Warning", "299 - "+quoted(text))
}

// quoted writes a quoted-string (RFC 9110), in which clients unquote nothing but quotes and backslashes.
func quoted(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	return fmt.Sprintf(`"%s"`, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(clean))
}
