// Package audit compares what a machine has of Gantry's with what there should be, and takes away what is left over.
// It exists because a crash between any two steps, of whichever process, may leave something that nobody looks for
// any more; that there is nothing has to be shown, not believed.
package audit

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/gantryio/gantry/core/agent/cgroup"
	"github.com/gantryio/gantry/core/pluginhost/ledger"
)

// Known is what there should be.
type Known struct {
	// Pods are UIDs. It is nil when nobody can tell, and then what pods have on the machine is not judged.
	Pods map[string]bool
	// IDs are those of all sandboxes and containers of all runtimes.
	IDs map[string]bool
	// Sandboxes are the sandboxes, as RUNTIME/ID, with their pods' UIDs.
	Sandboxes map[string]string
	// Entries are the ledger's; Busy are the sandboxes that are being dealt with.
	Entries []ledger.Entry
	Busy    map[string]bool
	// Recorded are the sandboxes that each network plugin says it has something of.
	Recorded map[string][]string
	// Bridges are those of the network plugins that run, Tables the nftables tables of the service plugin that routes.
	Bridges []string
	Tables  []string
}

// Place is where things of ours are on this machine.
type Place struct {
	// RunDir has the runtimes' sockets, mounts and network namespaces; KubeletDir the pods' volumes.
	RunDir, KubeletDir string
	// AddressDirs have host-local's stores.
	AddressDirs []string
	// PodRanges have the addresses of pods. A bridge is ours if OurBridge says so.
	PodRanges []netip.Prefix
	OurBridge func(name string) bool
	// OurTable tells a service plugin's nftables table by its name.
	OurTable func(name string) bool
	Cgroups  cgroup.Tree
}

// Kind is what a finding is about.
type Kind string

// The kinds, in the order in which they are removed: what plugins and runtimes can clear comes first.
const (
	Container Kind = "container"
	Ledger    Kind = "ledger"
	Record    Kind = "record"
	Route     Kind = "route"
	Interface Kind = "interface"
	Namespace Kind = "netns"
	Address   Kind = "address"
	Table     Kind = "nftables"
	Mount     Kind = "mount"
	Volume    Kind = "volume"
	Cgroup    Kind = "cgroup"
)

var order = []Kind{Container, Ledger, Record, Route, Interface, Namespace, Address, Table, Mount, Volume, Cgroup}

// Finding is something that should not be there.
type Finding struct {
	Kind Kind `json:"kind"`
	// Name is what the machine calls it; Owner the plugin or interface that it belongs to, if that is known.
	Name  string `json:"name"`
	Owner string `json:"owner,omitempty"`
	// Detail says why it is left over.
	Detail string `json:"detail"`
	// Fixed and Error say what became of the attempt to remove it.
	Fixed bool   `json:"fixed,omitempty"`
	Error string `json:"error,omitempty"`
}

func (f Finding) key() [3]string { return [3]string{string(f.Kind), f.Owner, f.Name} }

// Auditor needs all its fields.
type Auditor struct {
	Place Place
	// Known says what there should be now.
	Known func(ctx context.Context) (Known, error)
	// Remover removes what is not only the machine's.
	Remover Remover
	Now     func() time.Time
}

// Remover is asked for findings of the kinds Container, Ledger and Record.
type Remover interface {
	RemoveContainer(ctx context.Context, runtime, id string) error
	// Detach takes away what the ledger has of a sandbox.
	Detach(ctx context.Context, sandbox string) error
	// Clear takes away what only a network plugin knows.
	Clear(ctx context.Context, network, sandbox string) error
}

// confirm is how long a finding has to be there: what is being made or removed looks left over for a moment.
const confirm = time.Second

// Run reports what is left over.
func (a *Auditor) Run(ctx context.Context) ([]Finding, error) {
	first, err := a.look(ctx)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(confirm):
	}
	second, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(second, func(f Finding) bool {
		return !slices.ContainsFunc(first, func(g Finding) bool { return f.key() == g.key() })
	}), nil
}

// look compares once. What was known before or after the machine was looked at is not left over.
func (a *Auditor) look(ctx context.Context) ([]Finding, error) {
	before, err := a.Known(ctx)
	if err != nil {
		return nil, err
	}
	m, err := observe(a.Place)
	if err != nil {
		return nil, err
	}
	after, err := a.Known(ctx)
	if err != nil {
		return nil, err
	}
	now := a.Now()
	then := compare(before, m, a.Place, now)
	return slices.DeleteFunc(compare(after, m, a.Place, now), func(f Finding) bool {
		return !slices.ContainsFunc(then, func(g Finding) bool { return f.key() == g.key() })
	}), nil
}

// Fix removes what Run has found and says for each whether it is gone.
func (a *Auditor) Fix(ctx context.Context) ([]Finding, error) {
	found, err := a.Run(ctx)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if err := a.remove(ctx, found[i]); err != nil {
			found[i].Error = err.Error()
			continue
		}
		found[i].Fixed = true
	}
	return found, nil
}

func sorted(found []Finding) []Finding {
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)),
			cmp.Compare(a.Owner, b.Owner), cmp.Compare(b.Name, a.Name), // mounts below others go first
		)
	})
	return found
}
