package h2

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

// TestSpec runs h2spec, which tries what RFC 9113 and RFC 7541 demand of servers, strictly.
func TestSpec(t *testing.T) {
	url, _ := listen(t, &Server{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello")
	})
	host, text, err := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	passed, err := h2spec.Run(&config.Config{
		Host: host, Port: port, Path: "/", TLS: true, Insecure: true, Strict: true, Timeout: 10 * time.Second, MaxHeaderLen: 4000,
	})
	if err != nil || !passed {
		t.Errorf("it does not pass: %v", err)
	}
}
