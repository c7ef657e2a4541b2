package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/process"
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
	current  record
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
	if old, err := readRecord(d.config.processFile()); err == nil && old.Process.Alive() {
		if old.Digest == want {
			d.current = old
			slog.Info("adopted containerd", "pid", old.Process.PID)
			return nil
		}
		if err := old.Process.End(10 * time.Second); err != nil {
			return fmt.Errorf("replace containerd: %w", err)
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

func (d *daemon) launch(digest string) (record, error) {
	out, err := d.openLog()
	if err != nil {
		return record{}, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(filepath.Join(d.config.Stack, "containerd"), "--config", d.config.configFile(), "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = d.config.Root
	cmd.Env = append(os.Environ(), "GOGC=60", "PATH="+d.config.Stack+":"+os.Getenv("PATH"),
		"GANTRY_SHIM="+d.config.shim(), "GANTRY_RUNC_ROOT="+d.config.runcRoot()) // for ShimFront
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return record{}, fmt.Errorf("start containerd: %w", err)
	}
	if err := plugin.Supervised(cmd.Process.Pid); err != nil {
		slog.Warn("containerd counts against the plugin's limits", "error", err)
	}
	go func() { _ = cmd.Wait() }()
	id, err := process.Find(cmd.Process.Pid)
	if err != nil {
		return record{}, fmt.Errorf("start containerd: it ended at once, see %s: %w", d.config.logFile(), err)
	}
	r := record{Process: id, Digest: digest}
	if err := r.write(d.config.processFile()); err != nil {
		return record{}, errors.Join(fmt.Errorf("record containerd: %w", err), id.Signal(unix.SIGKILL))
	}
	slog.Info("started containerd", "pid", id.PID)
	return r, nil
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
		if err := d.process().Wait(context.Background()); err != nil {
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

func (d *daemon) process() process.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current.Process
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
	return d.current.Process.End(grace)
}

// record is what is written down of the running containerd.
type record struct {
	Process process.ID `json:"process"`
	// Digest is of the configuration and the executable it was started with.
	Digest string `json:"digest"`
}

func readRecord(path string) (record, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return record{}, fmt.Errorf("read %s: %w", path, err)
	}
	return r, nil
}

func (r record) write(path string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return replace(path, raw, 0o600)
}

// replace writes a file such that readers see the old content or the new.
func replace(path string, content []byte, mode os.FileMode) error {
	if err := os.WriteFile(path+".new", content, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
