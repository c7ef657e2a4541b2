package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/moby/sys/mountinfo"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent"
	"github.com/gantryio/gantry/core/agent/attach"
	"github.com/gantryio/gantry/core/agent/guard"
	"github.com/gantryio/gantry/core/agent/roster"
	"github.com/gantryio/gantry/core/pki"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/pluginhost/artifact"
	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/core/run"
	"github.com/gantryio/gantry/core/service"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/cgroup"
	"github.com/gantryio/gantry/interfaces/runtime"
	"github.com/gantryio/gantry/plugins/network/cni"
	"github.com/gantryio/gantry/plugins/runtime/containerd"
	"github.com/gantryio/gantry/plugins/runtime/cri"
	"github.com/gantryio/gantry/plugins/service/nftables"
)

// node is everything that runs on each machine.
type node struct {
	*config
	authority *pki.Authority
	host      *pluginhost.Host
	ledger    *ledger.Ledger
	attach    *attach.Server
	agent     *agent.Agent
	services  *service.Controller
	api       ctrlclient.WithWatch
	cache     crcache.Cache
	roster    *roster.Roster
	podCIDRs  atomic.Pointer[[]netip.Prefix]
	// handover is nil where nothing is served.
	handover *handover
}

// connection is how a node reaches the API; in one process with the server it costs nothing.
type connection struct {
	api      ctrlclient.WithWatch
	cache    crcache.Cache
	recorder record.EventRecorder
}

// newNode checks the configuration and puts the node together; nothing is started.
func newNode(c *config, authority *pki.Authority, conn connection) (*node, error) {
	n, err := openNode(c)
	if err != nil {
		return nil, err
	}
	return n, n.assemble(authority, conn)
}

// openNode makes the plugin host, which needs nothing else.
func openNode(c *config) (*node, error) {
	n := &node{config: c}
	bin, err := binDir()
	if err != nil {
		return nil, err
	}
	n.host, err = pluginhost.New(n.hostConfig(bin))
	return n, err
}

// assemble puts the rest of the node together.
func (n *node) assemble(authority *pki.Authority, conn connection) error {
	n.authority, n.api, n.cache = authority, conn.api, conn.cache
	bin, err := binDir()
	if err != nil {
		return err
	}
	if n.ledger, err = ledger.Open(n.path("ledger")); err != nil {
		return err
	}
	wake := make(chan struct{}, 1)
	n.attach = &attach.Server{
		Socket: n.attachSocket(), Networks: networks{n.host}, Choose: n.choose, Ledger: n.ledger, PodCIDRs: n.cidrs, HostPortsChanged: func() { poke(wake) },
	}
	if n.agent, err = n.newAgent(conn); err != nil {
		return err
	}
	uses := make(chan struct{}, 1)
	n.agent.UsesChanged = func() { poke(uses) }
	n.attach.Changed = func() { poke(uses) }
	n.attach.Took = func(s network.Sandbox, began, ended time.Time) {
		n.agent.Note(types.UID(s.PodUID), agent.Span{Stage: "network", Began: began, Ended: ended})
	}
	n.roster = &roster.Roster{
		API: conn.api, Cache: conn.cache, Host: n.host, Node: n.nodeName, Shipped: append(n.hostConfig(bin).Plugins, n.adopting(bin)), Configure: n.configure, Pods: n.users, Wake: uses,
		RequireVerified: n.requireVerified, Recorder: conn.recorder,
		Known:  func(kind plugin.Kind) bool { return kind != plugin.Runtime || n.agent.UsesKnown() },
		Routes: func() string { return n.services.Serving() },
	}
	n.services = &service.Controller{
		Cache: conn.cache, Proxies: proxies{n.host}, Served: func() { poke(uses) }, Node: n.nodeName, PodCIDRs: []netip.Prefix{netip.MustParsePrefix(n.podRange)},
		HostPorts: n.attach.HostPorts, Wake: wake,
	}
	return nil
}

// poke wakes a reader without waiting for it.
func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (n *node) attachSocket() string { return filepath.Join(n.runDir(), "attach.sock") }

// hostConfig lists the shipped plugins.
func (n *node) hostConfig(bin string) pluginhost.Config {
	stack, limits := filepath.Join(bin, "stack"), roster.DefaultLimits()
	return pluginhost.Config{
		Dir: filepath.Join(bin, "plugins"), StateDir: n.path("plugins"), RunDir: filepath.Join(n.runDir(), "p"),
		Cgroups: &cgroup.Tree{Root: filepath.Join(cmp.Or(n.cgroupRoot(), "gantry"), "plugins")}, Artifacts: &artifact.Store{Dir: n.path("artifacts")},
		Plugins: []pluginhost.Plugin{
			{Kind: plugin.Runtime, Name: "containerd", Handlers: []string{"runc"}, Limits: limits, Config: containerd.Config{
				Root: n.path("containerd"), State: filepath.Join(n.runDir(), "c"), Stack: stack,
				PauseArchive: filepath.Join(bin, "images", "pause.tar"),
				Shim:         filepath.Join(bin, "gantry-cni"), AttachSocket: n.attachSocket(),
				ShimFront: filepath.Join(bin, "gantry-shim"),
				CertsDir:  n.path("certs.d"),
			}},
			{Kind: plugin.Network, Name: "cni", Limits: limits, Config: cni.Config{
				Dir: n.path("cni"), Addresses: n.path("addresses"), BinDirs: []string{filepath.Join(stack, "cni")},
			}},
			{Kind: plugin.Service, Name: "nftables", Limits: limits, Config: nftables.Config{}},
		},
	}
}

// adopter is the plugin that adopts runtimes.
const adopter = "cri"

// adopting is what this machine's plugins need that adopt runtimes of others. It runs under the names of Plugin objects
// only.
func (n *node) adopting(bin string) pluginhost.Plugin {
	return pluginhost.Plugin{Kind: plugin.Runtime, Name: adopter, Config: cri.Config{
		Shim: filepath.Join(bin, "gantry-cni"), AttachSocket: n.attachSocket(), Loopback: filepath.Join(bin, "stack", "cni", "loopback"),
		Owner: n.id(), State: n.path("cri"),
	}}
}

func (n *node) newAgent(conn connection) (*agent.Agent, error) {
	serving, err := n.agentTLS()
	if err != nil {
		return nil, err
	}
	a := &agent.Agent{
		Config: agent.Config{
			NodeName: n.nodeName, NodeIPs: []string{n.advertise}, Hostname: n.nodeName,
			KubeletDir: n.kubeletDir(), LogDir: n.logDir(), CgroupRoot: n.cgroupRoot(), StaticPodPath: n.staticPods,
			Port: n.agentPort, NeedPodCIDR: true, Version: gitVersion(),
			ClusterDomain: n.clusterDomain, ResolvConf: n.resolvConf,
		},
		API: conn.api, Recorder: conn.recorder, Runtimes: runtimes{n.host}, TLS: serving,
		Resolvers:    n.resolvers,
		PodCIDRs:     n.setCIDRs,
		NetworkReady: func(context.Context) error { return n.networkUp("") },
		NetworkUp:    n.networkUp,
		Attached:     n.attached,
	}
	if n.handover != nil {
		a.Listener = n.handover.agent
	}
	return a, nil
}

// users are the pods that depend on the plugins of a kind.
func (n *node) users(kind plugin.Kind) map[string][]string {
	switch kind {
	case plugin.Runtime:
		return n.agent.Uses()
	case plugin.Network:
		out := map[string][]string{}
		for _, e := range n.ledger.List() {
			if pod := e.Sandbox.PodNamespace + "/" + e.Sandbox.PodName; !slices.Contains(out[e.Plugin.Name], pod) {
				out[e.Plugin.Name] = append(out[e.Plugin.Name], pod)
			}
		}
		return out
	}
	return nil
}

func (n *node) cidrs() []netip.Prefix {
	if have := n.podCIDRs.Load(); have != nil {
		return *have
	}
	return nil
}

func (n *node) setCIDRs(texts []string) {
	var out []netip.Prefix
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	n.podCIDRs.Store(&out)
}

// agentTLS serves the agent's port with a certificate of the cluster and wants one of its clients.
func (n *node) agentTLS() (*tls.Config, error) {
	pair, err := n.authority.Issue("agent-server", pki.Identity{
		CommonName: "system:node:" + n.nodeName, Organizations: []string{"system:nodes"},
		Names: []string{"localhost", n.nodeName}, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(n.advertise)},
	})
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair.TLS()}, ClientCAs: n.authority.Pool(),
		ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12,
	}, nil
}

// prepare makes what must be there before the first pod: folders, the guards, and an address where the
// machine has none.
func (n *node) prepare() error {
	if err := checkCgroups(); err != nil {
		return err
	}
	if err := os.MkdirAll(n.runDir(), 0o700); err != nil {
		return fmt.Errorf("make the run folder: %w", err)
	}
	pods, services := netip.MustParsePrefix(n.podRange), netip.MustParsePrefix(n.serviceRange)
	if err := guard.Install([]netip.Prefix{pods}, []netip.Prefix{services}); err != nil {
		return err
	}
	return n.ensureAddress()
}

// checkCgroups finds out early what would fail each pod.
func checkCgroups() error {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return fmt.Errorf("look for cgroups: %w", err)
	}
	if len(mounts) == 0 {
		return errors.New("no cgroups are mounted; `ip netns exec` hides them, use `nsenter --net=/run/netns/NAME` instead")
	}
	return nil
}

// parts run in this order, after the plugin host.
func (n *node) parts() []run.Part {
	return []run.Part{
		{Name: "attach", Runner: n.attach},
		{Name: "leftover networks", Runner: run.Func(n.reconcileNetworks)},
		{Name: "agent", Runner: n.agent},
		{Name: "roster", Runner: n.roster},
		{Name: "services", Runner: n.services},
		{Name: "service ranges", Runner: run.Func(n.guardRanges)},
	}
}

// runtimes shows the plugin host to the agent.
type runtimes struct{ host *pluginhost.Host }

var (
	_ agent.Runtimes       = runtimes{}
	_ agent.RuntimeChanges = runtimes{}
)

// Runtime implements agent.Runtimes.
func (r runtimes) Runtime(handler string) (runtime.Runtime, agent.Ref, string, error) {
	rt, ref, inner, err := r.host.Runtime(handler)
	return rt, agent.Ref{Plugin: ref.Name, Version: ref.Version}, inner, err
}

// Instances implements agent.Runtimes.
func (r runtimes) Instances() []agent.Instance {
	var out []agent.Instance
	for _, p := range r.host.Plugins() {
		if p.Kind != plugin.Runtime {
			continue
		}
		rt, ref, _, err := r.host.Runtime(p.Name)
		if err != nil {
			continue
		}
		out = append(out, agent.Instance{
			Ref: agent.Ref{Plugin: ref.Name, Version: ref.Version}, Runtime: rt, Adopted: p.Driver == adopter,
		})
	}
	return out
}

// Changed implements agent.RuntimeChanges.
func (r runtimes) Changed() <-chan struct{} { return r.host.Changed() }

// proxies shows the plugin host to the controller of Services.
type proxies struct{ *pluginhost.Host }

var _ service.Proxies = proxies{}

// Proxies implements service.Proxies.
func (p proxies) Proxies() []service.Named {
	var out []service.Named
	for _, i := range p.Instances() {
		if i.Kind != plugin.Service {
			continue
		}
		if !i.Up {
			i.Since = time.Time{}
		}
		if proxy, ref, err := p.Service(i.Name); err == nil {
			out = append(out, service.Named{Name: ref.Name, Proxy: proxy, Since: i.Since})
		}
	}
	return out
}
