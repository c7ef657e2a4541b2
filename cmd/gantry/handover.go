package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/core/run"
	"github.com/gantryio/gantry/interfaces/plugin"
)

const (
	// healthPatience is how long a process that takes over may take to be well before the old one serves again.
	healthPatience = time.Minute
	// sessionPatience is how long a process that was replaced serves the sessions that it has: exec, attach, port-forward and those who
	// follow logs.
	sessionPatience = 10 * time.Minute
	// requestPatience is how long requests that are no sessions may take when a server stops.
	requestPatience = 500 * time.Millisecond
	// healthy is what the new process says when it is.
	healthy = "healthy\n"
)

// inheritedVariable names the environment variable with the file descriptors of listeners, of the API, the agent and DNS, that a
// process has from the one that it was before.
const inheritedVariable = "GANTRY_LISTENERS"

// ports are the listeners that pass from one process to the next, so that no client is refused in between.
type ports struct {
	api, agent *tracked
	names      dnsSockets
}

// handover is how a process takes over from another one, and lets another one take over from it.
type handover struct {
	ports
	// old is the connection to the process that this one takes over from, new to the one that takes over from this one.
	old, new *net.UnixConn
	// stop ends what runs here.
	stop context.CancelFunc
	// asked is set when somebody takes over; kept are then this process's own ports, to begin anew with.
	asked atomic.Bool
	kept  []*os.File
}

// given tells that another process has this one's ports.
func (h *handover) given() bool { return h != nil && h.new != nil }

// open takes the ports from whoever has them, or opens them.
func (h *handover) open(c *config) (err error) {
	if h.api == nil {
		if h.ports, err = inherited(); err != nil {
			return err
		}
	}
	if h.api, err = fitting(h.api, c.listen, c.apiPort); err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	if h.agent, err = fitting(h.agent, "", c.agentPort); err != nil {
		h.api.Close()
		return fmt.Errorf("listen on the agent's port: %w", err)
	}
	return nil
}

// fitting returns l if it listens there, and another listener otherwise.
func fitting(l *tracked, host string, port int32) (*tracked, error) {
	if l != nil {
		at := l.Addr().(*net.TCPAddr)
		ip := net.ParseIP(host)
		if at.Port == int(port) && (ip == nil || ip.IsUnspecified() && at.IP.IsUnspecified() || ip.Equal(at.IP)) {
			return l, nil
		}
		l.Close()
	}
	fresh, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	return &tracked{Listener: fresh}, nil
}

// inherited are the listeners that this process had before it became what it is.
func inherited() (ports, error) {
	text := os.Getenv(inheritedVariable)
	if text == "" {
		return ports{}, nil
	}
	if err := os.Unsetenv(inheritedVariable); err != nil {
		return ports{}, err
	}
	var fds []int
	for _, word := range strings.Split(text, ",") {
		fd, err := strconv.Atoi(word)
		if err != nil {
			return ports{}, fmt.Errorf("read %s=%q: %w", inheritedVariable, text, err)
		}
		fds = append(fds, fd)
	}
	return portsOf(fds)
}

// portsOf makes listeners of file descriptors, which it closes.
func portsOf(fds []int) (ports, error) {
	var p ports
	for i, to := range []**tracked{&p.api, &p.agent} {
		if i >= len(fds) {
			return p, fmt.Errorf("%d listeners were passed on, want 2", len(fds))
		}
		l, err := listenerOf(fds[i])
		if err != nil {
			return p, err
		}
		*to = &tracked{Listener: l}
	}
	if len(fds) < 4 { // a process without DNS
		return p, nil
	}
	unix.CloseOnExec(fds[2])
	f := os.NewFile(uintptr(fds[2]), "socket")
	udp, err := net.FilePacketConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return p, fmt.Errorf("take a socket over: %w", err)
	}
	tcp, err := listenerOf(fds[3])
	if err != nil {
		return p, errors.Join(err, udp.Close())
	}
	p.names = dnsSockets{udp.(*net.UDPConn), tcp.(*net.TCPListener)}
	return p, nil
}

func listenerOf(fd int) (net.Listener, error) {
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "listener")
	l, err := net.FileListener(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("take a listener over: %w", err)
	}
	return l, nil
}

// files are duplicates of the listeners.
func (p ports) files() ([]*os.File, error) {
	var out []*os.File
	all := []interface{ File() (*os.File, error) }{p.api.Listener.(*net.TCPListener), p.agent.Listener.(*net.TCPListener)}
	if p.names.udp != nil {
		all = append(all, p.names.udp, p.names.tcp)
	}
	for _, l := range all {
		f, err := l.File()
		if err != nil {
			return nil, fmt.Errorf("pass a listener on: %w", err)
		}
		out = append(out, f)
	}
	return out, nil
}

// take gets the ports of the process that runs, which then ends what it does. A process of a version that cannot pass them on is
// ended. Nothing may be wrong with this process any more: see preflight.
func (h *handover) take(ctx context.Context, c *config) error {
	if !running(c) {
		return nil
	}
	conn, err := askForPorts(ctx, c)
	if err != nil {
		slog.Warn("the old process does not pass its ports on and is ended", "err", err)
		return stopRunning(c, stopPatience)
	}
	h.old = conn
	fds := make([]byte, unix.CmsgSpace(4*4))
	_ = conn.SetReadDeadline(time.Now().Add(stopPatience))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), fds)
	if err != nil {
		return fmt.Errorf("take the ports over: %w", err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	messages, err := unix.ParseSocketControlMessage(fds[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("take the ports over: %d messages: %w", len(messages), err)
	}
	passed, err := unix.ParseUnixRights(&messages[0])
	if err == nil {
		h.ports, err = portsOf(passed)
	}
	return err
}

// askForPorts makes the HTTP request by hand, because what follows the answer is no HTTP.
func askForPorts(ctx context.Context, c *config) (*net.UnixConn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, "unix", c.controlSocket())
	if err != nil {
		return nil, err
	}
	conn := nc.(*net.UnixConn)
	_ = conn.SetDeadline(time.Now().Add(stopPatience))
	defer func() { _ = conn.SetDeadline(time.Time{}) }()
	if _, err := io.WriteString(conn, "POST /handover HTTP/1.1\r\nHost: gantry\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	// The head is read byte by byte, so that what follows stays in the socket: file descriptors travel with its first byte.
	var head []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, b[0]) {
		if _, err := conn.Read(b); err != nil || len(head) > 4096 {
			return nil, errors.Join(fmt.Errorf("read the answer %q: %w", head, err), conn.Close())
		}
	}
	if line, _, _ := strings.Cut(string(head), "\r\n"); !strings.HasPrefix(line, "HTTP/1.1 101") {
		return nil, errors.Join(fmt.Errorf("it answers %q", line), conn.Close())
	}
	return conn, nil
}

// serve passes the ports on and ends what runs here; runUp goes on in finish.
func (h *handover) serve(w http.ResponseWriter, _ *http.Request) {
	if !h.asked.CompareAndSwap(false, true) {
		http.Error(w, "another process takes over already", http.StatusConflict)
		return
	}
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.asked.Store(false)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	conn := nc.(*net.UnixConn) // nothing else is listened on
	if err := h.pass(conn); err != nil {
		slog.Warn("cannot let another process take over", "err", err)
		h.asked.Store(false)
		conn.Close()
		return
	}
	h.new = conn
	h.stop()
}

func (h *handover) pass(conn *net.UnixConn) error {
	_ = conn.SetDeadline(time.Time{})
	files, err := h.files()
	if err != nil {
		return err
	}
	h.kept = files
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: gantry\r\nConnection: Upgrade\r\n\r\n"); err != nil {
		return err
	}
	var fds []int
	for _, f := range files {
		fd, err := number(f)
		if err != nil {
			return fmt.Errorf("pass a listener on: %w", err)
		}
		fds = append(fds, fd)
	}
	_, _, err = conn.WriteMsgUnix([]byte{0}, unix.UnixRights(fds...), nil)
	return err
}

// number is a file's descriptor. Fd would make the socket block, on which this process still listens as well.
func number(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(n uintptr) { fd = int(n) })
	return fd, err
}

// announce is a part that tells the old process that this one is well, once it is.
func (h *handover) announce(n *control) run.Part {
	return run.Part{Name: "handover", Runner: run.Func(func(ctx context.Context) error {
		defer h.old.Close()
		err := n.host.Attached(ctx)
		if err == nil {
			select {
			case <-n.agent.Ready():
				err = n.awaitReady(ctx)
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if err != nil {
			return fmt.Errorf("take over: %w", err)
		}
		if _, err := io.WriteString(h.old, healthy); err != nil {
			slog.Warn("the old process has not waited for this one", "err", err)
		}
		<-ctx.Done()
		return ctx.Err()
	})}
}

// finish is called when all that ran here has ended and another process has the ports. It waits until that one is well, and
// then until the sessions that are open here have ended, or ctx ends. When it is not well, or dies, this process begins anew.
func (h *handover) finish(ctx context.Context) error {
	defer h.new.Close()
	defer context.AfterFunc(ctx, func() { h.new.Close() })()
	_ = h.new.SetReadDeadline(time.Now().Add(healthPatience))
	said, err := io.ReadAll(io.LimitReader(h.new, int64(len(healthy))))
	if string(said) != healthy && ctx.Err() != nil {
		return ctx.Err()
	}
	if string(said) != healthy {
		slog.Error("the new process is not well, this one begins anew", "err", err)
		return h.again()
	}
	slog.Info("another process has taken over", "sessions", h.api.open())
	ctx, cancel := context.WithTimeout(ctx, sessionPatience)
	defer cancel()
	h.api.wait(ctx)
	h.agent.wait(ctx)
	return nil
}

// again ends the process that took over, and makes this one what it was before: the executable that it was started from, with
// its arguments and its ports.
func (h *handover) again() error {
	if peer, err := plugin.Peer(h.new); err == nil {
		if handle, err := unix.PidfdOpen(int(peer.Pid), 0); err == nil {
			_ = unix.PidfdSendSignal(handle, syscall.SIGKILL, nil, 0)
			ended(handle, stopPatience)
			unix.Close(handle)
		}
	}
	var fds []string
	for _, f := range h.kept {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keep a listener: %w", err)
		}
		fds = append(fds, strconv.Itoa(int(f.Fd())))
	}
	args := slices.DeleteFunc(slices.Clone(os.Args), func(a string) bool { return a == "--replace" || a == "--replace=true" })
	env := append(os.Environ(), inheritedVariable+"="+strings.Join(fds, ","))
	if err := syscall.Exec("/proc/self/exe", args, env); err != nil {
		return fmt.Errorf("begin anew: %w", err)
	}
	return nil
}

// preflight finds out, beside a gantry that runs, what could keep this process from taking over.
func preflight(ctx context.Context, c *config) error {
	if err := checkCgroups(); err != nil {
		return err
	}
	n, err := openNode(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	return n.host.Check(ctx)
}
