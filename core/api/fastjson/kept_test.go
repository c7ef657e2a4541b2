package fastjson

import (
	"bytes"
	"strings"
	"testing"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
)

// A text is a part of the data where that costs less than copying it, and only there.
func TestTextsThatAreKept(t *testing.T) {
	for name, test := range map[string]struct {
		value, text string
		kept        bool
	}{
		"most of the data":    {value: strings.Repeat("x", 600), kept: true},
		"too short":           {value: strings.Repeat("x", 500)},
		"with escapes":        {value: strings.Repeat("x", 600) + "\n", text: strings.Repeat("x", 600) + `\n`},
		"a part among others": {value: strings.Repeat("x", 600), text: strings.Repeat("x", 600) + `","other":"` + strings.Repeat("y", 700)},
	} {
		text := test.text
		if text == "" {
			text = test.value
		}
		data := []byte(`{"metadata":{"name":"a"},"data":{"k":"` + text + `"}}`)
		var cm corev1.ConfigMap
		if !Unmarshal(data, &cm) || cm.Data["k"] != test.value {
			t.Errorf("%s: decoded %q", name, cm.Data["k"])
			continue
		}
		at := unsafe.Slice(unsafe.StringData(cm.Data["k"]), 1)
		if kept := &at[0] == &data[max(0, bytes.Index(data, []byte(`xx`)))]; kept != test.kept {
			t.Errorf("%s: it is a part of the data: %v", name, kept)
		}
	}
}
