package scheduler

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/config"
	"github.com/gantryio/gantry/core/scheduler/place"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
	contract "github.com/gantryio/gantry/interfaces/scheduler"
)

// Plugins finds scheduler plugins.
type Plugins interface {
	// Judge returns the plugin of the name, configured with the JSON. It may be reached only later: calls
	// wait or fail until then.
	Judge(name string, config []byte) (contract.Judge, error)
}

// outside is a plugin of a profile.
type outside struct {
	config.Plugin
	judge     contract.Judge
	described bool
	contract.Description
	usage bool
}

// openPlugin finds a plugin that a profile names.
func (s *Scheduler) openPlugin(p config.Plugin) (*outside, error) {
	if s.Plugins == nil {
		return nil, fmt.Errorf("find plugin %q: it is neither built in nor installed", p.Name)
	}
	judge, err := s.Plugins.Judge(p.Name, p.Args)
	if err != nil {
		return nil, err
	}
	return &outside{Plugin: p, judge: judge, Description: contract.Description{Deadline: contract.DefaultDeadline}}, nil
}

// consult asks the plugins of the pod's profile about the nodes that they have not judged as they are
// now. The lock is given up meanwhile. It returns false when the pod need not be placed now: it has
// changed or gone, or a plugin does not answer without which it must not be placed.
func (s *Scheduler) consult(ctx context.Context, it *item) bool {
	plugins := it.class.profile.plugins
	for j, o := range plugins {
		it.class.Refresh()
		err := s.describe(ctx, it, o)
		for err == nil {
			unknown := it.class.Unknown(j)
			if len(unknown) == 0 {
				break
			}
			err = s.ask(ctx, it, j, unknown)
			it.class.Refresh()
			if s.queue.items[it.pod.UID] != it || it.heap != nil {
				return false
			}
		}
		if err == nil || ctx.Err() != nil || o.FailOpen {
			continue
		}
		message := fmt.Sprintf("running plugin %q: %v", o.Name, err)
		it.notBefore = s.Now().Add(s.backoff(it.attempts))
		s.queue.delay(it)
		s.refuse(ctx, it, message, preemption{})
		return false
	}
	return true
}

func (s *Scheduler) describe(ctx context.Context, it *item, o *outside) error {
	if o.described {
		return nil
	}
	s.mu.Unlock()
	call, cancel := context.WithTimeout(ctx, o.Deadline)
	d, err := o.judge.Describe(call)
	cancel()
	s.mu.Lock()
	if err != nil {
		return err
	}
	if d.Deadline <= 0 {
		d.Deadline = contract.DefaultDeadline
	}
	o.Description, o.described, o.usage = d, true, d.Usage
	for _, c := range s.classes {
		c.Ask(c.profile.judges())
	}
	it.class.Ask(it.class.profile.judges())
	return nil
}

// ask puts one question. What changes while the plugin thinks is asked again.
func (s *Scheduler) ask(ctx context.Context, it *item, judge int, nodes []*snapshot.Node) error {
	o := it.class.profile.plugins[judge]
	pod, err := question(it.class.Pod)
	if err != nil {
		return err
	}
	type state struct {
		index            int
		version, changed int64
	}
	states, asked := make([]state, len(nodes)), make([]contract.Node, len(nodes))
	for i, n := range nodes {
		states[i] = state{n.Index, n.Version, n.Changed}
		asked[i] = contract.Node{
			Name: n.Object.Name, Labels: n.Object.Labels, Annotations: n.Object.Annotations,
			Allocatable: amounts(&n.Allocatable), Requested: amounts(&n.Requested), Pods: n.Count,
		}
	}
	c := it.class
	s.mu.Unlock()
	call, cancel := context.WithTimeout(ctx, o.Deadline)
	verdicts, err := o.judge.Judge(call, pod, asked)
	cancel()
	s.mu.Lock()
	if err != nil {
		return err
	}
	if len(verdicts) != len(nodes) {
		return fmt.Errorf("have %d verdicts for %d nodes", len(verdicts), len(nodes))
	}
	c.Refresh()
	for i, v := range verdicts {
		a := place.Answer{}
		if o.Filter {
			a.Why = strings.TrimSuffix(v.Refusal, ".")
		}
		if o.Score {
			a.Score = min(max(v.Score, 0), contract.MaxScore)
		}
		c.Learn(judge, states[i].index, states[i].version, states[i].changed, a)
	}
	return nil
}

func question(p *snapshot.Pod) (contract.Pod, error) {
	spec, err := p.Object.Spec.Marshal()
	if err != nil {
		return contract.Pod{}, fmt.Errorf("marshal the spec of pod %s: %w", p.Object.Name, err)
	}
	return contract.Pod{
		Namespace: p.Namespace, Labels: p.Object.Labels, Annotations: p.Object.Annotations, Requests: amounts(&p.Requests), Priority: p.Priority, Spec: spec,
	}, nil
}

func amounts(r *snapshot.Resources) map[string]int64 {
	out := map[string]int64{string(corev1.ResourceCPU): r.MilliCPU, string(corev1.ResourceMemory): r.Memory}
	if r.Ephemeral != 0 {
		out[string(corev1.ResourceEphemeralStorage)] = r.Ephemeral
	}
	for name, n := range r.Other {
		out[string(name)] = n
	}
	return out
}
