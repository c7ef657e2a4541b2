package main

import (
	"context"
	"log/slog"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	firstReconcile = 100 * time.Millisecond
	lastReconcile  = time.Minute
)

// reconcileNetworks takes away, once, what crashes have left of networks: what the ledger or a network plugin
// has of sandboxes that no runtime knows. The attach server must run, so that what is made meanwhile counts.
func (n *node) reconcileNetworks(ctx context.Context) error {
	for wait := firstReconcile; ; wait = min(2*wait, lastReconcile) {
		live, err := n.sandboxes(ctx)
		if err == nil {
			err = n.attach.Reconcile(ctx, live)
		}
		if err == nil {
			break
		}
		if ctx.Err() == nil {
			slog.Warn("cannot clear leftover networks", "err", err, "again", wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// sandboxes are the IDs of all sandboxes of all runtimes.
func (n *node) sandboxes(ctx context.Context) ([]string, error) {
	if err := n.host.Ready(ctx); err != nil {
		return nil, err
	}
	var out []string
	for _, name := range n.host.Runtimes() {
		rt, _, _, err := n.host.Runtime(name)
		if err != nil {
			return nil, err
		}
		list, err := rt.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
		if err != nil {
			return nil, err
		}
		for _, s := range list.GetItems() {
			out = append(out, s.GetId())
		}
	}
	return out, nil
}
