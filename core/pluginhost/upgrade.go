package pluginhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gantryio/gantry/interfaces/plugin/proto"
)

// A process is replaced while it serves: the new one is launched beside it, and calls go to the new one when that is
// healthy. Then the old one answers what it was asked and ends. If the new one does not become healthy in time, the old
// one serves on.

const (
	// healthTimeout is how long the new process may take, unless the plugin says otherwise.
	healthTimeout = time.Minute
	// drainTimeout is how long the old process may take to answer what it was asked.
	drainTimeout = 30 * time.Second
)

// Update is how far the replacement of a plugin's process is.
type Update struct {
	// Generation is that of the new one.
	Generation int64
	// Error is why it does not serve yet; empty as long as nothing went wrong.
	Error string
	// RolledBack: it was given up, the one before serves.
	RolledBack bool
}

// outcome is what became of an attempt.
type outcome struct {
	// session is the new process, which is healthy.
	session *session
	// replace says that the old process has to go although there is no new one.
	replace bool
}

// attempt is a replacement that is under way.
type attempt struct {
	result chan outcome
	cancel context.CancelFunc
	ended  chan struct{}
}

// begin looks whether the process is what is wanted, and launches that beside it if not.
func (i *instance) begin(ctx context.Context, s *session) *attempt {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempt{result: make(chan outcome, 1), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		if out := i.attempt(ctx, s); out != (outcome{}) {
			a.result <- out
		}
	}()
	return a
}

// stop gives the attempt up, unless its result was taken.
func (a *attempt) stop() {
	a.cancel()
	<-a.ended
	select {
	case out := <-a.result:
		if out.session != nil {
			out.session.discard()
		}
	default:
	}
}

// discard ends a process that nobody uses.
func (s *session) discard() {
	if err := s.id.End(endGrace); err != nil {
		slog.Warn("cannot end process", "pid", s.id.PID, "error", err)
	}
	s.release()
	removeSocket(s.socket)
}

// attempt returns nothing when there is nothing to do, or when it was given up.
func (i *instance) attempt(ctx context.Context, s *session) outcome {
	p := i.target()
	var timeUp <-chan time.Time
	var why error
	for wait := firstBackOff; ; wait = min(2*wait, lastBackOff) {
		same, next, err := i.tryBeside(ctx, s, p, func() {
			if timeUp == nil { // The time for fetching an artifact does not count.
				timeUp = time.After(p.patience())
			}
		})
		switch {
		case ctx.Err() != nil:
			if next != nil {
				next.discard()
			}
			return outcome{}
		case same:
			i.adopt(s, p)
			return outcome{}
		case err == nil:
			return outcome{session: next}
		}
		if why == nil || !errors.Is(err, errLate) {
			why = err // What it said itself tells more than that it was cut off.
		}
		i.note(&Update{Generation: p.Generation, Error: why.Error()})
		select {
		case <-ctx.Done():
			return outcome{}
		case <-timeUp:
			return i.giveUp(p, why)
		case <-time.After(wait):
		}
	}
}

// giveUp keeps the old process, or makes room where that is wanted.
func (i *instance) giveUp(p Plugin, err error) outcome {
	slog.Warn("plugin's replacement is not healthy", "plugin", i.conn.name, "generation", p.Generation, "error", err, "rollback", !p.NoRollback)
	if p.NoRollback {
		i.note(nil)
		return outcome{replace: true}
	}
	i.mu.Lock()
	i.refused = &p
	i.mu.Unlock()
	i.note(&Update{Generation: p.Generation, Error: err.Error(), RolledBack: true})
	return outcome{}
}

func (p Plugin) patience() time.Duration {
	if p.HealthTimeout > 0 {
		return p.HealthTimeout
	}
	return healthTimeout
}

// note publishes how far the replacement is.
func (i *instance) note(u *Update) {
	i.mu.Lock()
	i.now.Update = u
	i.mu.Unlock()
	i.changed()
}

// adopt takes a process for what is wanted.
func (i *instance) adopt(s *session, p Plugin) {
	i.mu.Lock()
	changed := i.now.Generation != p.Generation || i.now.Update != nil && i.refused == nil
	s.plugin = p
	i.good, i.now.Generation = &p, p.Generation
	if i.refused == nil {
		i.now.Update = nil
	}
	i.mu.Unlock()
	if changed {
		i.changed()
	}
}

// tryBeside launches p beside s once, and waits until it is healthy. verified is called when its executable is there.
// same says that s is p.
func (i *instance) tryBeside(ctx context.Context, s *session, p Plugin, verified func()) (same bool, next *session, err error) {
	if p.Image != nil && sameProcess(s.plugin, p) {
		return true, nil, nil // Its content is pinned: no need to ask the registry.
	}
	config, err := encode(p.Config)
	if err != nil {
		return false, nil, err
	}
	sum := sha256.Sum256(config)
	binary, digest, err := i.executable(ctx, p)
	if p.Image == nil || err == nil {
		verified()
	}
	if err != nil {
		return false, nil, err
	}
	defer func() { _ = binary.Close() }()
	if s.digest == digest && s.config == hex.EncodeToString(sum[:]) && s.plugin.driver() == p.driver() && s.plugin.Limits == p.Limits {
		return true, nil, nil
	}
	i.note(&Update{Generation: p.Generation})
	ctx, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	next, err = i.execute(ctx, p, candidate, binary, digest)
	if err == nil {
		if err = i.healthy(ctx, next); err == nil {
			return false, next, nil
		}
		next.discard()
		i.config.removeCgroup(next.cgroup)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w %s: %w", errLate, p.patience(), err)
	}
	return false, nil, err
}

var errLate = errors.New("it is not healthy after")

// healthy waits until a new process can work. Where the old one cannot either, it need only answer.
func (i *instance) healthy(ctx context.Context, next *session) error {
	if err := alive(ctx, next); err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	if !i.describe().Up {
		return nil
	}
	stream, err := proto.NewLifecycleClient(next.conn).Watch(ctx, &proto.WatchRequest{})
	problem := ""
	for err == nil {
		var said *proto.WatchResponse
		if said, err = stream.Recv(); err == nil {
			if problem = said.GetProblem(); problem == "" {
				return nil
			}
		}
	}
	switch {
	case status.Code(err) == codes.Unimplemented:
		return nil
	case problem != "":
		return errors.New(problem)
	}
	return fmt.Errorf("ask for its condition: %w", err)
}

// move lets calls go to the new process, and the old one end when it has answered its own. What is written down names
// every process at any time, so that a host that dies here leaves none behind: see sweep.
func (i *instance) move(ctx context.Context, old, next *session) {
	i.drains.Wait()
	file := func(extension string) string { return i.config.file(i.id, extension) }
	err := copyFile(file(current.state), file(replacedState))
	if err == nil {
		err = errors.Join(os.Rename(file(candidate.state), file(current.state)), os.Rename(file(candidate.config), file(current.config)))
	}
	if err != nil {
		slog.Error("cannot note a plugin's new process", "plugin", i.conn.name, "error", err)
	}
	i.mu.Lock()
	i.now.Update, i.refused = nil, nil
	i.mu.Unlock()
	answered := i.up(next)
	i.drains.Go(func() {
		select {
		case <-answered:
		case <-time.After(drainTimeout):
		case <-ctx.Done():
			old.release()
			return // The next host ends it.
		}
		if err := old.id.End(endGrace); err != nil {
			slog.Warn("cannot end replaced process", "plugin", i.conn.name, "pid", old.id.PID, "error", err)
		}
		old.release()
		i.tidy(old)
		_ = os.Remove(file(replacedState))
	})
}

func copyFile(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return replace(to, raw)
}

// sweep ends what a host that died in the middle of a replacement has left: a process that did not serve yet, and one
// that served no more.
func (i *instance) sweep() {
	serves, _ := readState(i.config.file(i.id, current.state))
	for _, extension := range []string{candidate.state, replacedState} {
		s, err := readState(i.config.file(i.id, extension))
		if err != nil {
			continue
		}
		if s.Process != serves.Process {
			if err := s.Process.End(endGrace); err != nil {
				slog.Warn("cannot end process", "plugin", i.conn.name, "pid", s.Process.PID, "error", err)
				continue
			}
			removeSocket(s.Socket)
			i.config.removeCgroup(s.Cgroup)
		}
		_ = os.Remove(i.config.file(i.id, extension))
	}
	for _, extension := range []string{candidate.config, candidate.problem} {
		_ = os.Remove(i.config.file(i.id, extension))
	}
}
