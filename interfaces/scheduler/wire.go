package scheduler

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/scheduler/proto"
)

// maxMessage is what a question about all nodes of a large cluster may take.
const maxMessage = 64 << 20

// Register serves a judge.
func Register(r grpc.ServiceRegistrar, j Judge) {
	proto.RegisterJudgeServer(r, &server{impl: j})
}

// Client is a judge behind a connection. Questions about many nodes are split.
type Client struct{ wire proto.JudgeClient }

var _ Judge = (*Client)(nil)

// NewClient returns the judge at the other end of a connection.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{wire: proto.NewJudgeClient(conn)}
}

// Describe implements Judge.
func (c *Client) Describe(ctx context.Context) (Description, error) {
	d, err := c.wire.Describe(ctx, &proto.DescribeRequest{})
	if err != nil {
		return Description{}, plugin.FromStatus(err)
	}
	return Description{Usage: d.GetUsage(), FailOpen: d.GetFailOpen(), Deadline: time.Duration(d.GetDeadlineMilliseconds()) * time.Millisecond}, nil
}

// batch keeps a message below gRPC's 4 MiB for nodes with many labels.
const batch = 1000

// Judge implements Judge.
func (c *Client) Judge(ctx context.Context, pod Pod, nodes []Node) ([]Verdict, error) {
	out := make([]Verdict, 0, len(nodes))
	p := &proto.Pod{Namespace: pod.Namespace, Labels: pod.Labels, Annotations: pod.Annotations, Requests: pod.Requests, Priority: pod.Priority, Spec: pod.Spec}
	for len(nodes) > 0 {
		some := nodes[:min(batch, len(nodes))]
		nodes = nodes[len(some):]
		q := &proto.JudgeRequest{Pod: p, Nodes: make([]*proto.Node, len(some))}
		for i := range some {
			n := &some[i]
			q.Nodes[i] = &proto.Node{Name: n.Name, Labels: n.Labels, Annotations: n.Annotations, Allocatable: n.Allocatable, Requested: n.Requested, Pods: n.Pods}
		}
		a, err := c.wire.Judge(ctx, q, grpc.MaxCallSendMsgSize(maxMessage))
		if err != nil {
			return nil, plugin.FromStatus(err)
		}
		if len(a.GetVerdicts()) != len(some) {
			return nil, fmt.Errorf("judge nodes: have %d verdicts for %d nodes: %w", len(a.GetVerdicts()), len(some), plugin.ErrInvalid)
		}
		for _, v := range a.GetVerdicts() {
			out = append(out, Verdict{Refusal: v.GetRefusal(), Score: v.GetScore()})
		}
	}
	return out, nil
}

type server struct {
	proto.UnimplementedJudgeServer
	impl Judge
}

func (s *server) Describe(ctx context.Context, _ *proto.DescribeRequest) (*proto.DescribeResponse, error) {
	d, err := s.impl.Describe(ctx)
	return &proto.DescribeResponse{Usage: d.Usage, FailOpen: d.FailOpen, DeadlineMilliseconds: d.Deadline.Milliseconds()}, plugin.ToStatus(err)
}

func (s *server) Judge(ctx context.Context, q *proto.JudgeRequest) (*proto.JudgeResponse, error) {
	w := q.GetPod()
	pod := Pod{Namespace: w.GetNamespace(), Labels: w.GetLabels(), Annotations: w.GetAnnotations(), Requests: w.GetRequests(), Priority: w.GetPriority(), Spec: w.GetSpec()}
	nodes := make([]Node, len(q.GetNodes()))
	for i, n := range q.GetNodes() {
		nodes[i] = Node{Name: n.GetName(), Labels: n.GetLabels(), Annotations: n.GetAnnotations(), Allocatable: n.GetAllocatable(), Requested: n.GetRequested(), Pods: n.GetPods()}
	}
	verdicts, err := s.impl.Judge(ctx, pod, nodes)
	if err != nil {
		return nil, plugin.ToStatus(err)
	}
	out := &proto.JudgeResponse{Verdicts: make([]*proto.Verdict, len(verdicts))}
	for i, v := range verdicts {
		out.Verdicts[i] = &proto.Verdict{Refusal: v.Refusal, Score: v.Score}
	}
	return out, nil
}
