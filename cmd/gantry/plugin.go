package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/tools/clientcmd"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

func newPluginCommand() *cobra.Command {
	c := &config{}
	var kubeconfig string
	cmd := &cobra.Command{Use: "plugin", Short: "Look at the plugins of the nodes, and swap them"}
	cmd.PersistentFlags().StringVar(&c.data, "data", defaultData(), "folder of the running gantry's state")
	cmd.PersistentFlags().StringVar(&kubeconfig, "kubeconfig", os.Getenv(clientcmd.RecommendedConfigPathEnvVar),
		"file that says how to reach the cluster; that of the running gantry when empty")
	connect := func() (ctrlclient.WithWatch, error) { return connectTo(c, kubeconfig) }
	cmd.AddCommand(
		newPluginListCommand(connect), newPluginDescribeCommand(connect), newPluginLogsCommand(c),
		newPluginSwapCommand(connect), newPluginCancelCommand(connect), newPluginVerifyCommand(connect), newPluginAuditCommand(),
	)
	return cmd
}

func connectTo(c *config, kubeconfig string) (ctrlclient.WithWatch, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	if kubeconfig == "" {
		kubeconfig = c.path("admin.kubeconfig")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return ctrlclient.NewWithWatch(cfg, ctrlclient.Options{Scheme: scheme})
}

type connector func() (ctrlclient.WithWatch, error)

func newPluginListCommand(connect connector) *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use: "list", Short: "List the plugins of all nodes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := connect()
			if err != nil {
				return err
			}
			var list v1alpha1.NodePluginsList
			if err := api.List(cmd.Context(), &list); err != nil {
				return err
			}
			list.Items = slices.DeleteFunc(list.Items, func(n v1alpha1.NodePlugins) bool { return node != "" && n.Name != node })
			return printPlugins(cmd.OutOrStdout(), list.Items, func(*v1alpha1.NodePlugin) bool { return true })
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "only those of this node")
	return cmd
}

func printPlugins(out io.Writer, nodes []v1alpha1.NodePlugins, want func(*v1alpha1.NodePlugin) bool) error {
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, "NODE\tTYPE\tNAME\tDEFAULT\tREADY\tVERSION\tPODS\tRESTARTS\tSINCE\tERROR")
	for i := range nodes {
		for j := range nodes[i].Status.Plugins {
			p := &nodes[i].Status.Plugins[j]
			if !want(p) {
				continue
			}
			standard, since, cause := "", "", "-"
			if p.Default {
				standard = "*"
			}
			if !p.Since.IsZero() {
				since = duration.HumanDuration(time.Since(p.Since.Time))
			}
			switch {
			case !p.Ready && p.LastError != "":
				cause = p.LastError
			case p.Update != nil && p.Update.RolledBack:
				cause = fmt.Sprintf("generation %d was rolled back: %s", p.Update.Generation, p.Update.Error)
			case p.Update != nil && p.Update.Error != "":
				cause = fmt.Sprintf("generation %d does not serve yet: %s", p.Update.Generation, p.Update.Error)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%t\t%s\t%d\t%d\t%s\t%s\n", nodes[i].Name, p.Type, p.Name, standard, p.Ready,
				p.Version, len(p.Pods), p.Restarts, since, cause)
		}
	}
	return w.Flush()
}

func newPluginDescribeCommand(connect connector) *cobra.Command {
	return &cobra.Command{
		Use: "describe NAME", Short: "Show a plugin, where it runs and what depends on it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := connect()
			if err != nil {
				return err
			}
			return describePlugin(cmd.Context(), api, cmd.OutOrStdout(), args[0])
		},
	}
}

func describePlugin(ctx context.Context, api ctrlclient.Client, out io.Writer, name string) error {
	var p v1alpha1.Plugin
	declared := true
	if err := api.Get(ctx, ctrlclient.ObjectKey{Name: name}, &p); err != nil {
		if !apierrors.IsNotFound(err) {
			return err
		}
		declared = false
	}
	var list v1alpha1.NodePluginsList
	if err := api.List(ctx, &list); err != nil {
		return err
	}
	here := func(n *v1alpha1.NodePlugin) bool { return n.Name == name }
	if !declared && !slices.ContainsFunc(list.Items, func(n v1alpha1.NodePlugins) bool {
		return slices.ContainsFunc(n.Status.Plugins, func(p v1alpha1.NodePlugin) bool { return here(&p) })
	}) {
		return fmt.Errorf("there is no plugin %q", name)
	}
	fmt.Fprintf(out, "Name:      %s\n", name)
	if declared {
		fmt.Fprintf(out, "Type:      %s\nSource:    %s\nPriority:  %d\nDisabled:  %t\n", p.Spec.Type, &p.Spec.Source, p.Spec.Priority, p.Spec.Disabled)
		if p.Spec.Config != nil {
			fmt.Fprintf(out, "Config:    %s\n", p.Spec.Config.Raw)
		}
		for _, c := range p.Status.Conditions {
			fmt.Fprintf(out, "%-10s %s (%s) %s\n", c.Type+":", c.Status, c.Reason, c.Message)
		}
	} else {
		fmt.Fprintln(out, "Declared:  no longer; it goes when no pod depends on it")
	}
	fmt.Fprintln(out)
	if err := printPlugins(out, list.Items, here); err != nil {
		return err
	}
	for i := range list.Items {
		for j := range list.Items[i].Status.Plugins {
			n := &list.Items[i].Status.Plugins[j]
			if here(n) && n.Unlimited != "" {
				fmt.Fprintf(out, "\nNo limits on %s: %s\n", list.Items[i].Name, n.Unlimited)
			}
			if here(n) && len(n.Pods) > 0 {
				fmt.Fprintf(out, "\nPods on %s:\n  %s\n", list.Items[i].Name, strings.Join(n.Pods, "\n  "))
			}
		}
	}
	return nil
}

func newPluginLogsCommand(c *config) *cobra.Command {
	var tail int
	cmd := &cobra.Command{
		Use: "logs NAME", Short: "Print what a plugin on this machine has logged", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.complete(); err != nil {
				return err
			}
			files, err := filepath.Glob(c.path("plugins") + "/*-" + args[0] + ".log")
			if err != nil || len(files) == 0 {
				return errors.Join(err, fmt.Errorf("no plugin %q has a log in %s", args[0], c.path("plugins")))
			}
			for _, file := range files {
				data, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				lines := strings.SplitAfter(string(data), "\n")
				if tail >= 0 {
					lines = lines[max(0, len(lines)-1-tail):]
				}
				fmt.Fprint(cmd.OutOrStdout(), strings.Join(lines, ""))
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&tail, "tail", -1, "print only so many lines of the end")
	return cmd
}

func newPluginCancelCommand(connect connector) *cobra.Command {
	return &cobra.Command{
		Use: "cancel SWAP", Short: "Make a running swap move back", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := connect()
			if err != nil {
				return err
			}
			swap := &v1alpha1.PluginSwap{ObjectMeta: metav1.ObjectMeta{Name: args[0]}}
			if err := api.Patch(cmd.Context(), swap, ctrlclient.RawPatch("application/merge-patch+json", []byte(`{"spec":{"cancelled":true}}`))); err != nil {
				return err
			}
			return follow(cmd.Context(), api, cmd.OutOrStdout(), args[0], v1alpha1.SwapRolledBack)
		},
	}
}
