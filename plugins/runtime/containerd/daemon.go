package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	firstBackOff = 50 * time.Millisecond
	lastBackOff  = 10 * time.Second
	longEnough   = time.Minute // a containerd that ran so long starts again without delay
	maxLog       = 20 << 20
)

// daemon keeps one containerd running.
type daemon struct {
	config Config

	mu       sync.Mutex
	current  process
	stopping bool
	down     error
}

func newDaemon(c Config) *daemon { return &daemon{config: c} }

// start adopts the containerd that runs already, if it was started with the same configuration and
// executable, else starts one. Shims do not mind: they belong to no containerd process.
func (d *daemon) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return errors.New("start containerd: the plugin is stopping")
	}
	want, err := d.digest()
	if err != nil {
		return err
	}
	if old, err := readProcess(d.config.processFile()); err == nil {
		if fd, err := old.open(); err == nil {
			_ = unix.Close(fd)
			if old.Config == want {
				d.current = old
				slog.Info("adopted containerd", "pid", old.PID)
				return nil
			}
			if err := end(old, 10*time.Second); err != nil {
				return fmt.Errorf("replace containerd: %w", err)
			}
		}
	}
	d.current, err = d.launch(want)
	d.down = err
	return err
}

// digest identifies configuration and executable.
func (d *daemon) digest() (string, error) {
	text, err := os.ReadFile(d.config.configFile())
	if err != nil {
		return "", fmt.Errorf("digest containerd configuration: %w", err)
	}
	info, err := os.Stat(filepath.Join(d.config.Stack, "containerd"))
	if err != nil {
		return "", fmt.Errorf("find containerd: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(text, "%d %d", info.Size(), info.ModTime().UnixNano()))
	return hex.EncodeToString(sum[:]), nil
}

func (d *daemon) launch(digest string) (process, error) {
	out, err := d.openLog()
	if err != nil {
		return process{}, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(filepath.Join(d.config.Stack, "containerd"), "--config", d.config.configFile(), "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = d.config.Root
	cmd.Env = append(os.Environ(), "GOGC=60", "PATH="+d.config.Stack+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return process{}, fmt.Errorf("start containerd: %w", err)
	}
	go func() { _ = cmd.Wait() }()
	start, err := startTime(cmd.Process.Pid)
	if err != nil {
		return process{}, fmt.Errorf("start containerd: it ended at once, see %s: %w", d.config.logFile(), err)
	}
	p := process{PID: cmd.Process.Pid, Start: start, Config: digest}
	if err := p.write(d.config.processFile()); err != nil {
		return process{}, errors.Join(fmt.Errorf("record containerd: %w", err), p.signal(unix.SIGKILL))
	}
	slog.Info("started containerd", "pid", p.PID)
	return p, nil
}

func (d *daemon) openLog() (*os.File, error) {
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(d.config.logFile()); err == nil && info.Size() > maxLog {
		if err := os.Rename(d.config.logFile(), d.config.logFile()+".old"); err != nil {
			return nil, fmt.Errorf("rotate containerd log: %w", err)
		}
	}
	f, err := os.OpenFile(d.config.logFile(), flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open containerd log: %w", err)
	}
	return f, nil
}

// supervise starts containerd again each time it ends, with back-off, until stop.
func (d *daemon) supervise() {
	wait := firstBackOff
	for {
		began := time.Now()
		if err := d.process().wait(context.Background()); err != nil {
			slog.Error("cannot watch containerd", "error", err)
		}
		if d.isStopping() {
			return
		}
		if time.Since(began) > longEnough {
			wait = firstBackOff
		}
		slog.Warn("containerd ended, starting it again", "after", wait)
		d.setDown(fmt.Errorf("containerd ended, see %s", d.config.logFile()))
		time.Sleep(wait)
		wait = min(wait*2, lastBackOff)
		if err := d.start(); err != nil && !d.isStopping() {
			slog.Error("cannot start containerd", "error", err)
			d.setDown(err)
		}
	}
}

func (d *daemon) process() process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current
}

func (d *daemon) isStopping() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

func (d *daemon) setDown(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = err
}

// reason says why containerd does not run; nil when it does.
func (d *daemon) reason() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.down
}

// stop ends containerd for good.
func (d *daemon) stop(grace time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopping = true
	return end(d.current, grace)
}

// end asks a process to end and kills it when it does not.
func end(p process, grace time.Duration) error {
	if err := p.signal(unix.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := p.wait(ctx); err == nil {
		return nil
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(context.Background(), grace)
	defer cancel()
	return p.wait(ctx)
}
