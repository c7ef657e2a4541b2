package attach

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Attach gives a sandbox its network. It is idempotent. The ledger is written before the plugin is called.
func (s *Server) Attach(ctx context.Context, sandbox network.Sandbox) (network.Attachment, error) {
	defer s.lock(sandbox.ID)()
	began := s.now()
	entry, known := s.Ledger.Get(sandbox.ID)
	if !known {
		if sandbox.PodCIDRs = s.PodCIDRs(); len(sandbox.PodCIDRs) == 0 {
			return network.Attachment{}, fmt.Errorf("attach %s: the node has no pod range yet: %w", sandbox.ID, plugin.ErrUnavailable)
		}
		var name string
		if s.Choose != nil {
			var err error
			if name, err = s.Choose(ctx, sandbox); err != nil {
				return network.Attachment{}, fmt.Errorf("choose network for %s: %w", sandbox.ID, err)
			}
		}
		_, ref, err := s.Networks.Network(name)
		if err != nil {
			return network.Attachment{}, err
		}
		entry, err = s.Ledger.Intend(ledger.Entry{Sandbox: sandbox, Plugin: ref, Since: s.now()})
		if err != nil {
			return network.Attachment{}, err
		}
	}
	n, _, err := s.Networks.Network(entry.Plugin.Name)
	if err != nil {
		return network.Attachment{}, err
	}
	a, err := n.Attach(ctx, entry.Sandbox)
	if err != nil {
		return network.Attachment{}, err
	}
	if err := s.Ledger.Finish(sandbox.ID, a); err != nil {
		return network.Attachment{}, err
	}
	s.hostPortsChanged(entry)
	if s.Took != nil {
		s.Took(entry.Sandbox, began, s.now())
	}
	if s.Attached != nil {
		s.Attached(entry.Sandbox, a)
	}
	return a, nil
}

// Detach takes a sandbox's network away, by the plugin that attached it. A sandbox that the ledger does
// not know needs nothing. The ledger forgets only after the plugin has succeeded.
func (s *Server) Detach(ctx context.Context, id string) error {
	defer s.lock(id)()
	entry, known := s.Ledger.Get(id)
	if !known {
		return nil
	}
	n, _, err := s.Networks.Network(entry.Plugin.Name)
	if err != nil {
		return fmt.Errorf("detach %s, which %s attached: %w", id, entry.Plugin, err)
	}
	if err := n.Detach(ctx, entry.Sandbox); err != nil {
		return err
	}
	if err := s.Ledger.Forget(id); err != nil {
		return err
	}
	s.hostPortsChanged(entry)
	return nil
}

// Get returns what a sandbox got, if it is attached.
func (s *Server) Get(id string) (network.Attachment, bool) {
	entry, known := s.Ledger.Get(id)
	if !known || entry.Attachment == nil {
		return network.Attachment{}, false
	}
	return *entry.Attachment, true
}

// Reconcile detaches what belongs to no sandbox: entries of the ledger, and sandboxes that a plugin still
// knows although the ledger does not. live are the sandboxes of all runtimes, in whatever state; it has to
// be read after Run began. What was attached since then is left alone.
func (s *Server) Reconcile(ctx context.Context, live []string) error {
	var errs []error
	plugins := map[string]network.Network{}
	if n, ref, err := s.Networks.Network(""); err == nil {
		plugins[ref.Name] = n
	} else {
		errs = append(errs, err)
	}
	for _, e := range s.Ledger.List() {
		if n, ref, err := s.Networks.Network(e.Plugin.Name); err == nil {
			plugins[ref.Name] = n
		}
		if s.stale(e.Sandbox.ID, live) {
			errs = append(errs, s.Detach(ctx, e.Sandbox.ID))
		}
	}
	for _, n := range plugins {
		errs = append(errs, s.sweep(ctx, n, live))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("reconcile networks: %w", err)
	}
	return nil
}

// sweep detaches what only the plugin knows of.
func (s *Server) sweep(ctx context.Context, n network.Network, live []string) error {
	ids, err := n.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		if _, known := s.Ledger.Get(id); known || !s.stale(id, live) {
			continue
		}
		unlock := s.lock(id)
		if _, known := s.Ledger.Get(id); !known {
			errs = append(errs, n.Detach(ctx, network.Sandbox{ID: id}))
		}
		unlock()
	}
	return errors.Join(errs...)
}

// stale says that a sandbox is neither live nor was touched by this process.
func (s *Server) stale(id string, live []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, touched := s.touched[id]
	return !touched && !slices.Contains(live, id)
}

func (s *Server) check(ctx context.Context, id string) error {
	entry, known := s.Ledger.Get(id)
	if !known {
		return fmt.Errorf("check %s: %w", id, plugin.ErrNotFound)
	}
	n, _, err := s.Networks.Network(entry.Plugin.Name)
	if err != nil {
		return err
	}
	return n.Check(ctx, entry.Sandbox)
}

func (s *Server) status(ctx context.Context) error {
	if len(s.PodCIDRs()) == 0 {
		return errors.New("the node has no pod range yet")
	}
	n, _, err := s.Networks.Network("")
	if err != nil {
		return err
	}
	return n.Status(ctx)
}

// keyed is the lock of one sandbox.
type keyed struct {
	sync.Mutex
	users int
}

// lock serialises the calls for one sandbox and remembers that this process has dealt with it.
func (s *Server) lock(id string) (unlock func()) {
	s.mu.Lock()
	if s.locks == nil {
		s.locks, s.touched = map[string]*keyed{}, map[string]struct{}{}
	}
	k, ok := s.locks[id]
	if !ok {
		k = &keyed{}
		s.locks[id] = k
	}
	k.users++
	s.touched[id] = struct{}{}
	s.mu.Unlock()
	k.Lock()
	return func() {
		k.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, known := s.Ledger.Get(id); !known {
			delete(s.touched, id)
		}
		if k.users--; k.users == 0 {
			delete(s.locks, id)
		}
	}
}
