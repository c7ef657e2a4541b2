package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/interfaces/plugin/process"
)

// attached is go-plugin's view of a process that it did not launch. It never kills: that is decided by
// the instance.
type attached struct {
	id   process.ID
	done <-chan struct{} // closed when the host lets go
}

var _ runner.AttachedRunner = (*attached)(nil)

// Wait returns when the process has ended or the host lets go of it.
func (a *attached) Wait(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-a.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := a.id.Wait(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (a *attached) Kill(context.Context) error { return nil }
func (a *attached) ID() string                 { return strconv.Itoa(a.id.PID) }

func (a *attached) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (a *attached) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// launched is a process of the host's own, which will outlive it: it has a session of its own and its log
// goes straight to a file.
type launched struct {
	attached
	// ctx ends the process unless it is kept before.
	ctx     context.Context
	cmd     *exec.Cmd
	binary  *os.File
	log     string
	started func(process.ID) error

	stdout *os.File
	close  sync.Once
	// logBegan is where in its log the process begins.
	logBegan int64
	mu       sync.Mutex
	uncancel func() bool
}

var _ runner.Runner = (*launched)(nil)

const maxLog = 10 << 20

// Start executes the very file that was verified.
func (l *launched) Start(context.Context) error {
	out, err := openLog(l.log)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	if info, err := out.Stat(); err == nil {
		l.logBegan = info.Size()
	}
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("launch %s: %w", l.cmd.Path, err)
	}
	defer func() { _ = write.Close() }()
	l.stdout = read
	cmd := &exec.Cmd{
		Path: "/proc/self/fd/" + strconv.Itoa(int(l.binary.Fd())), Args: []string{l.cmd.Path}, Env: l.cmd.Env,
		Stdout: write, Stderr: out, Dir: "/", SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("launch %s: %w", l.cmd.Path, err), read.Close())
	}
	go func() { _ = cmd.Wait() }()
	if l.id, err = process.Find(cmd.Process.Pid); err != nil {
		return fmt.Errorf("launch %s: it ended at once, see %s: %w", l.cmd.Path, l.log, err)
	}
	id := l.id
	l.mu.Lock()
	l.uncancel = context.AfterFunc(l.ctx, func() { _ = id.Signal(unix.SIGKILL) })
	l.mu.Unlock()
	return l.started(l.id)
}

// keep lets the process live on when ctx ends.
func (l *launched) keep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.uncancel != nil {
		l.uncancel()
	}
}

func openLog(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, fmt.Errorf("rotate plugin log: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open plugin log: %w", err)
	}
	return f, nil
}

// Kill ends a process that did not come up as it should.
func (l *launched) Kill(context.Context) error { return l.id.End(2 * time.Second) }

func (l *launched) Diagnose(context.Context) string { return "see " + l.log }
func (l *launched) Name() string                    { return l.cmd.Path }
func (l *launched) Stdout() io.ReadCloser           { return l.stdout }
func (l *launched) Stderr() io.ReadCloser           { return io.NopCloser(eof{}) }

// release closes the pipe that the handshake came through.
func (l *launched) release() {
	l.keep()
	l.close.Do(func() {
		if l.stdout != nil {
			_ = l.stdout.Close()
		}
	})
}

// eof is the plugin's error output as go-plugin sees it: there is none, for it goes to a file.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
