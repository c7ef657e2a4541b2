package h2

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// served serves h by s and returns its URL and a client that speaks HTTP/2 alone.
func served(t testing.TB, s *Server, h http.HandlerFunc) (string, *http.Client) {
	t.Helper()
	url, roots := listen(t, s, h)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return url, &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// listen serves h by s, or with nil by net/http alone.
func listen(t testing.TB, s *Server, h http.HandlerFunc) (string, *x509.CertPool) {
	t.Helper()
	keys := httptest.NewUnstartedServer(nil)
	keys.StartTLS()
	roots, pair := x509.NewCertPool(), keys.TLS.Certificates
	roots.AddCert(keys.Certificate())
	keys.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: pair}, ErrorLog: log.New(io.Discard, "", 0)}
	if s != nil {
		s.Attach(hs)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = hs.ServeTLS(Cork(l), "", "")
	}()
	t.Cleanup(func() {
		hs.Close()
		<-ended
	})
	return "https://" + l.Addr().String(), roots
}

// ask sends a request and returns the answer, of which the body is to be read and closed.
func ask(t testing.TB, c *http.Client, method, url string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// call sends a request and returns the answer and its body.
func call(t testing.TB, c *http.Client, method, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	resp := ask(t, c, method, url, body)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(data)
}

func TestAnswers(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 200_000)
	tests := map[string]struct {
		h      http.HandlerFunc
		method string
		status int
		want   http.Header
		body   string
		length int64
	}{
		"nothing": {
			h: func(http.ResponseWriter, *http.Request) {}, status: 200, want: http.Header{"Content-Length": {"0"}},
		},
		"small": {
			h:      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
			status: 200, body: "hello", length: 5,
			want: http.Header{"Content-Length": {"5"}, "Content-Type": {"text/plain; charset=utf-8"}},
		},
		"with a length": {
			h: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "3")
				w.Header().Set("Content-Type", "a/b")
				w.WriteHeader(http.StatusCreated)
				w.Header().Set("Late", "1")
				_, _ = io.WriteString(w, "abc")
			},
			status: 201, body: "abc", length: 3, want: http.Header{"Content-Length": {"3"}, "Content-Type": {"a/b"}},
		},
		"large, in two parts": {
			h: func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil
				w.Header()["X-Many"] = []string{"1", "2"}
				_, _ = io.WriteString(w, large[:10])
				_, _ = io.WriteString(w, large[10:])
			},
			status: 200, body: large, length: -1, want: http.Header{"X-Many": {"1", "2"}},
		},
		"no content": {
			h:      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
			status: 204, want: http.Header{},
		},
		"head": {
			h:      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
			method: http.MethodHead, status: 200, length: 5, want: http.Header{"Content-Length": {"5"}},
		},
		"names that HTTP/2 does not have": {
			h: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Connection", "close")
				w.Header().Set("Bad", "a\nb")
				w.Header().Set("Content-Length", "many")
			},
			status: 200, want: http.Header{"Content-Length": {"0"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			url, client := served(t, &Server{}, tt.h)
			resp, body := call(t, client, tt.method, url, nil)
			if resp.Proto != "HTTP/2.0" || resp.StatusCode != tt.status || body != tt.body || resp.ContentLength != tt.length {
				t.Errorf("got %s %d, %d bytes, length %d", resp.Proto, resp.StatusCode, len(body), resp.ContentLength)
			}
			if resp.Header.Get("Date") == "" {
				t.Error("there is no date")
			}
			resp.Header.Del("Date")
			if diff := cmp.Diff(tt.want, resp.Header); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	url, client := served(t, &Server{}, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s %d %v|%s|%v|%v|%v", r.Method, r.RequestURI, r.Proto, r.Host, r.ContentLength, r.Header["X-Many"], body, err, r.Trailer, r.TLS.ServerName)
	})
	host := strings.TrimPrefix(url, "https://")
	large := strings.Repeat("x", 3<<20)
	for name, tt := range map[string]struct {
		body   io.Reader
		length int64
		want   string
	}{
		"none":            {nil, 0, fmt.Sprintf("POST /p?q=1 HTTP/2.0 %s 0 [a b]||<nil>|map[]|", host)},
		"small":           {strings.NewReader("abc"), 3, fmt.Sprintf("POST /p?q=1 HTTP/2.0 %s 3 [a b]|abc|<nil>|map[]|", host)},
		"large":           {strings.NewReader(large), int64(len(large)), fmt.Sprintf("POST /p?q=1 HTTP/2.0 %s %d [a b]|%s|<nil>|map[]|", host, len(large), large)},
		"of unknown size": {io.MultiReader(strings.NewReader("abc")), -1, fmt.Sprintf("POST /p?q=1 HTTP/2.0 %s -1 [a b]|abc|<nil>|map[T:[v]]|", host)},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/p?q=1", tt.body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header["X-Many"] = []string{"a", "b"}
			if tt.length < 0 {
				req.Trailer = http.Header{"T": {"v"}}
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %d bytes, %.200s, %v", len(got), got, err)
			}
		})
	}
}

// A small body is there before its handler runs. More of them than windows have room for come one after the other.
func TestWhole(t *testing.T) {
	url, client := served(t, &Server{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			_, _ = r.Body.Read(make([]byte, 1))
		}
		data, ok := r.Body.(interface{ Whole() ([]byte, bool) }).Whole()
		rest, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %v %d %v", len(data), ok, len(rest), err)
	})
	body := strings.Repeat("x", mayHold)
	for range 2 * recvWindow / mayHold {
		if _, got := call(t, client, "POST", url+"/", strings.NewReader(body)); got != fmt.Sprintf("%d true 0 <nil>", mayHold) {
			t.Fatal(got)
		}
	}
	if _, got := call(t, client, "POST", url+"/begun", strings.NewReader(body)); got != fmt.Sprintf("0 false %d <nil>", mayHold-1) {
		t.Error(got)
	}
}

func TestTrailer(t *testing.T) {
	url, client := served(t, &Server{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Declared")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Declared", "1")
		w.Header().Set(http.TrailerPrefix+"Undeclared", "2")
	})
	resp, body := call(t, client, "GET", url, nil)
	if diff := cmp.Diff(http.Header{"Declared": {"1"}, "Undeclared": {"2"}}, resp.Trailer); diff != "" || body != "body" {
		t.Errorf("%q %s", body, diff)
	}
}

// Both directions are open at the same time, and what is flushed arrives.
func TestFullDuplex(t *testing.T) {
	url, client := served(t, &Server{}, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			if _, err := w.Write(bytes.ToUpper(buf[:n])); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	})
	in, out := io.Pipe()
	resp := ask(t, client, "POST", url, in)
	defer resp.Body.Close()
	for i := range 100 {
		word := fmt.Sprintf("word%d", i)
		if _, err := io.WriteString(out, word); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != strings.ToUpper(word) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	out.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestInformation(t *testing.T) {
	url, client := served(t, &Server{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "x")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.Copy(w, r.Body)
	})
	var said []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			said = append(said, fmt.Sprint(code, h))
			return nil
		},
		Got100Continue: func() { said = append(said, "continue") },
	})
	req, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "abc" {
		t.Errorf("%q, %v", body, err)
	}
	if len(said) == 0 || said[0] != "103 map[Link:[x]]" {
		t.Errorf("it said %q", said)
	}
}

// A client that goes away, a panic, and an answer shorter than was promised end a stream and nothing else.
func TestBrokenStreams(t *testing.T) {
	ended := make(chan error, 1)
	url, client := served(t, &Server{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/wait":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			_, err := w.Write(make([]byte, 10_000))
			ended <- err
		case "/panic":
			panic("no")
		case "/abort":
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/short":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "abc")
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", url+"/wait", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	if err := <-ended; err == nil {
		t.Error("a write to who has gone has no error")
	}
	for _, path := range []string{"/panic", "/abort", "/short"} {
		resp, err := client.Get(url + path)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s is answered", path)
		}
	}
	call(t, client, "GET", url+"/", nil)
}

func TestDeadlines(t *testing.T) {
	ended := make(chan error, 1)
	url, client := served(t, &Server{}, func(w http.ResponseWriter, r *http.Request) {
		control, soon := http.NewResponseController(w), time.Now().Add(20*time.Millisecond)
		var err error
		if r.Method == "POST" {
			if err = control.SetReadDeadline(soon); err == nil {
				_, err = io.ReadAll(r.Body)
			}
		} else if err = control.SetWriteDeadline(soon); err == nil {
			for err == nil {
				_, err = w.Write(make([]byte, 100_000))
			}
		}
		ended <- err
	})
	in, out := io.Pipe()
	defer out.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, in)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading ended with %v", err)
	}
	resp, err = client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing ended with %v", err)
	}
}

// Many streams of one connection, some of which take what they are sent slowly, share it.
func TestManyStreams(t *testing.T) {
	piece := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	url, client := served(t, &Server{MaxStreams: 50}, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		for range n {
			_, _ = w.Write(piece)
		}
		fmt.Fprint(w, len(body))
	})
	call(t, client, "GET", url, nil) // so that all others are on its connection
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			n, size := i%7*8, i%5*50_000
			req, err := http.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf("%s?n=%d", url, n), bytes.NewReader(make([]byte, size)))
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			want := append(bytes.Repeat(piece, n), strconv.Itoa(size)...)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes of %d, %v", len(got), len(want), err)
			}
		})
	}
	wg.Wait()
}

// What is written after a Flush comes without another one.
func TestFlow(t *testing.T) {
	let := make(chan struct{})
	url, client := served(t, &Server{}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "held back")
		w.(http.Flusher).Flush()
		<-let
		_, _ = io.WriteString(w, "sent on")
		<-let
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "the end")
	})
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i, want := range []string{"held back", "sent on", "the end"} {
		if i > 0 {
			let <- struct{}{}
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
}

// Callers are told apart by certificates that were verified, and else by addresses without ports.
func TestCaller(t *testing.T) {
	by := func(remote string, subject string) string {
		c := &conn{remote: remote}
		if subject != "" {
			c.state.PeerCertificates = []*x509.Certificate{{RawSubject: []byte(subject)}}
			c.state.VerifiedChains = [][]*x509.Certificate{c.state.PeerCertificates}
		}
		return c.caller()
	}
	if by("192.0.2.1:1", "a") != by("192.0.2.2:1", "a") || by("192.0.2.1:1", "a") == by("192.0.2.1:1", "b") {
		t.Error("it is not the certificate that counts")
	}
	if by("192.0.2.1:1", "") != by("192.0.2.1:2", "") || by("192.0.2.1:1", "") == by("192.0.2.2:1", "") || by("[2001:db8::1]:1", "") != "2001:db8::1" {
		t.Error("it is not the address that counts")
	}
	unverified := &conn{remote: "192.0.2.1:1"}
	unverified.state.PeerCertificates = []*x509.Certificate{{RawSubject: []byte("a")}}
	if unverified.caller() != by("192.0.2.1:1", "") {
		t.Error("anybody can show a certificate that nobody has verified")
	}
}

// However many handlers wait, for their context, their body or their client, others begin.
func TestHandlersThatWait(t *testing.T) {
	waits := make(chan struct{})
	url, client := served(t, &Server{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/context":
			waits <- struct{}{}
			<-r.Context().Done()
		case "/body":
			waits <- struct{}{}
			_, _ = io.ReadAll(r.Body)
		case "/client":
			waits <- struct{}{}
			_, _ = w.Write(make([]byte, 16<<20))
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 60 {
		path := []string{"/context", "/body", "/client"}[i%3]
		var body io.Reader
		if path == "/body" {
			r, w := io.Pipe()
			context.AfterFunc(ctx, func() { w.Close() })
			body = r
		}
		req, err := http.NewRequestWithContext(ctx, "POST", url+path, body)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if resp, err := client.Do(req); err == nil { // whose body nobody reads
				context.AfterFunc(ctx, func() { resp.Body.Close() })
			}
		})
		<-waits
	}
	if resp, _ := call(t, client, "GET", url+"/", nil); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	cancel()
	all.Wait()
}

func TestRetire(t *testing.T) {
	let := make(chan struct{})
	s := &Server{}
	url, client := served(t, s, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		<-let
		_, _ = io.WriteString(w, "end")
	})
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.Retire()
	eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			c.mu.Lock()
			done := c.going == gone
			c.mu.Unlock()
			return done
		}
		return false
	})
	close(let)
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "end" {
		t.Errorf("%q, %v", body, err)
	}
	eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) == 0
	})
	if got, body := call(t, client, "GET", url, nil); body != "end" || got.StatusCode != 200 {
		t.Errorf("the next connection: %q", body)
	}
}

func TestIdle(t *testing.T) {
	s := &Server{IdleTimeout: 20 * time.Millisecond}
	url, client := served(t, s, func(http.ResponseWriter, *http.Request) {})
	call(t, client, "GET", url, nil)
	eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) == 0
	})
}

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it has not come to that in time")
		}
	}
}

// raw is a client that says what no good one would.
type raw struct {
	t testing.TB
	*http2.Framer
	conn  *tls.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
}

func dialRaw(t testing.TB, url string, roots *x509.CertPool) *raw {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := &raw{t: t, Framer: http2.NewFramer(conn, conn), conn: conn}
	r.enc = hpack.NewEncoder(&r.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	r.check(r.WriteSettings())
	return r
}

func (r *raw) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) request(id uint32, end bool, fields ...string) {
	r.t.Helper()
	r.block.Reset()
	all := append([]string{":method", "POST", ":scheme", "https", ":path", "/", ":authority", "a"}, fields...)
	for i := 0; i < len(all); i += 2 {
		r.check(r.enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}))
	}
	r.check(r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block.Bytes(), EndStream: end, EndHeaders: true}))
}

// until reads frames until one is what is looked for; an error of reading is found as nil.
func (r *raw) until(found func(http2.Frame) bool) {
	r.t.Helper()
	for {
		f, err := r.ReadFrame()
		if err != nil {
			if !found(nil) {
				r.t.Fatal(err)
			}
			return
		}
		if found(f) {
			return
		}
	}
}

func isReset(id uint32, code http2.ErrCode) func(http2.Frame) bool {
	return func(f http2.Frame) bool {
		rst, ok := f.(*http2.RSTStreamFrame)
		return ok && rst.StreamID == id && rst.ErrCode == code
	}
}

func isGoAway(code http2.ErrCode) func(http2.Frame) bool {
	return func(f http2.Frame) bool {
		g, ok := f.(*http2.GoAwayFrame)
		return ok && g.ErrCode == code
	}
}

func TestRefusals(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	begun := make(chan struct{})
	wait := func(_ http.ResponseWriter, r *http.Request) { <-never }
	tests := map[string]struct {
		h    http.HandlerFunc
		send func(r *raw)
		want func(http2.Frame) bool
	}{
		"a field of HTTP/1": {
			send: func(r *raw) { r.request(1, true, "connection", "close") }, want: isReset(1, http2.ErrCodeProtocol),
		},
		"more than was declared": {
			send: func(r *raw) {
				r.request(1, false, "content-length", "3")
				r.check(r.WriteData(1, true, []byte("abcd")))
			}, want: isReset(1, http2.ErrCodeProtocol),
		},
		"less than was declared": {
			send: func(r *raw) {
				r.request(1, false, "content-length", "3")
				r.check(r.WriteData(1, true, []byte("ab")))
			}, want: isReset(1, http2.ErrCodeProtocol),
		},
		"too many streams": {
			h: wait,
			send: func(r *raw) {
				for id := range uint32(3) {
					r.request(2*id+1, true)
				}
			}, want: isReset(5, http2.ErrCodeRefusedStream),
		},
		"streams that are given up while their handlers run": {
			h: func(http.ResponseWriter, *http.Request) {
				begun <- struct{}{}
				<-never
			},
			send: func(r *raw) {
				for id := range uint32(20) {
					r.request(2*id+1, true)
					if id < 2 {
						<-begun
					}
					r.check(r.WriteRSTStream(2*id+1, http2.ErrCodeCancel))
				}
			}, want: isGoAway(http2.ErrCodeEnhanceYourCalm),
		},
		"more than the window": {
			h: wait,
			send: func(r *raw) {
				r.request(1, false)
				for range recvWindow/maxFrame + 1 {
					r.check(r.WriteData(1, false, make([]byte, maxFrame)))
				}
			}, want: isGoAway(http2.ErrCodeFlowControl),
		},
		"too large a head": {
			send: func(r *raw) {
				value := strings.Repeat("x", 1000)
				r.request(1, true, "a", value, "b", value, "c", value)
			},
			want: func(f http2.Frame) bool {
				h, ok := f.(*http2.HeadersFrame)
				return ok && h.StreamID == 1
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.h == nil {
				tt.h = func(http.ResponseWriter, *http.Request) {}
			}
			url, roots := listen(t, &Server{MaxStreams: 2, MaxHeaderBytes: 2048}, tt.h)
			r := dialRaw(t, url, roots)
			tt.send(r)
			r.until(tt.want)
		})
	}
}

// A client that answers nothing and takes nothing costs no more than it may.
func TestAnswersToWhoDoesNotRead(t *testing.T) {
	url, roots := listen(t, &Server{}, func(http.ResponseWriter, *http.Request) {})
	r := dialRaw(t, url, roots)
	var pings bytes.Buffer
	many := http2.NewFramer(&pings, nil)
	for range 1000 {
		r.check(many.WritePing(false, [8]byte{}))
	}
	for range 10_000 {
		if _, err := r.conn.Write(pings.Bytes()); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			return
		}
	}
	t.Error("there is no end")
}

// The handler runs when a body that comes slowly is there, or after a while.
func TestSlowBody(t *testing.T) {
	begun := make(chan string, 1)
	url, roots := listen(t, &Server{}, func(_ http.ResponseWriter, r *http.Request) {
		begun <- "begun"
		body, err := io.ReadAll(r.Body)
		begun <- fmt.Sprint(string(body), err)
	})
	r := dialRaw(t, url, roots)
	r.request(1, false, "content-length", "6")
	r.check(r.WriteData(1, false, []byte("abc")))
	<-begun
	r.check(r.WriteData(1, true, []byte("def")))
	if got := <-begun; got != "abcdef<nil>" {
		t.Error(got)
	}
}
