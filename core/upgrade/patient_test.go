package upgrade

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

var errGone = errors.New("the backend is gone")

// gone is a backend that takes nothing.
type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, errGone }

type hijacked struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, nil, nil }

func TestWhatCannotBePassedOnIsDropped(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	conn, _, err := Patient(hijacked{httptest.NewRecorder(), server}).(http.Hijacker).Hijack()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(gone{}, conn)
		ended <- err
	}()
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for range 3 { // a pipe has no buffer: each of them was read
		if _, err := client.Write([]byte("typed too late")); err != nil {
			t.Fatalf("the client was cut off: %v", err)
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("the copy ended before the client left: %v", err)
	default:
	}
	client.Close()
	if err := <-ended; !errors.Is(err, errGone) {
		t.Errorf("the copy ended with %v, want %v", err, errGone)
	}
}

func TestWhatCannotBeHijacked(t *testing.T) {
	if _, _, err := Patient(httptest.NewRecorder()).(http.Hijacker).Hijack(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("got %v, want %v", err, http.ErrNotSupported)
	}
}
