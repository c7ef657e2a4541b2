package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

func TestFitting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	have := &tracked{Listener: l}
	port := int32(l.Addr().(*net.TCPAddr).Port)
	for _, host := range []string{"", "127.0.0.1"} {
		if got, err := fitting(have, host, port); err != nil || got != have {
			t.Errorf("%q: %v, %v; want the one that there is", host, got, err)
		}
	}
	other, err := fitting(have, "127.0.0.2", port)
	if err != nil || other == have {
		t.Fatalf("another address: %v, %v", other, err)
	}
	other.Close()
	if _, err := have.Accept(); err == nil {
		t.Error("what does not fit is still listened on")
	}
}

func TestTracked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &tracked{Listener: l}
	server.wait(t.Context()) // nobody is there
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if server.Close(); server.open() != 1 {
		t.Errorf("%d connections are open, want 1", server.open())
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	server.wait(over) // gives up
	waited := make(chan struct{})
	go func() { server.wait(context.Background()); close(waited) }()
	conn.Close()
	conn.Close() // counts once
	<-waited
	if server.open() != 0 {
		t.Errorf("%d connections are open", server.open())
	}
}

// Listeners pass from one handover to the other, a client that has connected meanwhile is served by the second, and what the second
// says arrives at the first.
func TestPortsPassOn(t *testing.T) {
	dir, err := os.MkdirTemp("", "g") // short enough for the sockets to be below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &config{data: dir, listen: "127.0.0.1"}
	if err := os.MkdirAll(c.runDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := takeLock(c)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	first := &handover{}
	if err := first.open(c); err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	first.stop = stop
	l, err := net.Listen("unix", c.controlSocket())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /handover", first.serve)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()

	second := &handover{}
	if err := second.take(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	<-stopped.Done()
	if err := (&handover{}).take(t.Context(), &config{data: t.TempDir()}); err != nil {
		t.Errorf("nobody runs there: %v", err)
	}
	first.api.Close()
	first.agent.Close()
	client, err := net.Dial("tcp", second.api.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if conn, err := second.api.Accept(); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	if _, err := io.WriteString(second.old, healthy); err != nil {
		t.Fatal(err)
	}
	if err := first.finish(t.Context()); err != nil {
		t.Error(err)
	}
}
