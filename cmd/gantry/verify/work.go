package verify

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/attach"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/network/networktest"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/interfaces/plugin/relay"
	"github.com/gantryio/gantry/interfaces/runtime"
	"github.com/gantryio/gantry/interfaces/runtime/runtimetest"
	"github.com/gantryio/gantry/interfaces/scheduler"
	"github.com/gantryio/gantry/interfaces/scheduler/schedulertest"
	"github.com/gantryio/gantry/interfaces/service"
	"github.com/gantryio/gantry/interfaces/service/servicetest"
	"github.com/gantryio/gantry/plugins/network/fake"
)

var podRange = netip.MustParsePrefix("10.244.7.0/24")

func dial(socket string) (*grpc.ClientConn, error) {
	if err := reachable(socket); err != nil {
		return nil, err
	}
	return relay.Dial(socket)
}

// workOver is the work of a plugin behind a connection.
func (b *bed) workOver(conn grpc.ClientConnInterface) (work, error) {
	switch b.Kind {
	case plugin.Runtime:
		return b.runtimeWork(runtime.NewClient(conn)), nil
	case plugin.Network:
		return networkWork(network.NewClient(conn)), nil
	case plugin.Service:
		return serviceWork(service.NewClient(conn)), nil
	case plugin.Scheduler:
		return schedulerWork(scheduler.NewClient(conn)), nil
	}
	return work{}, fmt.Errorf("there is no contract for kind %q: %w", b.Kind, plugin.ErrInvalid)
}

// workOfHost is the work of the plugin that the host runs.
func (b *bed) workOfHost() (work, error) {
	switch b.Kind {
	case plugin.Runtime:
		r, _, _, err := b.host.Runtime("")
		return b.runtimeWork(r), err
	case plugin.Network:
		n, _, err := b.host.Network("")
		return networkWork(n), err
	case plugin.Service:
		p, _, err := b.host.Service("")
		return serviceWork(p), err
	}
	j, err := b.host.Judge("")
	return schedulerWork(j), err
}

func networkWork(n network.Network) work {
	return work{
		suite: networktest.Suite{Network: n, Namespace: plugintest.Namespace, PodCIDR: podRange}.Cases(),
		deed: func(t conformance.T, i int) deed {
			s := network.Sandbox{
				ID: fmt.Sprintf("verify-%d", i), NetNS: plugintest.Namespace(t), PodNamespace: "verify", PodName: fmt.Sprintf("p%d", i),
				PodUID: fmt.Sprintf("uid-%d", i), PodCIDRs: []netip.Prefix{podRange},
			}
			var first network.Attachment
			return deed{
				do: func(ctx context.Context) (err error) {
					first, err = n.Attach(ctx, s)
					return err
				},
				undo: func(ctx context.Context) error { return n.Detach(ctx, s) },
				same: func(ctx context.Context) error {
					if err := n.Check(ctx, s); err != nil {
						return fmt.Errorf("check: %w", err)
					}
					again, err := n.Attach(ctx, s)
					if err == nil && (len(again.Addresses) == 0 || again.Addresses[0].Prefix != first.Addresses[0].Prefix) {
						return fmt.Errorf("attach gives the addresses %v, before %v", again.Addresses, first.Addresses)
					}
					return err
				},
			}
		},
		left: n.List,
	}
}

func serviceWork(p service.Proxy) work {
	return work{
		suite: servicetest.Suite{Proxy: p}.Cases(),
		deed: func(_ conformance.T, i int) deed {
			snap := service.Snapshot{Services: []service.Service{{
				Namespace: "verify", Name: fmt.Sprintf("s%d", i), ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})},
				Ports: []service.Port{{Name: "a", Protocol: "TCP", Port: 80, Endpoints: []service.Endpoint{{Address: podRange.Addr().Next(), Port: 8080}}}},
			}}}
			return deed{
				do:   func(ctx context.Context) error { return p.Sync(ctx, snap) },
				undo: func(ctx context.Context) error { return p.Sync(ctx, service.Snapshot{}) },
				same: func(ctx context.Context) error { return p.Sync(ctx, snap) },
			}
		},
	}
}

func schedulerWork(j scheduler.Judge) work {
	return work{
		suite: schedulertest.Suite{Judge: j}.Cases(),
		deed: func(_ conformance.T, i int) deed {
			ask := func(ctx context.Context) error {
				_, err := j.Judge(ctx, scheduler.Pod{}, []scheduler.Node{{Name: fmt.Sprintf("n%d", i)}})
				return err
			}
			return deed{do: ask, undo: ask, same: ask}
		},
	}
}

// cgroup is where the sandboxes of a runtime go.
const cgroup = "/gantry-verify"

func (b *bed) runtimeWork(r *runtime.Client) work {
	logs := filepath.Join(b.dir, "log")
	list := func(ctx context.Context, labels map[string]string) ([]string, error) {
		res, err := r.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: labels}})
		var ids []string
		for _, s := range res.GetItems() {
			ids = append(ids, s.GetId())
		}
		return ids, err
	}
	ours := map[string]string{"verify": "yes"}
	return work{
		suite: runtimetest.Suite{Runtime: r, Image: b.Image, Absent: "gantry.local/absent:1", LogDirectory: logs, CgroupParent: cgroup}.Cases(),
		deed: func(_ conformance.T, i int) deed {
			name := fmt.Sprintf("verify-%d", i)
			labels := map[string]string{"verify": "yes", "deed": name}
			config := &runtimeapi.PodSandboxConfig{
				Metadata: &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "verify", Uid: name}, Labels: labels, LogDirectory: logs,
				DnsConfig: &runtimeapi.DNSConfig{}, Linux: &runtimeapi.LinuxPodSandboxConfig{CgroupParent: cgroup},
			}
			return deed{
				do: func(ctx context.Context) error {
					_, err := r.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
					return err
				},
				undo: func(ctx context.Context) error { return settle(ctx, r, config, list) },
				same: func(ctx context.Context) error {
					ids, err := list(ctx, labels)
					if err == nil && len(ids) != 1 {
						return fmt.Errorf("%d sandboxes are listed, want 1", len(ids))
					}
					return err
				},
			}
		},
		left: func(ctx context.Context) ([]string, error) { return list(ctx, ours) },
	}
}

const settlePause = 20 * time.Millisecond

// settle removes a sandbox. One whose making was cut off may still be on its way: it is over when its name can be used
// again.
func settle(ctx context.Context, r *runtime.Client, config *runtimeapi.PodSandboxConfig, list func(context.Context, map[string]string) ([]string, error)) error {
	for {
		if err := remove(ctx, r, config, list); err != nil {
			return err
		}
		_, err := r.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
		if err == nil {
			return remove(ctx, r, config, list)
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return fmt.Errorf("the name of sandbox %s is never free again: %w", config.GetMetadata().GetName(), err)
		}
	}
}

func remove(ctx context.Context, r *runtime.Client, config *runtimeapi.PodSandboxConfig, list func(context.Context, map[string]string) ([]string, error)) error {
	ids, err := list(ctx, config.GetLabels())
	for _, id := range ids {
		_, stopErr := r.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id})
		_, removeErr := r.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id})
		err = errors.Join(err, stopErr, removeErr)
	}
	return err
}

// importImage makes the image present: it is imported where the runtime can do that, else pulled.
func (b *bed) importImage() error {
	if b.Kind != plugin.Runtime {
		return nil
	}
	r, _, _, err := b.host.Runtime("")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout)
	defer cancel()
	if b.Archive != "" {
		if _, err := r.Import(ctx, b.Archive); err != nil && !errors.Is(err, plugin.ErrUnsupported) {
			return fmt.Errorf("import %s: %w", b.Archive, err)
		}
	}
	spec := &runtimeapi.ImageSpec{Image: b.Image}
	if st, err := r.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: spec}); err == nil && st.GetImage() != nil {
		return nil
	}
	if _, err := r.PullImage(ctx, &runtimeapi.PullImageRequest{Image: spec}); err != nil {
		return fmt.Errorf("pull %s: %w", b.Image, err)
	}
	return nil
}

func (b *bed) attachSocket() string { return filepath.Join(b.dir, "attach.sock") }

// only is one network, which changes nothing on the machine.
type only struct{ network network.Network }

var _ attach.Networks = only{}

// Network implements attach.Networks.
func (o only) Network(string) (network.Network, pluginhost.Ref, error) {
	return o.network, pluginhost.Ref{Kind: plugin.Network, Name: "fake"}, nil
}

// Networks implements attach.Networks.
func (only) Networks() []string { return []string{"fake"} }

// serveNetwork is the network of a runtime under judgement.
func (b *bed) serveNetwork() error {
	if b.Kind != plugin.Runtime {
		return nil
	}
	n, err := fake.Open(fake.Config{PodCIDR: podRange.String()})
	if err != nil {
		return err
	}
	l, err := ledger.Open(filepath.Join(b.dir, "ledger"))
	if err != nil {
		return err
	}
	s := &attach.Server{
		Socket: b.attachSocket(), Networks: only{n}, Ledger: l, PodCIDRs: func() []netip.Prefix { return []netip.Prefix{podRange} },
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.parts.Go(func() { _ = s.Run(ctx) })
	return nil
}

func (b *bed) endNetwork() {
	if b.cancel != nil {
		b.cancel()
	}
	b.parts.Wait()
}
