package attach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Choice is which network plugins serve a sandbox.
type Choice struct {
	// Network gives the sandbox its addresses; "" is the node's default.
	Network string
	// Extra give it further interfaces: net1, net2 and so on.
	Extra []string
	// IPs and MAC are those that the first interface is to have, if any.
	IPs []netip.Addr
	MAC string
}

const extraPrefix = "net"

// extraID is what a sandbox's further interface is called where sandboxes are meant: to the plugins each interface
// is a sandbox of its own. The characters are those that CNI allows in the ID of a container.
func extraID(sandbox, iface string) string { return sandbox + "." + iface }

// owner is the sandbox that an ID of a sandbox or of its further interface is about.
func owner(id string) string {
	n := strings.LastIndexByte(id, '.')
	if n < 0 {
		return id
	}
	number, extra := strings.CutPrefix(id[n+1:], extraPrefix)
	if _, err := strconv.Atoi(number); !extra || err != nil {
		return id
	}
	return id[:n]
}

// intend finds the entry of a sandbox, or makes it.
func (s *Server) intend(ctx context.Context, sandbox network.Sandbox) (ledger.Entry, error) {
	if entry, known := s.Ledger.Get(sandbox.ID); known {
		return entry, nil
	}
	if sandbox.PodCIDRs = s.PodCIDRs(); len(sandbox.PodCIDRs) == 0 {
		return ledger.Entry{}, fmt.Errorf("attach %s: the node has no pod range yet: %w", sandbox.ID, plugin.ErrUnavailable)
	}
	var c Choice
	if s.Choose != nil {
		var err error
		if c, err = s.Choose(ctx, sandbox); err != nil {
			return ledger.Entry{}, fmt.Errorf("choose network for %s: %w", sandbox.ID, err)
		}
	}
	for _, name := range c.Extra {
		if _, _, err := s.Networks.Network(name); err != nil {
			return ledger.Entry{}, err
		}
	}
	sandbox.IPs, sandbox.MAC = c.IPs, c.MAC
	return s.record(ledger.Entry{Sandbox: sandbox, Extra: c.Extra}, c.Network)
}

// record writes an entry before its plugin is called.
func (s *Server) record(e ledger.Entry, name string) (ledger.Entry, error) {
	_, ref, err := s.Networks.Network(name)
	if err != nil {
		return e, err
	}
	e.Plugin, e.Since = ref, s.now()
	if e, err = s.Ledger.Intend(e); err != nil {
		return e, err
	}
	s.changed()
	if _, _, err := s.Networks.Network(e.Plugin.Name); err != nil {
		// It was taken away before the ledger said that it is needed, and was never called.
		return e, errors.Join(err, s.Ledger.Forget(e.Sandbox.ID))
	}
	return e, nil
}

// call lets the plugin of an entry attach it.
func (s *Server) call(ctx context.Context, e ledger.Entry) (network.Attachment, error) {
	n, _, err := s.Networks.Network(e.Plugin.Name)
	if err != nil {
		return network.Attachment{}, err
	}
	a, err := n.Attach(ctx, e.Sandbox)
	if err != nil {
		return network.Attachment{}, err
	}
	return a, s.Ledger.Finish(e.Sandbox.ID, a)
}

// attachExtra gives a sandbox its further interfaces.
func (s *Server) attachExtra(ctx context.Context, e ledger.Entry) error {
	for i, name := range e.Extra {
		iface := extraPrefix + strconv.Itoa(i+1)
		extra, known := s.Ledger.Get(extraID(e.Sandbox.ID, iface))
		if !known {
			sandbox := e.Sandbox
			sandbox.ID, sandbox.Interface = extraID(e.Sandbox.ID, iface), iface
			sandbox.IPs, sandbox.MAC = nil, ""
			sandbox.HostPorts, sandbox.IngressBits, sandbox.EgressBits = nil, 0, 0
			var err error
			if extra, err = s.record(ledger.Entry{Sandbox: sandbox, Of: e.Sandbox.ID}, name); err != nil {
				return fmt.Errorf("attach interface %s: %w", iface, err)
			}
		}
		if _, err := s.call(ctx, extra); err != nil {
			return fmt.Errorf("attach interface %s: %w", iface, err)
		}
	}
	return nil
}

// entries are those of a sandbox in the order in which they are detached.
func (s *Server) entries(id string) []ledger.Entry {
	out := s.Ledger.Interfaces(id)
	slices.SortFunc(out, func(a, b ledger.Entry) int { return cmp.Compare(b.Sandbox.ID, a.Sandbox.ID) })
	if e, known := s.Ledger.Get(id); known {
		out = append(out, e)
	}
	return out
}

func (s *Server) detach(ctx context.Context, e ledger.Entry) error {
	n, _, err := s.Networks.Network(e.Plugin.Name)
	if err != nil {
		return fmt.Errorf("detach %s, which %s attached: %w", e.Sandbox.ID, e.Plugin, err)
	}
	if err := n.Detach(ctx, e.Sandbox); err != nil {
		return err
	}
	if err := s.Ledger.Forget(e.Sandbox.ID); err != nil {
		return err
	}
	s.changed()
	s.hostPortsChanged(e)
	return nil
}

func (s *Server) changed() {
	if s.Changed != nil {
		s.Changed()
	}
}

// Busy are the sandboxes in the ledger that this process has dealt with.
func (s *Server) Busy() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]bool{}
	for id := range s.touched {
		out[id] = true
	}
	return out
}

// Clear lets a network plugin take away what it has of a sandbox that the ledger does not know.
func (s *Server) Clear(ctx context.Context, name, id string) error {
	defer s.lock(owner(id))()
	if _, known := s.Ledger.Get(id); known {
		return fmt.Errorf("clear %s: the ledger knows it: %w", id, plugin.ErrInvalid)
	}
	n, _, err := s.Networks.Network(name)
	if err != nil {
		return err
	}
	return n.Detach(ctx, network.Sandbox{ID: id})
}
