// Package run starts the parts of a process in order and stops them in reverse.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// Runner works until its context ends; an error or a return before that stops everything.
type Runner interface {
	Run(ctx context.Context) error
}

// Func is a Runner.
type Func func(ctx context.Context) error

// Run implements [Runner].
func (f Func) Run(ctx context.Context) error { return f(ctx) }

// Part is a named runner. With Ready set, the parts after it start when that is closed.
type Part struct {
	Name   string
	Runner Runner
	Ready  <-chan struct{}
}

type running struct {
	Part
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// All runs the parts until ctx ends or one of them returns, then stops them, the last started first,
// each before the one ahead of it. It returns the error of the part that ended the run, nil when ctx did.
func All(ctx context.Context, parts ...Part) error {
	ended := make(chan *running, len(parts))
	var started []*running
	cause := start(ctx, parts, &started, ended)
	if cause == nil {
		select {
		case <-ctx.Done():
		case r := <-ended:
			cause = endError(r)
		}
	}
	for i := len(started) - 1; i >= 0; i-- {
		r := started[i]
		r.cancel()
		<-r.done
		if r.err != nil && !errors.Is(r.err, context.Canceled) && cause == nil {
			slog.Warn("part failed while stopping", "part", r.Name, "err", r.err)
		}
	}
	return cause
}

func start(ctx context.Context, parts []Part, started *[]*running, ended chan *running) error {
	for _, p := range parts {
		// A part is stopped by its own cancel, in its turn, not by ctx.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{Part: p, cancel: cancel, done: make(chan struct{})}
		*started = append(*started, r)
		go func() {
			r.err = p.Runner.Run(own)
			close(r.done)
			ended <- r
		}()
		if p.Ready == nil {
			continue
		}
		select {
		case <-p.Ready:
		case <-ctx.Done():
			return nil
		case r := <-ended:
			return endError(r)
		}
	}
	return nil
}

func endError(r *running) error {
	if r.err == nil {
		return fmt.Errorf("%s ended by itself", r.Name)
	}
	return fmt.Errorf("%s: %w", r.Name, r.err)
}
