package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// answer serves a socket: it hangs up on the first callers, then answers with text.
func answer(t *testing.T, hangUps int, text string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			var in request
			_ = json.NewDecoder(conn).Decode(&in)
			if n >= hangUps && in.Command == "DEL" && in.ContainerID == "id" {
				_, _ = fmt.Fprint(conn, text)
			}
			_ = conn.Close()
		}
	}()
	return socket
}

func TestRun(t *testing.T) {
	t.Setenv("CNI_COMMAND", "DEL")
	t.Setenv("CNI_CONTAINERID", "id")
	for name, test := range map[string]struct {
		hangUps           int
		text, out, failed string
	}{
		"nothing to say":          {text: `{}`},
		"a result":                {text: `{"result":{"a":1}}`, out: "{\"a\":1}\n"},
		"an error":                {text: `{"error":{"code":7,"msg":"network","details":"no"}}`, failed: "network: no"},
		"the agent is restarting": {hangUps: 2, text: `{"result":{}}`, out: "{}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := answer(t, test.hangUps, test.text)
			var out bytes.Buffer
			err := run(strings.NewReader(fmt.Sprintf(`{"socket":%q}`, socket)), &out)
			if out.String() != test.out || (err == nil) != (test.failed == "") || err != nil && err.Error() != test.failed {
				t.Errorf("printed %q, error %v; want %q, error %q", out.String(), err, test.out, test.failed)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Setenv("CNI_COMMAND", "VERSION")
	var out bytes.Buffer
	if err := run(strings.NewReader(""), &out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Supported []string `json:"supportedVersions"`
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got.Supported) != 3 {
		t.Errorf("printed %q: %v", out.String(), err)
	}
}

func TestBadConfiguration(t *testing.T) {
	t.Setenv("CNI_COMMAND", "ADD")
	if err := run(strings.NewReader("{}"), &bytes.Buffer{}); err == nil {
		t.Error("a configuration without socket was accepted")
	}
}
