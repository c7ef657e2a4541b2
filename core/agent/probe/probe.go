// Package probe runs the probes of containers: each has a goroutine of its own that tries at its period and tells its
// verdicts, which change only after as many results in a row as the thresholds say.
package probe

import (
	"context"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
)

// Kind is which of a container's probes it is, as events name it.
type Kind string

// The kinds.
const (
	Startup   Kind = "Startup"
	Readiness Kind = "Readiness"
	Liveness  Kind = "Liveness"
)

// Outcome is the result of one try.
type Outcome int

// The outcomes. Warning counts as success and is told to people.
const (
	Success Outcome = iota
	Warning
	Failure
	// Unknown is a try that could not be made; it changes nothing.
	Unknown
)

const eagerRetry = 25 * time.Millisecond

// Try makes one try and says in words what came of it.
type Try func(ctx context.Context) (Outcome, string)

// Worker runs one probe of one container incarnation.
type Worker struct {
	Kind  Kind
	Spec  *corev1.Probe
	Clock clock.Clock
	Try   Try
	// StartedAt is when the container started; the initial delay counts from it.
	StartedAt time.Time
	// Spread delays the first try by a random part of a period, so that after a restart of the agent not all come at once.
	Spread bool
	// Tell is called with a verdict whenever it may have changed. Told tells people of a try that did not succeed.
	Tell func(ok bool)
	Told func(o Outcome, message string)
	// Paused holds tries back while it returns true, such as before the startup probe has succeeded.
	Paused func() bool
	// Once ends the worker after its first good verdict, as for startup.
	Once bool
}

// Run probes until the context ends.
func (w *Worker) Run(ctx context.Context) {
	wait := w.StartedAt.Add(time.Duration(w.Spec.InitialDelaySeconds) * time.Second).Sub(w.Clock.Now())
	period := time.Duration(max(1, w.Spec.PeriodSeconds)) * time.Second
	if w.Spread {
		wait = max(wait, rand.N(period))
	}
	run := 0
	eager := w.firstRetry()
	var last Outcome = Unknown
	timer := w.Clock.NewTimer(max(0, wait))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		timer.Reset(period)
		if w.Paused != nil && w.Paused() {
			timer.Reset(min(period, time.Second))
			continue
		}
		out, msg := w.Try(ctx)
		if ctx.Err() != nil {
			return
		}
		if out == Failure && eager > 0 && eager < period {
			timer.Reset(eager)
			eager *= 2
			continue
		}
		eager = 0
		if out != Success {
			w.Told(out, msg)
		}
		if out == Unknown {
			continue
		}
		if out == Warning {
			out = Success
		}
		if out != last {
			last, run = out, 0
		}
		if run++; run < w.threshold(out) {
			continue
		}
		w.Tell(out == Success)
		if w.Once && out == Success {
			return
		}
	}
}

// firstRetry is how soon a probe that waits for its first success tries again. A container that has just started is
// seldom ready at the first try, and to wait a whole period for the second one would cost more than the start itself.
// These tries only ever help: their failures are neither counted nor told.
func (w *Worker) firstRetry() time.Duration {
	if w.Kind == Liveness || w.Spread || w.Spec.SuccessThreshold > 1 {
		return 0
	}
	return eagerRetry
}

func (w *Worker) threshold(o Outcome) int {
	if o == Success {
		return int(max(1, w.Spec.SuccessThreshold))
	}
	if w.Spec.FailureThreshold > 0 {
		return int(w.Spec.FailureThreshold)
	}
	return 3
}

// Timeout is how long a try may take.
func Timeout(p *corev1.Probe) time.Duration {
	return time.Duration(max(1, p.TimeoutSeconds)) * time.Second
}
