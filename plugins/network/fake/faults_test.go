package fake_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/network/networktest"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/plugins/network/fake"
)

// faulty is the fake with one method replaced.
type faulty struct {
	*fake.Network
	attach func(context.Context, network.Sandbox) (network.Attachment, error)
	detach func(context.Context, network.Sandbox) error
	check  func(context.Context, network.Sandbox) error
	status func(context.Context) error
	list   func(context.Context) ([]string, error)
}

func (f *faulty) Attach(ctx context.Context, s network.Sandbox) (network.Attachment, error) {
	return f.attach(ctx, s)
}
func (f *faulty) Detach(ctx context.Context, s network.Sandbox) error { return f.detach(ctx, s) }
func (f *faulty) Check(ctx context.Context, s network.Sandbox) error  { return f.check(ctx, s) }
func (f *faulty) Status(ctx context.Context) error                    { return f.status(ctx) }
func (f *faulty) List(ctx context.Context) ([]string, error)          { return f.list(ctx) }

// TestSuiteCatches plants one fault each.
func TestSuiteCatches(t *testing.T) {
	for _, test := range []struct {
		name  string
		plant func(f *faulty)
		by    string
	}{
		{name: "nothing", plant: func(*faulty) {}},
		{name: "another address each time", by: "attach is idempotent", plant: func(f *faulty) {
			n := byte(0)
			f.attach = func(ctx context.Context, s network.Sandbox) (network.Attachment, error) {
				a, err := f.Network.Attach(ctx, s)
				n++
				a.Addresses = []network.Address{{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, n}), 24)}}
				return a, err
			}
		}},
		{name: "one address for all", by: "sandboxes at the same time", plant: func(f *faulty) {
			f.attach = func(ctx context.Context, s network.Sandbox) (network.Attachment, error) {
				a, err := f.Network.Attach(ctx, s)
				a.Addresses = []network.Address{{Prefix: netip.MustParsePrefix("10.9.0.9/24")}}
				return a, err
			}
		}},
		{name: "a second detach fails", by: "detach", plant: func(f *faulty) {
			f.detach = func(ctx context.Context, s network.Sandbox) error {
				if err := f.Network.Check(ctx, s); err != nil {
					return err
				}
				return f.Network.Detach(ctx, s)
			}
		}},
		{name: "detach needs the namespace", by: "detach without the namespace", plant: func(f *faulty) {
			f.detach = func(ctx context.Context, s network.Sandbox) error {
				if s.NetNS == "" && s.ID != "never-seen" {
					return errors.New("open netns: no such file")
				}
				return f.Network.Detach(ctx, s)
			}
		}},
		{name: "what was given up stays", by: "a call that is given up", plant: func(f *faulty) {
			stays := map[string]bool{}
			f.attach = func(ctx context.Context, s network.Sandbox) (network.Attachment, error) {
				if err := ctx.Err(); err != nil {
					stays[s.ID] = true
					return network.Attachment{}, err
				}
				return f.Network.Attach(ctx, s)
			}
			f.list = func(ctx context.Context) ([]string, error) {
				ids, err := f.Network.List(ctx)
				for id := range stays {
					ids = append(ids, id)
				}
				return ids, err
			}
		}},
		{name: "check sees nothing", by: "attach after detach", plant: func(f *faulty) {
			f.check = func(context.Context, network.Sandbox) error { return nil }
		}},
		{name: "not ready", by: "status", plant: func(f *faulty) {
			f.status = func(context.Context) error { return plugin.ErrUnavailable }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, err := fake.Open(fake.Config{})
			if err != nil {
				t.Fatal(err)
			}
			f := &faulty{Network: n, attach: n.Attach, detach: n.Detach, check: n.Check, status: n.Status, list: n.List}
			test.plant(f)
			failed := map[string]bool{}
			suite := networktest.Suite{
				Network: f, Namespace: func(conformance.T) string { return "/run/netns/none" }, PodCIDR: netip.MustParsePrefix("10.9.0.0/24"),
			}
			for _, r := range conformance.Run(suite.Cases(), time.Minute, nil) {
				if !r.Passed() {
					failed[r.Name] = true
				}
			}
			if test.by == "" && len(failed) > 0 || test.by != "" && !failed[test.by] {
				t.Errorf("failed are %v, want %q among them", failed, test.by)
			}
		})
	}
}
