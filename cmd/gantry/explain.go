package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/agent"
	"github.com/gantryio/gantry/core/scheduler"
)

// explanation is all that this process knows of a pod's way.
type explanation struct {
	Namespace, Name, Node string
	Phase                 corev1.PodPhase
	Created               time.Time
	Scheduler             scheduler.Explanation
	Agent                 []agent.Span
}

// explainer answers for the scheduler and, where there is one, the agent of this process.
type explainer struct {
	server *server
	agent  *agent.Agent
}

var _ http.Handler = explainer{}

// ServeHTTP implements http.Handler.
func (e explainer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	out, err := e.explain(req.Context(), types.NamespacedName{Namespace: q.Get("namespace"), Name: q.Get("name")})
	answer(w, out, err)
}

func (e explainer) explain(ctx context.Context, key types.NamespacedName) (*explanation, error) {
	var pod corev1.Pod
	if err := e.server.client.Get(ctx, key, &pod); err != nil {
		return nil, err
	}
	out := &explanation{Namespace: pod.Namespace, Name: pod.Name, Node: pod.Spec.NodeName, Phase: pod.Status.Phase, Created: pod.CreationTimestamp.Time}
	var err error
	sched := e.server.scheduler.Load()
	if sched == nil {
		return nil, errors.New("explain: another server runs the scheduler")
	}
	if out.Scheduler, err = sched.Explain(ctx, &pod); err != nil {
		return nil, err
	}
	if e.agent != nil {
		out.Agent = e.agent.Journey(pod.UID)
	}
	return out, nil
}

// serveExplain serves the explanations of a process without an agent.
func (s *server) serveExplain(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /explain", explainer{server: s})
	return s.serveCommands(ctx, mux)
}

func newExplainCommand() *cobra.Command {
	c := &config{}
	var namespace string
	cmd := &cobra.Command{Use: "explain", Short: "Say why things are as they are"}
	cmd.PersistentFlags().StringVar(&c.data, "data", defaultData(), "folder of the running gantry's state")
	pod := &cobra.Command{
		Use: "pod NAME", Short: "Say node by node why a pod is pending, or how long each stage of its start took", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.complete(); err != nil {
				return err
			}
			q := url.Values{"namespace": {namespace}, "name": {args[0]}}
			var out explanation
			if err := callControl(cmd.Context(), c, http.MethodGet, "/explain?"+q.Encode(), nil, &out); err != nil {
				return fmt.Errorf("explain pod %s: %w", args[0], err)
			}
			return out.print(cmd.OutOrStdout())
		},
	}
	pod.Flags().StringVarP(&namespace, "namespace", "n", "default", "namespace of the pod")
	cmd.AddCommand(pod)
	return cmd
}

func (e *explanation) print(out io.Writer) error {
	fmt.Fprintf(out, "Pod %s/%s (%s): %s.\n", e.Namespace, e.Name, e.Phase, strings.TrimSuffix(e.Scheduler.State, "."))
	if e.Scheduler.Nominated != "" {
		fmt.Fprintf(out, "Room is being made for it on %s.\n", e.Scheduler.Nominated)
	}
	if !e.Scheduler.Retry.IsZero() {
		fmt.Fprintf(out, "It is tried again at %s.\n", e.Scheduler.Retry.Format(time.TimeOnly))
	}
	if e.Node == "" {
		return e.printNodes(out)
	}
	return e.printStages(out)
}

func (e *explanation) printNodes(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, "\nNODE\tFITS\tSCORE\tWHY NOT")
	for _, n := range e.Scheduler.Nodes {
		if n.Fits {
			fmt.Fprintf(w, "%s\tyes\t%d\t\n", n.Name, n.Score)
		} else {
			fmt.Fprintf(w, "%s\tno\t\t%s\n", n.Name, strings.Join(n.Reasons, "; "))
		}
	}
	return w.Flush()
}

// stages are the pod's stations in order of time. Those of the scheduler and the agent's instants are
// measured from the one before.
func (e *explanation) stages() []agent.Span {
	var out []agent.Span
	j := e.Scheduler.Journey
	last := j.Queued
	instant := func(stage string, at time.Time) {
		if at.IsZero() {
			return
		}
		if last.IsZero() {
			last = at
		}
		out = append(out, agent.Span{Stage: stage, Began: last, Ended: at})
		last = at
	}
	instant("queued", j.Queued)
	instant("decided", j.Decided)
	decided := last
	instant("bound", j.Bound)
	for _, s := range e.Agent {
		switch s.Stage {
		case agent.StageSeen:
			// The agent learns of the binding from the same event that ends it, and may be the first.
			out = append(out, agent.Span{Stage: s.Stage, Began: minTime(decided, s.Began), Ended: s.Ended})
		case agent.StageReady:
			began := s.Began
			for _, o := range e.Agent {
				if o.Stage != agent.StageReady && strings.HasPrefix(o.Stage, "start of ") {
					began = o.Ended
				}
			}
			out = append(out, agent.Span{Stage: "probed and ready", Began: began, Ended: s.Ended})
		default:
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b agent.Span) int { return a.Began.Compare(b.Began) })
	return out
}

func minTime(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func (e *explanation) printStages(out io.Writer) error {
	stages := e.stages()
	if len(stages) == 0 {
		_, err := fmt.Fprintln(out, "Its start is too long ago to be remembered, or was seen by another process.")
		return err
	}
	began := stages[0].Began
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nFROM ms\tTO ms\tTOOK ms\t  STAGE")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }
	for _, s := range stages {
		fmt.Fprintf(w, "%s\t%s\t%s\t  %s\n", ms(s.Began.Sub(began)), ms(s.Ended.Sub(began)), ms(s.Ended.Sub(s.Began)), s.Stage)
	}
	return w.Flush()
}
