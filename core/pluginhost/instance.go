package pluginhost

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/proto"
)

const (
	firstBackOff  = 50 * time.Millisecond
	lastBackOff   = 10 * time.Second
	longEnough    = time.Minute // a plugin that served so long starts again without delay
	startTimeout  = 30 * time.Second
	answerTimeout = 5 * time.Second
	pulse         = 30 * time.Second // how often an idle plugin is asked whether it lives
	misses        = 3                // so many failures in a row and it is launched anew
	endGrace      = 2 * time.Second
)

// instance keeps one plugin running.
type instance struct {
	config  Config
	id      Ref // without a version
	conn    *conn
	changed func()
	// renew receives when the plugin that is wanted has changed.
	renew chan struct{}
	// cancel ends run, and ended is closed when it has; both are set when it begins.
	cancel context.CancelFunc
	ended  chan struct{}
	// drains are the processes that were replaced and still have calls to answer.
	drains sync.WaitGroup

	mu     sync.Mutex
	wanted Plugin
	// refused is what was wanted but did not become healthy beside good, which serves instead.
	refused, good *Plugin
	now           Instance
}

func newInstance(c Config, p Plugin, changed func()) *instance {
	ref := Ref{Kind: p.Kind, Name: p.Name}
	return &instance{
		config: c, id: ref, conn: newConn(ref.String()), changed: changed, renew: make(chan struct{}, 1), wanted: p,
		now: Instance{Ref: ref, Error: errStarting.Error(), Since: time.Now()},
	}
}

// plugin is what is wanted now.
func (i *instance) plugin() Plugin {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wanted
}

// target is what to launch when nothing runs: what is wanted, unless that was refused.
func (i *instance) target() Plugin {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.refused != nil && i.good != nil && sameProcess(*i.refused, i.wanted) {
		return *i.good
	}
	return i.wanted
}

// want changes what is wanted. What calls see of it, such as handlers, holds at once; the process is replaced if it
// has another executable or configuration.
func (i *instance) want(p Plugin) (changed bool) {
	i.mu.Lock()
	same := sameProcess(p, i.wanted)
	if same && i.now.Generation == i.wanted.Generation {
		i.now.Generation = p.Generation
	}
	renew := !same || i.refused != nil && p.Generation != i.wanted.Generation
	if renew {
		i.refused = nil // Whoever declares it anew wants it to be tried again.
	}
	changed = !same || p.Generation != i.wanted.Generation || !slices.Equal(p.Handlers, i.wanted.Handlers)
	i.wanted = p
	i.mu.Unlock()
	if renew {
		i.poke()
	}
	return changed
}

func (i *instance) poke() {
	select {
	case i.renew <- struct{}{}:
	default:
	}
}

func (i *instance) describe() Instance {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := i.now
	for _, h := range i.wanted.Handlers {
		if !slices.Contains(out.Handlers, h) {
			out.Handlers = append(slices.Clip(out.Handlers), h)
		}
	}
	return out
}

func (i *instance) ref() Ref { return i.describe().Ref }

// run attaches or launches, again and again, until ctx ends.
func (i *instance) run(ctx context.Context) {
	defer i.drains.Wait()
	i.sweep()
	wait := firstBackOff
	for ctx.Err() == nil {
		s, err := i.open(ctx)
		if err == nil {
			began := time.Now()
			err = i.serve(ctx, s)
			if time.Since(began) > longEnough {
				wait = firstBackOff
			}
		} else {
			i.down(err)
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRenewed) {
			wait = firstBackOff
			continue
		}
		slog.Warn("plugin is down", "plugin", i.conn.name, "error", err, "again", wait)
		select {
		case <-time.After(wait):
			wait = min(wait*2, cmp.Or(i.config.LongestPause, lastBackOff))
		case <-i.renew:
			wait = firstBackOff
		case <-ctx.Done():
		}
	}
}

// serve lets calls go to a process, and to those that replace it, until one ends. Then its error says why.
func (i *instance) serve(ctx context.Context, s *session) error {
	i.up(s)
	for {
		next, err := i.watch(ctx, s)
		if next == nil {
			i.down(err)
			s.release()
			i.tidy(s)
			return err
		}
		i.move(ctx, s, next)
		s = next
	}
}

// up lets calls go to a process. The channel that it returns is closed when the one before has answered its own.
func (i *instance) up(s *session) (answered <-chan struct{}) {
	i.mu.Lock()
	good := s.plugin
	i.good = &good
	i.now.Generation, i.now.Digest, i.now.Handlers = s.plugin.Generation, s.digest, s.info.GetHandlers()
	i.now.Version, i.now.PID, i.now.Up, i.now.Error, i.now.Since = s.info.GetVersion(), s.id.PID, true, "", time.Now()
	i.now.Unlimited, i.now.Source = s.unlimited, s.plugin.Executable
	i.mu.Unlock()
	slog.Info("plugin is up", "plugin", i.conn.name, "version", s.info.GetVersion(), "pid", s.id.PID, "launched", s.fresh)
	answered = i.conn.set(&line{ClientConn: s.conn, passage: s.passage}, nil)
	i.changed()
	return answered
}

func (i *instance) down(err error) {
	if err == nil {
		err = errors.New("the host let go of it")
	}
	i.mu.Lock()
	if i.now.Up {
		i.now.Since = time.Now()
		i.now.Restarts++
	}
	i.now.Up, i.now.Error = false, err.Error()
	i.mu.Unlock()
	i.conn.set(nil, err)
	i.changed()
}

// sameProcess tells that one process can serve both.
func sameProcess(a, b Plugin) bool {
	x, xerr := encode(a.Config)
	y, yerr := encode(b.Config)
	return a.Executable == b.Executable && a.SHA256 == b.SHA256 && a.driver() == b.driver() && a.Limits == b.Limits &&
		sameImage(a.Image, b.Image) && xerr == nil && yerr == nil && bytes.Equal(x, y)
}

// encode is a configuration as a plugin gets it.
func encode(config any) ([]byte, error) {
	if config == nil {
		return []byte("{}"), nil
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return raw, nil
}

var errRenewed = errors.New("it is being replaced")

// watch returns what is to replace the process, or why the process serves no more: it ended, stopped answering, has to
// go for what is wanted (errRenewed), or ctx is done (nil then).
func (i *instance) watch(ctx context.Context, s *session) (next *session, err error) {
	var parts sync.WaitGroup
	defer parts.Wait()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	parts.Go(func() { i.follow(watching, s) })
	sick := make(chan error, 1)
	go func() { sick <- i.pulse(watching, s) }()
	ended := make(chan error, 1)
	go func() { ended <- s.id.Wait(watching) }()
	beside := i.begin(watching, s)
	defer func() { beside.stop() }()
	for {
		select {
		case err := <-ended:
			if ctx.Err() != nil {
				return nil, nil
			}
			return nil, errors.Join(i.obituary(s), err)
		case <-i.renew:
			beside.stop()
			beside = i.begin(watching, s)
		case out := <-beside.result:
			if out.session != nil {
				return out.session, nil
			}
			if out.replace {
				return nil, errors.Join(errRenewed, s.id.End(endGrace))
			}
		case err := <-sick:
			if ctx.Err() != nil {
				return nil, nil
			}
			return nil, errors.Join(err, s.id.End(time.Second))
		}
	}
}

// obituary says why a process may have ended.
func (i *instance) obituary(s *session) error {
	if i.config.outOfMemory(s) {
		i.mu.Lock()
		defer i.mu.Unlock()
		return fmt.Errorf("process %d was killed for its memory limit of %d bytes", s.id.PID, s.plugin.Limits.MemoryBytes)
	}
	return fmt.Errorf("process %d ended, see %s", s.id.PID, i.config.file(i.id, ".log"))
}

// pulse asks the plugin from time to time whether it lives, and returns when it does not.
func (i *instance) pulse(ctx context.Context, s *session) error {
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for missed := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := cutLog(i.config.file(i.id, ".log")); err != nil {
			slog.Warn("cannot bound the plugin's log", "plugin", i.conn.name, "error", err)
		}
		err := alive(ctx, s)
		if err == nil {
			missed = 0
			continue
		}
		if missed++; missed >= misses {
			return fmt.Errorf("check health %d times: %w", missed, err)
		}
	}
}

// alive asks a process for its health once.
func alive(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	_, err := grpc_health_v1.NewHealthClient(s.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	return err
}

// stop takes down what the plugin supervises and ends it.
func (i *instance) stop(ctx context.Context) error {
	i.sweep()
	_, never := readState(i.config.file(i.id, current.state))
	s, err := i.open(ctx)
	if err != nil && never != nil {
		slog.Info("plugin that never ran cannot be asked to clean up", "plugin", i.conn.name, "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop plugin %s: %w", i.conn.name, err)
	}
	defer s.release()
	_, stopErr := proto.NewLifecycleClient(s.conn).Stop(ctx, &proto.StopRequest{})
	endErr := s.id.End(endGrace)
	i.tidy(s)
	i.down(errors.New("it was stopped"))
	for _, extension := range []string{current.state, current.config, current.problem} {
		_ = os.Remove(i.config.file(i.id, extension))
	}
	if err := errors.Join(plugin.FromStatus(stopErr), endErr); err != nil {
		return fmt.Errorf("stop plugin %s: %w", i.conn.name, err)
	}
	return nil
}
