package attach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Attach gives a sandbox its network. It is idempotent. The ledger is written before the plugin is called.
func (s *Server) Attach(ctx context.Context, sandbox network.Sandbox) (network.Attachment, error) {
	defer s.lock(sandbox.ID)()
	began := s.now()
	entry, err := s.intend(ctx, sandbox)
	if err != nil {
		return network.Attachment{}, err
	}
	a, err := s.call(ctx, entry)
	if err != nil {
		return network.Attachment{}, err
	}
	if err := s.attachExtra(ctx, entry); err != nil {
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

// Detach takes a sandbox's interfaces away, each by the plugin that attached it. A sandbox that the ledger does
// not know needs nothing. The ledger forgets only after the plugin has succeeded.
func (s *Server) Detach(ctx context.Context, id string) error {
	defer s.lock(id)()
	for _, e := range s.entries(id) {
		if err := s.detach(ctx, e); err != nil {
			return err
		}
	}
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
	for _, name := range append(s.Networks.Networks(), "") {
		n, ref, err := s.Networks.Network(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		plugins[ref.Name] = n
	}
	for _, e := range s.Ledger.List() {
		if of := cmp.Or(e.Of, e.Sandbox.ID); s.stale(of, live) {
			errs = append(errs, s.Detach(ctx, of))
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
		if _, known := s.Ledger.Get(id); known || !s.stale(owner(id), live) {
			continue
		}
		unlock := s.lock(owner(id))
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
	entries := s.entries(id)
	if len(entries) == 0 {
		return fmt.Errorf("check %s: %w", id, plugin.ErrNotFound)
	}
	for _, e := range entries {
		n, _, err := s.Networks.Network(e.Plugin.Name)
		if err != nil {
			return err
		}
		if err := n.Check(ctx, e.Sandbox); err != nil {
			return err
		}
	}
	return nil
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
