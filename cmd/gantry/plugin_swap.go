package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// swapFlags are the options of `gantry plugin swap`.
type swapFlags struct {
	nodes            []string
	all              bool
	unavailable      string
	evictBare, stays bool
	timeout          time.Duration
	detach           bool
}

func newPluginSwapCommand(connect connector) *cobra.Command {
	var f swapFlags
	cmd := &cobra.Command{
		Use: "swap TYPE FROM TO", Short: "Move nodes from one plugin to another", Args: cobra.ExactArgs(3),
		Long: "Move nodes from one plugin to another of the same type, runtime, network or service: new pods go to TO, then the\n" +
			"pods that depend on FROM are evicted, of each workload as many at a time as its update strategy lets be missing.\n" +
			"Disruption budgets are kept. If TO does not work, everything goes back. The command follows the swap, which\n" +
			"goes on without it; `gantry plugin cancel` takes it back.",
		Example: "  gantry plugin swap runtime containerd crio --all\n" +
			"  gantry plugin swap network cni calico --node worker-1 --evict-bare-pods",
		RunE: func(cmd *cobra.Command, args []string) error {
			swap, err := f.swap(args[0], args[1], args[2])
			if err != nil {
				return err
			}
			api, err := connect()
			if err != nil {
				return err
			}
			if err := api.Create(cmd.Context(), swap); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "swap %s begins\n", swap.Name)
			if f.detach {
				return nil
			}
			err = follow(cmd.Context(), api, cmd.OutOrStdout(), swap.Name, v1alpha1.SwapSucceeded)
			if errors.Is(err, context.Canceled) {
				fmt.Fprintf(cmd.OutOrStdout(), "the swap goes on; take it back with: gantry plugin cancel %s\n", swap.Name)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.nodes, "node", nil, "move this node; may be given several times")
	flags.BoolVar(&f.all, "all", false, "move all nodes that run both plugins")
	flags.StringVar(&f.unavailable, "max-unavailable", "1", "how many nodes move at once, a number or a percentage")
	flags.BoolVar(&f.evictBare, "evict-bare-pods", false, "also evict pods that nobody will replace")
	flags.BoolVar(&f.stays, "no-rollback", false, "stop where it failed")
	flags.DurationVar(&f.timeout, "health-timeout", time.Minute, "how long nothing may move before the swap has failed")
	flags.BoolVar(&f.detach, "detach", false, "do not follow the swap")
	cmd.MarkFlagsMutuallyExclusive("node", "all")
	cmd.MarkFlagsOneRequired("node", "all")
	return cmd
}

func (f *swapFlags) swap(kind, from, to string) (*v1alpha1.PluginSwap, error) {
	known := []v1alpha1.Type{v1alpha1.Runtime, v1alpha1.Network, v1alpha1.Service}
	i := slices.IndexFunc(known, func(t v1alpha1.Type) bool { return strings.EqualFold(string(t), kind) })
	if i < 0 {
		return nil, fmt.Errorf("%q is none of runtime, network and service", kind)
	}
	unavailable := intstr.Parse(f.unavailable)
	s := &v1alpha1.PluginSwap{
		ObjectMeta: metav1.ObjectMeta{GenerateName: strings.ToLower(kind) + "-" + from + "-" + to + "-"},
		Spec: v1alpha1.PluginSwapSpec{
			Type: known[i], From: from, To: to, Nodes: f.nodes, MaxUnavailable: &unavailable, BarePods: v1alpha1.Leave,
			HealthTimeoutSeconds: new(int32(f.timeout / time.Second)), AutomaticRollback: new(!f.stays),
		},
	}
	if f.evictBare {
		s.Spec.BarePods = v1alpha1.Evict
	}
	return s, nil
}

// follow prints what changes until the swap is over, and fails when it does not end as wanted.
func follow(ctx context.Context, api ctrlclient.WithWatch, out io.Writer, name string, want v1alpha1.SwapPhase) error {
	w, err := api.Watch(ctx, &v1alpha1.PluginSwapList{}, &ctrlclient.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name)})
	if err != nil {
		return err
	}
	defer w.Stop()
	began, said := time.Now(), map[string]string{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, open := <-w.ResultChan():
			if !open {
				return errors.New("lost sight of the swap, which goes on")
			}
			swap, ok := e.Object.(*v1alpha1.PluginSwap)
			if !ok {
				continue
			}
			tell(out, swap, said, time.Since(began))
			switch swap.Status.Phase {
			case want:
				return nil
			case v1alpha1.SwapSucceeded, v1alpha1.SwapRolledBack, v1alpha1.SwapFailed:
				return fmt.Errorf("the swap ended %s: %s", swap.Status.Phase, swap.Status.Message)
			}
		}
	}
}

// tell prints a line for each node, and one for the whole, that says something new.
func tell(out io.Writer, swap *v1alpha1.PluginSwap, said map[string]string, after time.Duration) {
	line := func(who, text string) {
		if said[who] != text {
			said[who] = text
			fmt.Fprintf(out, "%6.1fs  %-12s %s\n", after.Seconds(), who, text)
		}
	}
	for i := range swap.Status.Nodes {
		n := &swap.Status.Nodes[i]
		text := string(n.Phase)
		if n.Remaining > 0 {
			text += fmt.Sprintf(", %d pods to go", n.Remaining)
		}
		if len(n.Left) > 0 {
			text += fmt.Sprintf(", left alone: %s", strings.Join(n.Left, " "))
		}
		if n.Message != "" {
			text += ": " + n.Message
		}
		line(n.Name, text)
	}
	if swap.Status.Phase != "" {
		line("all", strings.TrimSuffix(string(swap.Status.Phase)+": "+swap.Status.Message, ": "))
	}
}
