package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryio/gantry/core/agent/guard"
	"github.com/gantryio/gantry/core/pki"
)

func newDownCommand() *cobra.Command {
	c := &config{}
	var purge bool
	cmd := &cobra.Command{
		Use: "down", Short: "Stop the cluster of this machine and clean up", Args: cobra.NoArgs,
		Long: "Stop the cluster of this machine with its pods and plugins, and take away what they made: processes,\n" +
			"mounts, interfaces, routes, nftables tables and cgroups. The API's objects and the images stay in the data\n" +
			"folder, so that `gantry up` goes on with them, unless --purge is given.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.complete(); err != nil {
				return err
			}
			return runDown(cmd.Context(), c, purge)
		},
	}
	c.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&purge, "purge", false, "delete the data folder, too")
	return cmd
}

const stopPatience = 15 * time.Second

// cniCache is where containerd remembers what CNI plugins have answered: a default of the CNI library that cannot be configured. All containerds of a
// machine share it.
const cniCache = "/var/lib/cni"

func runDown(ctx context.Context, c *config, purge bool) error {
	if _, err := os.Stat(c.data); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := stopRunning(c, stopPatience); err != nil {
		return err
	}
	lock, err := takeLock(c)
	if err != nil {
		return err
	}
	defer lock.Close()
	if c.advertise == "" {
		c.advertise = machineAddress(c)
	}
	authority, err := pki.Open(c.path("pki"))
	if err != nil {
		return err
	}
	n, err := newNode(c, authority, connection{})
	if err != nil {
		return err
	}
	if err := n.clean(ctx); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	if purge {
		return errors.Join(os.RemoveAll(c.data), removeEmpty(filepath.Join(cniCache, "results")), removeEmpty(cniCache))
	}
	return nil
}

// clean removes every pod of the machine, then the plugins, then what the node itself made. It may be
// run again after it failed.
func (n *node) clean(ctx context.Context) error {
	if err := os.MkdirAll(n.runDir(), 0o700); err != nil {
		return err
	}
	err := n.removePods(ctx)
	err = errors.Join(err, n.host.Stop(ctx), n.stopSchedulerPlugins(ctx), guard.Remove(), removeAddress(n.config))
	if err != nil {
		return err
	}
	for _, dir := range []string{n.runDir(), n.path("plugins"), n.path("scheduler-plugins"), n.path("ledger"), n.path("networks"), n.path("addresses")} {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return errors.Join(err, removeEmpty(filepath.Join(n.kubeletDir(), "pods")), removeEmpty(n.kubeletDir()), removeEmpty(n.logDir()))
}

// removePods needs the plugins and the socket that the CNI shim calls.
func (n *node) removePods(ctx context.Context) error {
	return n.withPlugins(ctx, func(ctx context.Context) error {
		if err := n.agent.Teardown(ctx); err != nil {
			return err
		}
		// What is in the ledger now are sandboxes of runtimes that do not answer. Their network goes with the node's.
		var errs []error
		for _, e := range n.ledger.List() {
			errs = append(errs, n.attach.Detach(ctx, cmp.Or(e.Of, e.Sandbox.ID)))
		}
		return errors.Join(errs...)
	})
}

// withPlugins runs the plugins and the socket that the CNI shim calls as long as do needs them.
func (n *node) withPlugins(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 2)
	go func() { done <- n.host.Run(ctx) }()
	go func() { done <- n.attach.Run(ctx) }()
	bounded, stop := context.WithTimeout(ctx, time.Minute)
	err := n.host.Ready(bounded)
	stop()
	if err == nil {
		err = do(ctx)
	}
	cancel()
	for range 2 {
		if e := <-done; e != nil && !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// removeEmpty leaves a folder that others use.
func removeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		return nil
	}
	if err := os.Remove(dir); !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}
