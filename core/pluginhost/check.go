package pluginhost

import (
	"context"
	"errors"
	"fmt"
)

// Check tells whether a host of this configuration could take over from one that runs: that the plugins that run answer it, and
// that their executables, where they are those of the host's folder, are as listed. Nothing is started, ended or written
// down. Run must not have begun.
func (h *Host) Check(ctx context.Context) error {
	var errs []error
	for _, i := range h.each() {
		if err := i.check(ctx); err != nil {
			errs = append(errs, fmt.Errorf("check plugin %s: %w", i.conn.name, err))
		}
	}
	return errors.Join(errs...)
}

func (i *instance) check(ctx context.Context) error {
	now, alive := i.alive()
	if !alive {
		return nil // It would be launched anew, or not, as by the host that runs.
	}
	if p := i.plugin(); p.Image == nil && p.Executable == "" {
		binary, _, err := verify(i.config.executable(p), p.SHA256)
		if err != nil {
			return err
		}
		_ = binary.Close()
	}
	s, err := i.reattach(ctx, now)
	if err != nil {
		return err
	}
	s.release()
	return nil
}

// alive tells whether a process of the plugin runs that can be attached to.
func (i *instance) alive() (state, bool) {
	now, err := readState(i.config.file(i.id, current.state))
	return now, err == nil && now.Socket != "" && now.Process.Alive()
}

// Attached waits until this host has reached every plugin that runs. Unlike Ready it does not wait for those that do not.
func (h *Host) Attached(ctx context.Context) error {
	for _, i := range h.each() {
		if _, alive := i.alive(); !alive {
			continue
		}
		l, err := i.conn.wait(ctx)
		if err != nil {
			return err
		}
		i.conn.give(l)
	}
	return nil
}
