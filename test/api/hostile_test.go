//go:build e2e

package api_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/pki"
)

// memory is what the server's process has resident, in bytes.
func (s *server) memory(t *testing.T) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// tls is what a client named name needs, without credentials when that is empty.
func (s *server) tls(t *testing.T, name string, protocols ...string) *tls.Config {
	t.Helper()
	authority, err := pki.Open(filepath.Join(s.data, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	out := &tls.Config{RootCAs: x509.NewCertPool(), NextProtos: protocols, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	out.RootCAs.AddCert(authority.TLS().Leaf)
	if name != "" {
		pair, err := authority.Issue("test-"+name, pki.Identity{CommonName: name, Organizations: []string{"system:masters"}})
		if err != nil {
			t.Fatal(err)
		}
		out.Certificates = []tls.Certificate{pair.TLS()}
	}
	return out
}

func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s *server) dialTLS(t *testing.T, config *tls.Config) *tls.Conn {
	t.Helper()
	c := tls.Client(s.dial(t), config)
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// works checks that another client is served.
func (s *server) works(t *testing.T, round string) {
	t.Helper()
	client := s.client(t).CoreV1().ConfigMaps("default")
	for i := range 20 {
		cm, err := client.Create(t.Context(), configMap(fmt.Sprintf("%s-%d", round, i), nil), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Get(t.Context(), cm.Name, metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostileConnections opens a thousand connections that do nothing or stop half-way, and one that resets its requests as quickly as
// it sends them. Others are served, and the server's memory stays bounded.
func TestHostileConnections(t *testing.T) {
	s := &server{data: t.TempDir(), port: 6452}
	s.start(t)
	s.works(t, "before")
	before := s.memory(t)
	h1, h2 := s.tls(t, "", "http/1.1"), s.tls(t, "", "h2")
	for i := range 1000 {
		switch i % 5 {
		case 0: // half a handshake
			_, _ = s.dial(t).Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01})
		case 1: // not a word
			s.dial(t)
		case 2: // idle
			s.dialTLS(t, h2)
		case 3: // half a head
			_, _ = io.WriteString(s.dialTLS(t, h1), "GET /api HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		case 4: // half a body, of somebody who is nobody
			_, _ = io.WriteString(s.dialTLS(t, h1), "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n{")
		}
	}
	s.works(t, "stalled")
	grown := s.memory(t) - before
	t.Logf("a thousand stalled connections took %d KiB each", grown>>10/1000)
	if grown > 150<<20 {
		t.Errorf("the server's memory grew by %d MiB", grown>>20)
	}
	s.resets(t)
	s.works(t, "reset")
	if grown := s.memory(t) - before; grown > 200<<20 {
		t.Errorf("after rapid resets the server's memory has grown by %d MiB", grown>>20)
	}
}

// resets sends requests and resets each at once (CVE-2023-44487) until the server ends the connection, or 20,000 of them.
func (s *server) resets(t *testing.T) {
	t.Helper()
	c := s.dialTLS(t, s.tls(t, "resetter", "h2"))
	out := bufio.NewWriter(c)
	_, _ = out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(out, c)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
	}()
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	for i := range 20_000 {
		head.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/api/v1/configmaps"}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		id := uint32(2*i + 1)
		err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true})
		if err == nil {
			err = framer.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		if err == nil && i%100 == 99 {
			err = out.Flush()
		}
		if err != nil {
			t.Logf("the server ended the connection after about %d resets", i)
			break
		}
	}
	c.Close()
	<-gone
}

// TestSlowWatcher does not read its watch, which is cut then; whoever goes on from the last event that it has seen misses nothing.
func TestSlowWatcher(t *testing.T) {
	s := &server{data: t.TempDir(), port: 6453}
	s.start(t)
	c := s.dial(t)
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	w := tls.Client(c, s.tls(t, "watcher", "http/1.1"))
	if _, err := io.WriteString(w, "GET /api/v1/namespaces/default/configmaps?watch=true&labelSelector=test%3Dapi HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	api := s.client(t).CoreV1().ConfigMaps("default")
	const written = 200
	value := map[string]string{"k": strings.Repeat("v", 200<<10)} // 40 MB are more than sockets hold
	for i := range written {
		if _, err := api.Create(t.Context(), configMap(fmt.Sprint("big-", i), value), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.works(t, "beside")
	// The watch is cut when nothing has been read for 30 seconds; the connection's end shows it to whoever asks the kernel.
	eventually(t, 2*time.Minute, func() error { return ended(c.LocalAddr().(*net.TCPAddr).Port, s.port) })
	resp, err := http.ReadResponse(bufio.NewReader(w), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	seen, last := map[string]bool{}, ""
	for in := json.NewDecoder(resp.Body); ; {
		var e struct {
			Object metav1.PartialObjectMetadata `json:"object"`
		}
		if in.Decode(&e) != nil {
			break
		}
		seen[e.Object.Name], last = true, e.Object.ResourceVersion
	}
	if len(seen) == 0 || len(seen) >= written {
		t.Fatalf("the slow watcher has seen %d of %d", len(seen), written)
	}
	t.Logf("the slow watcher was cut after %d of %d", len(seen), written)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	on, err := api.Watch(ctx, metav1.ListOptions{ResourceVersion: last, LabelSelector: ours.LabelSelector})
	if err != nil {
		t.Fatal(err)
	}
	defer on.Stop()
	for e := range on.ResultChan() {
		m, ok := e.Object.(metav1.Object)
		if !ok {
			t.Fatalf("got %v", e)
		}
		if seen[m.GetName()] {
			t.Errorf("%s came twice", m.GetName())
		}
		if seen[m.GetName()] = true; m.GetName() == "beside-19" {
			break
		}
	}
	if len(seen) != written+20 {
		t.Errorf("seen %d, want %d", len(seen), written+20)
	}
}

// ended tells, by /proc/net/tcp (proc_net_tcp(5)), that the peer of a connection has closed it: it is no longer established.
func ended(local, remote int) error {
	data, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return err
	}
	mine, theirs := fmt.Sprintf(":%04X", remote), fmt.Sprintf(":%04X", local)
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasSuffix(f[1], mine) && strings.HasSuffix(f[2], theirs) && f[3] == "01" {
			return errNotYet // the server's end
		}
	}
	return nil
}
