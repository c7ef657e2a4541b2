package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/audit"
	"github.com/gantryio/gantry/core/agent/cgroup"
	"github.com/gantryio/gantry/core/pki"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/plugins/network/cni"
	"github.com/gantryio/gantry/plugins/service/nftables"
)

func newPluginAuditCommand() *cobra.Command {
	c := &config{}
	var fix bool
	var output string
	cmd := &cobra.Command{
		Use: "audit", Short: "Look for what plugins have left on this machine", Args: cobra.NoArgs,
		Long: "Compare what the ledger, the plugins and the agent know with what this machine has of Gantry's: containers,\n" +
			"interfaces, routes, network namespaces, addresses, nftables tables, mounts, volumes and cgroups. What is left\n" +
			"over is listed, and removed with --fix. When Gantry does not run here, its plugins are started for it if need\n" +
			"be, and what belongs to pods is not judged. The command fails when something is left over at the end.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("--output: %q is unknown, use json", output)
			}
			if err := c.complete(); err != nil {
				return err
			}
			found, err := runAudit(cmd.Context(), c, fix)
			if err != nil {
				return err
			}
			return printFindings(cmd.OutOrStdout(), found, output)
		},
	}
	c.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&fix, "fix", false, "remove what is left over")
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or a table when empty")
	return cmd
}

// runAudit asks the gantry that runs, or looks by itself when none does.
func runAudit(ctx context.Context, c *config, fix bool) ([]audit.Finding, error) {
	if running(c) {
		path := "/audit"
		if fix {
			path += "?fix=true"
		}
		var out []audit.Finding
		return out, callControl(ctx, c, "POST", path, nil, &out)
	}
	if _, err := os.Stat(c.data); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	lock, err := takeLock(c)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if c.advertise == "" {
		c.advertise = machineAddress(c)
	}
	authority, err := pki.Open(c.path("pki"))
	if err != nil {
		return nil, err
	}
	n, err := newNode(c, authority, connection{})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(n.runDir(), 0o700); err != nil {
		return nil, err
	}
	var out []audit.Finding
	err = n.withPlugins(ctx, func(ctx context.Context) (err error) {
		out, err = n.audit(ctx, fix)
		return err
	})
	return out, err
}

func (c *control) serveAudit(w http.ResponseWriter, req *http.Request) {
	out, err := c.audit(req.Context(), req.URL.Query().Get("fix") == "true")
	answer(w, out, err)
}

func (n *node) audit(ctx context.Context, fix bool) ([]audit.Finding, error) {
	a := audit.Auditor{Place: n.place(), Known: n.known, Remover: n, Now: time.Now}
	if fix {
		return a.Fix(ctx)
	}
	return a.Run(ctx)
}

// ourTable tells the nftables tables of service plugins from those of the guard, and of others.
func ourTable(name string) bool {
	return name == nftables.DefaultTable || strings.HasPrefix(name, furtherTable)
}

// tableOf is the nftables table of a service plugin.
func tableOf(p pluginhost.Plugin) string {
	raw, err := json.Marshal(p.Config)
	c := nftables.Config{}
	if err != nil || json.Unmarshal(raw, &c) != nil || c.Table == "" {
		return nftables.DefaultTable
	}
	return c.Table
}

func ourBridge(name string) bool {
	return name == cni.DefaultBridge || strings.HasPrefix(name, furtherBridge)
}

// place is where this cluster's things are.
func (n *node) place() audit.Place {
	addresses := []string{n.path("addresses"), n.path("cni", "addresses")}
	further, _ := filepath.Glob(n.path("networks", "*", "addresses"))
	return audit.Place{
		RunDir: n.runDir(), KubeletDir: n.kubeletDir(), AddressDirs: append(addresses, further...),
		PodRanges: []netip.Prefix{netip.MustParsePrefix(n.podRange)}, OurBridge: ourBridge,
		OurTable: ourTable, Cgroups: cgroup.Tree{Root: n.cgroupRoot()},
	}
}

// known is what there should be now.
func (n *node) known(ctx context.Context) (audit.Known, error) {
	k := audit.Known{
		Pods: n.agent.PodUIDs(), IDs: map[string]bool{}, Sandboxes: map[string]string{}, Recorded: map[string][]string{},
		Busy: n.attach.Busy(),
	}
	for _, name := range n.host.Runtimes() {
		if err := n.knownContainers(ctx, name, &k); err != nil {
			return k, err
		}
	}
	for _, p := range n.host.Plugins() {
		switch p.Kind {
		case plugin.Service:
			if routes := n.services.Serving(); routes == "" || routes == p.Name {
				k.Tables = append(k.Tables, tableOf(p))
			}
		case plugin.Network:
			network, _, err := n.host.Network(p.Name)
			if err != nil {
				continue // it has just been taken away
			}
			if k.Recorded[p.Name], err = network.List(ctx); err != nil {
				return k, fmt.Errorf("list sandboxes of network %s: %w", p.Name, err)
			}
			raw, err := json.Marshal(p.Config)
			if err != nil {
				return k, fmt.Errorf("read configuration of network %s: %w", p.Name, err)
			}
			c := cni.Config{}
			if json.Unmarshal(raw, &c) == nil {
				k.Bridges = append(k.Bridges, c.BridgeName())
			}
		}
	}
	k.Entries = n.ledger.List()
	return k, nil
}

func (n *node) knownContainers(ctx context.Context, name string, k *audit.Known) error {
	rt, _, _, err := n.host.Runtime(name)
	if err != nil {
		return err
	}
	sandboxes, err := rt.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("list sandboxes of runtime %s: %w", name, err)
	}
	for _, s := range sandboxes.GetItems() {
		k.IDs[s.GetId()] = true
		k.Sandboxes[name+"/"+s.GetId()] = s.GetMetadata().GetUid()
	}
	containers, err := rt.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return fmt.Errorf("list containers of runtime %s: %w", name, err)
	}
	for _, c := range containers.GetContainers() {
		k.IDs[c.GetId()] = true
	}
	return nil
}

var _ audit.Remover = (*node)(nil)

// RemoveContainer implements audit.Remover.
func (n *node) RemoveContainer(ctx context.Context, runtime, id string) error {
	rt, _, _, err := n.host.Runtime(runtime)
	if err != nil {
		return err
	}
	if _, err := rt.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return fmt.Errorf("stop sandbox %s: %w", id, err)
	}
	if _, err := rt.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
		return fmt.Errorf("remove sandbox %s: %w", id, err)
	}
	return nil
}

// Detach implements audit.Remover.
func (n *node) Detach(ctx context.Context, sandbox string) error {
	return n.attach.Detach(ctx, sandbox)
}

// Clear implements audit.Remover.
func (n *node) Clear(ctx context.Context, network, sandbox string) error {
	return n.attach.Clear(ctx, network, sandbox)
}

// printFindings fails when something is left over.
func printFindings(w io.Writer, found []audit.Finding, output string) error {
	left := 0
	for _, f := range found {
		if !f.Fixed {
			left++
		}
	}
	if output == "json" {
		if found == nil {
			found = []audit.Finding{}
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(found); err != nil {
			return err
		}
	} else if err := printFindingsTable(w, found); err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("%d things are left over", left)
	}
	return nil
}

func printFindingsTable(w io.Writer, found []audit.Finding) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "Nothing is left over.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "KIND\tNAME\tOWNER\tRESULT\tDETAIL")
	for _, f := range found {
		result := "left"
		switch {
		case f.Fixed:
			result = "removed"
		case f.Error != "":
			result = f.Error
		}
		owner := f.Owner
		if owner == "" {
			owner = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", f.Kind, f.Name, owner, result, f.Detail)
	}
	return t.Flush()
}
