package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// flooding marks the process that floods; it holds what that process needs to know.
	flooding = "GANTRY_BENCH_FLOOD"
	// floodConnections, each with as many requests at a time, never stop, whatever they are answered.
	floodConnections = 8
	floodStreams     = 64
	// listEvery is which of the requests is for a list.
	listEvery = 8
	// floodWindow is more than a connection is ever owed.
	floodWindow = 1<<31 - 1
)

// startFlood runs this program again to flood; stop ends it and returns how it was answered.
func startFlood(ctx context.Context, u floodUser) (stop func() string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(u)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), flooding+"="+string(data))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // it has begun
		return nil, errors.Join(err, cmd.Wait())
	}
	return func() string {
		in.Close()
		text, _ := io.ReadAll(out)
		_ = cmd.Wait()
		return string(text)
	}, nil
}

// answers are how many there were, and how many of them were 429.
type answers struct{ all, refused atomic.Int64 }

// runFlood floods until its input ends, and prints how it was answered.
func runFlood(text string) error {
	var u floodUser
	if err := json.Unmarshal([]byte(text), &u); err != nil {
		return err
	}
	var got answers
	failed := make(chan error, floodConnections)
	began := time.Now()
	for range floodConnections {
		f, err := newFlooder(u, &got)
		if err != nil {
			return err
		}
		go func() { failed <- f.run() }()
	}
	fmt.Print(".")
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case err := <-failed:
		return err
	case <-ended:
	}
	all := got.all.Load()
	fmt.Printf("%.0f answers a second, %.1f%% of them 429", float64(all)/time.Since(began).Seconds(), 100*float64(got.refused.Load())/float64(max(1, all)))
	return nil
}

// flooder is a connection that always has floodStreams requests open. It speaks HTTP/2 itself and looks at nothing but the status of
// answers, for a client that does more is slower than the server.
type flooder struct {
	got    *answers
	conn   net.Conn
	in     *bufio.Reader
	framer *http2.Framer
	out    bytes.Buffer
	writes bool
	get    []byte // header blocks; nothing in them refers to a table that changes
	list   []byte
	create []byte
	next   uint32 // stream
	owed   uint32 // bytes that the server has yet to be given back
}

func newFlooder(u floodUser, got *answers) (*flooder, error) {
	config, err := u.tls()
	if err != nil {
		return nil, err
	}
	config.NextProtos = []string{"h2"}
	host, err := url.Parse(u.Host)
	if err != nil {
		return nil, err
	}
	conn, err := tls.Dial("tcp", host.Host, config)
	if err != nil {
		return nil, err
	}
	f := &flooder{writes: u.Writes, got: got, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), next: 1}
	f.framer = http2.NewFramer(&f.out, f.in)
	f.framer.SetReuseFrames()
	f.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.get, f.list, f.create = block(host.Host, "GET", u.get()), block(host.Host, "GET", u.list()), block(host.Host, "POST", u.list())
	f.out.WriteString(http2.ClientPreface)
	return f, errors.Join(
		f.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: floodWindow}),
		f.framer.WriteWindowUpdate(0, floodWindow-65535),
	)
}

func block(host, method, path string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSize(0)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: method},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: host},
		{Name: ":path", Value: path},
		{Name: "content-type", Value: "application/json"},
	} {
		_ = e.WriteField(f)
	}
	return b.Bytes()
}

// run returns when the connection fails.
func (f *flooder) run() error {
	for range floodStreams {
		if err := f.ask(); err != nil {
			return err
		}
	}
	for {
		if f.in.Buffered() == 0 {
			if err := f.flush(); err != nil {
				return err
			}
		}
		if err := f.hear(); err != nil {
			return err
		}
	}
}

// floodBody is what a flood of writes creates again and again.
const floodBody = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"flood-"},"data":{"a":"b"}}`

// ask opens a stream.
func (f *flooder) ask() error {
	head := http2.HeadersFrameParam{StreamID: f.next, BlockFragment: f.get, EndStream: !f.writes, EndHeaders: true}
	f.next += 2
	switch {
	case f.writes:
		head.BlockFragment = f.create
		return errors.Join(f.framer.WriteHeaders(head), f.framer.WriteData(head.StreamID, true, []byte(floodBody)))
	case f.next/2%listEvery == 0:
		head.BlockFragment = f.list
	}
	return f.framer.WriteHeaders(head)
}

func (f *flooder) flush() error {
	_, err := f.conn.Write(f.out.Bytes())
	f.out.Reset()
	return err
}

// hear takes a frame, and asks anew when an answer ends with it.
func (f *flooder) hear() error {
	frame, err := f.framer.ReadFrame()
	if err != nil {
		return err
	}
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			return f.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !frame.IsAck() {
			return f.framer.WritePing(true, frame.Data)
		}
	case *http2.GoAwayFrame, *http2.RSTStreamFrame:
		return fmt.Errorf("the server gave up: %v", frame)
	case *http2.MetaHeadersFrame:
		if frame.PseudoValue("status") == strconv.Itoa(http.StatusTooManyRequests) {
			f.got.refused.Add(1)
		}
	case *http2.DataFrame:
		if f.owed += frame.Length; f.owed > floodWindow/2 {
			if err := f.framer.WriteWindowUpdate(0, f.owed); err != nil {
				return err
			}
			f.owed = 0
		}
		if frame.StreamEnded() {
			f.got.all.Add(1)
			return f.ask()
		}
	}
	return nil
}
