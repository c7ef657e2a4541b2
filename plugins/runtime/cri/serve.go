package cri

import (
	"context"
	"maps"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/relay"
)

// ownerLabel marks our sandboxes and containers among those of others.
const ownerLabel = "plugins.gantry.dev/owner"

const (
	// criPrefix is what the names of CRI's methods begin with.
	criPrefix = "/runtime.v1."
	service   = criPrefix + "RuntimeService/"
)

// unlisted are methods that would show what is not ours. Their callers fall back on the lists.
var unlisted = []string{"StreamPodSandboxes", "StreamContainers", "StreamContainerStats", "StreamPodSandboxStats", "StreamPodSandboxMetrics"}

// ServerOptions implements plugin.ServerOptions.
func (p *Plugin) ServerOptions() []grpc.ServerOption { return p.relay().ServerOptions() }

// Passage implements plugin.Passer.
func (p *Plugin) Passage() plugin.Passage { return p.relay().Passage(p.config.Endpoint, criPrefix) }

// relay carries CRI to the runtime, but for what has to be marked, filtered or made up for.
func (p *Plugin) relay() *relay.Relay {
	own := map[string]grpc.StreamHandler{
		"RunPodSandbox":         relay.Unary(p.runPodSandbox),
		"CreateContainer":       relay.Unary(p.createContainer),
		"StartContainer":        ringing(p, p.cri.StartContainer),
		"StopContainer":         gone(p, p.cri.StopContainer),
		"RemoveContainer":       gone(p, p.cri.RemoveContainer),
		"StopPodSandbox":        gone(p, p.cri.StopPodSandbox),
		"RemovePodSandbox":      gone(p, p.cri.RemovePodSandbox),
		"ListPodSandbox":        relay.Unary(p.listPodSandbox),
		"ListContainers":        relay.Unary(p.listContainers),
		"ListContainerStats":    relay.Unary(p.listContainerStats),
		"ListPodSandboxStats":   relay.Unary(p.listPodSandboxStats),
		"ListPodSandboxMetrics": relay.Unary(p.listPodSandboxMetrics),
		"GetContainerEvents":    p.getContainerEvents,
	}
	for _, name := range unlisted {
		own[name] = func(any, grpc.ServerStream) error { return status.Error(codes.Unimplemented, name+" is not carried") }
	}
	methods := map[string]grpc.StreamHandler{}
	for name, h := range own {
		methods[service+name] = h
	}
	return &relay.Relay{Conn: p.conn, Allow: isCRI, Ready: p.ready, Own: methods}
}

func isCRI(method string) bool { return strings.HasPrefix(method, criPrefix) }

// call is one of the client's methods.
type call[In, Out any] func(context.Context, *In, ...grpc.CallOption) (*Out, error)

// message is what relay.Unary asks of a request.
type message[In any] interface {
	*In
	relay.Message
}

// ringing carries a call after which there is an event.
func ringing[In, Out any, I message[In]](p *Plugin, c call[In, Out]) grpc.StreamHandler {
	return relay.Unary[In, Out, I](func(ctx context.Context, in I) (*Out, error) {
		defer p.changed.ring()
		return c(ctx, (*In)(in))
	})
}

// gone carries a call whose aim is reached when its object is not there: CRI wants no error then, but some runtimes
// return one.
func gone[In, Out any, I message[In]](p *Plugin, c call[In, Out]) grpc.StreamHandler {
	return relay.Unary[In, Out, I](func(ctx context.Context, in I) (*Out, error) {
		defer p.changed.ring()
		out, err := c(ctx, (*In)(in))
		if status.Code(err) == codes.NotFound {
			return new(Out), nil
		}
		return out, err
	})
}

func (p *Plugin) mark(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	out[ownerLabel] = p.config.Owner
	return out
}

func (p *Plugin) ours(labels map[string]string) bool { return labels[ownerLabel] == p.config.Owner }

func (p *Plugin) runPodSandbox(ctx context.Context, in *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	if err := p.wired(ctx); err != nil {
		return nil, err
	}
	if in.Config == nil {
		return nil, status.Error(codes.InvalidArgument, "no sandbox configuration")
	}
	defer p.changed.ring()
	in.Config.Labels = p.mark(in.Config.Labels)
	return p.cri.RunPodSandbox(ctx, in)
}

func (p *Plugin) createContainer(ctx context.Context, in *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	if in.Config == nil {
		return nil, status.Error(codes.InvalidArgument, "no container configuration")
	}
	defer p.changed.ring()
	in.Config.Labels = p.mark(in.Config.Labels)
	if in.SandboxConfig != nil {
		in.SandboxConfig.Labels = p.mark(in.SandboxConfig.Labels)
	}
	return p.cri.CreateContainer(ctx, in)
}

func (p *Plugin) listPodSandbox(ctx context.Context, in *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	if in.Filter == nil {
		in.Filter = &runtimeapi.PodSandboxFilter{}
	}
	in.Filter.LabelSelector = p.mark(in.Filter.LabelSelector)
	return p.cri.ListPodSandbox(ctx, in)
}

func (p *Plugin) listContainers(ctx context.Context, in *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	if in.Filter == nil {
		in.Filter = &runtimeapi.ContainerFilter{}
	}
	in.Filter.LabelSelector = p.mark(in.Filter.LabelSelector)
	return p.cri.ListContainers(ctx, in)
}

func (p *Plugin) listContainerStats(ctx context.Context, in *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	if in.Filter == nil {
		in.Filter = &runtimeapi.ContainerStatsFilter{}
	}
	in.Filter.LabelSelector = p.mark(in.Filter.LabelSelector)
	return p.cri.ListContainerStats(ctx, in)
}

func (p *Plugin) listPodSandboxStats(ctx context.Context, in *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	if in.Filter == nil {
		in.Filter = &runtimeapi.PodSandboxStatsFilter{}
	}
	in.Filter.LabelSelector = p.mark(in.Filter.LabelSelector)
	return p.cri.ListPodSandboxStats(ctx, in)
}

// listPodSandboxMetrics has no filter in CRI.
func (p *Plugin) listPodSandboxMetrics(ctx context.Context, in *runtimeapi.ListPodSandboxMetricsRequest) (*runtimeapi.ListPodSandboxMetricsResponse, error) {
	out, err := p.cri.ListPodSandboxMetrics(ctx, in)
	if err != nil {
		return nil, err
	}
	list, err := p.listPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, err
	}
	ours := map[string]bool{}
	for _, s := range list.GetItems() {
		ours[s.GetId()] = true
	}
	var kept []*runtimeapi.PodSandboxMetrics
	for _, m := range out.GetPodMetrics() {
		if ours[m.GetPodSandboxId()] {
			kept = append(kept, m)
		}
	}
	out.PodMetrics = kept
	return out, nil
}
