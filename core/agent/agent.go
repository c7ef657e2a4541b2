// Package agent is the node agent: it runs the pods that are assigned to its node. It meets the rest of the cluster only
// in the API, keeps no database of its own (what runs is what the runtimes list), and may be killed and started again at
// any time without a pod noticing.
//
// One goroutine a pod turns events into plans (package pod) and plans into calls of the runtime.
package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/cgroup"
	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/image"
	"github.com/gantryio/gantry/core/agent/node"
	"github.com/gantryio/gantry/core/agent/objects"
	"github.com/gantryio/gantry/core/agent/stream"
	"github.com/gantryio/gantry/core/agent/volume"
)

// Agent runs the pods of one node. API, Runtimes and Config.NodeName must be set; a new Agent is needed for each Run.
type Agent struct {
	Config
	// API is read and written. Objects that it returns are never changed.
	API      client.WithWatch
	Runtimes Runtimes
	// Recorder makes events; nil makes none.
	Recorder record.EventRecorder
	// TLS serves the agent's HTTPS port and asks for client certificates. Without it there is no server.
	TLS *tls.Config
	// Authorizer says who may use the HTTPS port; without one only group system:masters may.
	Authorizer stream.Authorizer
	// Listener, if set, is where the port is served in place of Config.Address and Config.Port, which name it all the same.
	Listener net.Listener
	// NetworkReady says why pods cannot have a network yet; nil is always ready. Call Wake when it has changed.
	NetworkReady func(ctx context.Context) error
	// NetworkUp says why a network plugin cannot serve pods now; "" is the default one, nil always can.
	NetworkUp func(name string) error
	// Attached tells that a sandbox has the network that it was given; nil means all. One that has lost it, because the
	// node was cleared while its runtime was away, is made anew.
	Attached func(sandboxID string) bool
	// UsesChanged is called when what Uses returns has changed; it must not block.
	UsesChanged func()
	// Resolvers, if set, returns the cluster's DNS servers in place of Config.ClusterDNS. It is asked for each sandbox.
	Resolvers func() []string
	// PodCIDRs is told the node's pod ranges when it is given them.
	PodCIDRs func(cidrs []string)
	Clock    clock.WithTicker
	Log      *slog.Logger
	Mounter  volume.Mounter

	spec      node.Spec
	registrar *node.Registrar
	volumes   *volume.Manager
	objects   *objects.Cache
	puller    *image.Puller
	starts    gate
	cgroups   cgroup.Tree
	limits    criconfig.Machine
	setup     sync.Once
	ready     chan struct{}
	// registered is closed when the Node is known, without which no pod can be admitted.
	registered chan struct{}

	mu       sync.Mutex
	ctx      context.Context
	workers  map[types.UID]*worker
	owners   map[string]*worker
	names    map[string]string
	nodeObj  *corev1.Node
	starting map[types.UID]*found
	census   census
	listed   bool
	closing  bool
	pressure node.Health
	pods     sync.WaitGroup
	journeys journeys
	// deferred is how many pods wait for another size.
	deferred int
	statics  *statics
}

func (a *Agent) init() {
	a.setup.Do(func() {
		a.Config = a.defaulted()
		if a.Clock == nil {
			a.Clock = clock.RealClock{}
		}
		if a.Log == nil {
			a.Log = slog.Default()
		}
		if a.Mounter == nil {
			a.Mounter = volume.Kernel{}
		}
		a.ready, a.registered = make(chan struct{}), make(chan struct{})
		a.workers, a.owners, a.names = map[types.UID]*worker{}, map[string]*worker{}, map[string]string{}
		a.starting, a.census = map[types.UID]*found{}, newCensus()
		a.objects = &objects.Cache{API: a.API}
		a.volumes = &volume.Manager{Dir: a.KubeletDir, API: a.API, Objects: a.objects, Mounter: a.Mounter, Now: a.Clock.Now}
		a.statics = newStatics(a)
		a.puller = &image.Puller{Now: a.Clock.Now}
		a.starts = newGate()
		a.cgroups = cgroup.Tree{Root: a.CgroupRoot}
		a.describe()
	})
}

// describe finds out what the machine is.
func (a *Agent) describe() {
	var m node.Machine
	if !a.Hollow {
		m = node.Discover(a.KubeletDir)
		a.limits.CgroupV2 = a.cgroups.V2()
	} else {
		m.Capacity, m.Info.OperatingSystem, m.Info.Architecture = corev1.ResourceList{}, "linux", "amd64"
	}
	m.Info.KubeletVersion = a.Version
	m.Info.KubeProxyVersion = a.Version
	for name, q := range a.Config.Capacity {
		m.Capacity[name] = q
	}
	if len(a.NodeIPs) == 0 && !a.Hollow {
		a.NodeIPs = node.Addresses()
	}
	port := a.Port
	if !a.serves() {
		port = 0
	}
	a.spec = node.Spec{
		Name: a.NodeName, Hostname: a.Hostname, IPs: a.NodeIPs, Labels: a.Labels, Taints: a.Taints, Machine: m,
		MaxPods: a.MaxPods, Reserved: a.Reserved, Port: port,
	}
	memory := m.Capacity[corev1.ResourceMemory]
	a.limits.MemoryBytes = memory.Value()
	_, a.limits.Allocatable = a.spec.Capacity()
}

func (a *Agent) serves() bool { return a.TLS != nil && a.Port > 0 && !a.Hollow }

// Ready is closed when the node is registered and its first set of pods is known.
func (a *Agent) Ready() <-chan struct{} {
	a.init()
	return a.ready
}

// Wake makes the node's readiness be looked at anew.
func (a *Agent) Wake() {
	a.init()
	if r := a.registrar; r != nil {
		r.Wake()
	}
}

// Run runs the node until the context ends. Pods keep running when it returns.
func (a *Agent) Run(ctx context.Context) error {
	a.init()
	if a.NodeName == "" || a.API == nil || a.Runtimes == nil {
		return errors.New("run agent: node name, API and runtimes must be set")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.mu.Lock()
	a.ctx = ctx
	a.mu.Unlock()
	a.registrar = &node.Registrar{
		API: a.API, Clock: a.Clock, Log: a.Log, Spec: a.spec, Health: a.health, Changed: a.sawNode,
	}
	var wg sync.WaitGroup
	part := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("run %s: %w", name, err))
			}
		})
	}
	part("registrar", a.registrar.Run)
	part("runtimes", a.runRuntimes)
	part("static pods", a.statics.run)
	if a.serves() {
		part("server", a.serve)
	}
	if !a.Hollow {
		part("housekeeping", a.keepHouse)
	}
	<-ctx.Done()
	wg.Wait()
	a.pods.Wait()
	for _, uid := range a.volumes.Known() {
		a.volumes.Forget(uid)
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// ips are the node's addresses.
func (a *Agent) ips() []string { return a.NodeIPs }

func (a *Agent) allocatable() corev1.ResourceList { return a.limits.Allocatable }

func (a *Agent) machineLimits() criconfig.Machine { return a.limits }

// sawNode takes each version of the Node.
func (a *Agent) sawNode(n *corev1.Node) {
	a.mu.Lock()
	before := a.nodeObj
	a.nodeObj = n
	if before == nil {
		close(a.registered)
	}
	a.mu.Unlock()
	if before == nil || !equality.Semantic.DeepEqual(before.Status.Allocatable, n.Status.Allocatable) {
		a.settle()
	}
	if a.PodCIDRs != nil && n.Spec.PodCIDR != "" && (before == nil || before.Spec.PodCIDR != n.Spec.PodCIDR) {
		cidrs := n.Spec.PodCIDRs
		if len(cidrs) == 0 {
			cidrs = []string{n.Spec.PodCIDR}
		}
		a.PodCIDRs(cidrs)
	}
}

func (a *Agent) theNode() *corev1.Node {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nodeObj
}

// event tells people of what happens to a pod, or to one of its containers.
func (a *Agent) event(p *corev1.Pod, container, eventType, reason, text string) {
	if a.Recorder == nil {
		return
	}
	a.Recorder.Event(reference(p, container), eventType, reason, text)
}

func reference(p *corev1.Pod, container string) *corev1.ObjectReference {
	ref := &corev1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion,
	}
	if container == "" {
		return ref
	}
	field := "spec.containers"
	for i := range p.Spec.InitContainers {
		if p.Spec.InitContainers[i].Name == container {
			field = "spec.initContainers"
		}
	}
	for i := range p.Spec.EphemeralContainers {
		if p.Spec.EphemeralContainers[i].Name == container {
			field = "spec.ephemeralContainers"
		}
	}
	ref.FieldPath = field + "{" + container + "}"
	return ref
}

// serve runs the HTTPS server.
func (a *Agent) serve(ctx context.Context) error {
	srv := &stream.Server{
		Address: a.Address, Port: a.Port, Listener: a.Listener, TLS: a.TLS, Authorizer: a.Authorizer, Pods: a, Log: a.Log,
	}
	return srv.Run(ctx)
}
