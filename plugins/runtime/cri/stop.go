package cri

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// removeTimeout bounds the removal of sandboxes.
const removeTimeout = 30 * time.Second

// Stop implements plugin.Stopper: it removes our sandboxes from the runtime and gives the runtime its own network
// configuration back. A runtime that does not answer keeps its sandboxes, for nobody else can remove them.
func (p *Plugin) Stop(ctx context.Context) error {
	removed := p.removeSandboxes(ctx)
	p.end()
	<-p.ended
	return errors.Join(removed, p.config.unwire())
}

func (p *Plugin) removeSandboxes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	if err := p.ready(ctx); err != nil {
		slog.Warn("cannot look for sandboxes to remove", "err", err)
		return nil
	}
	list, err := p.listPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("list sandboxes: %w", err)
	}
	var errs []error
	for _, s := range list.GetItems() {
		if _, err := p.cri.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.GetId()}); err != nil {
			errs = append(errs, fmt.Errorf("stop sandbox %s: %w", s.GetId(), err))
			continue
		}
		if _, err := p.cri.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.GetId()}); err != nil {
			errs = append(errs, fmt.Errorf("remove sandbox %s: %w", s.GetId(), err))
		}
	}
	return errors.Join(errs...)
}
