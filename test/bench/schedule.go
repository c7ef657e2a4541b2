package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func clientKey(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// measured prints how fast the pods of the prefix were bound while do ran.
func (c *core) measured(ctx context.Context, name, prefix string, pods int, do func() error) error {
	b, err := c.watchBindings(prefix)
	if err != nil {
		return err
	}
	began, used := time.Now(), ownCPU()
	if err := do(); err != nil {
		return err
	}
	if err := b.await(ctx, pods); err != nil {
		return err
	}
	took := time.Since(began)
	print(name, "%.0f a second (%s), %d µs of CPU each, API writes included", float64(pods)/took.Seconds(), round(took), (ownCPU()-used).Microseconds()/int64(pods))
	return nil
}

// scheduleReady binds 10,000 pods that are there when the scheduler starts.
func scheduleReady(ctx context.Context) error {
	for _, nodes := range []int{1000, 5000} {
		err := withCore(ctx, func(c *core) error {
			if err := c.nodes(nodes, "32"); err != nil {
				return err
			}
			const pods = 10_000
			if err := each(pods, func(i int) error { return c.Create(ctx, corePod(fmt.Sprintf("pod-%d", i))) }); err != nil {
				return err
			}
			if err := c.measured(ctx, fmt.Sprintf("bind 10,000 pods, %d nodes", nodes), "pod-", pods, func() error { c.schedule(); return nil }); err != nil {
				return err
			}
			return c.reportRunning(ctx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// reportRunning reports all pods running, as agents do.
func (c *core) reportRunning(ctx context.Context) error {
	var list corev1.PodList
	if err := c.List(ctx, &list); err != nil {
		return err
	}
	for i := range list.Items {
		p := list.Items[i].DeepCopy()
		if err := json.Unmarshal(runningStatus(i), p); err != nil {
			return err
		}
		list.Items[i] = *p
	}
	began, used := time.Now(), ownCPU()
	if err := each(len(list.Items), func(i int) error { return c.Status().Update(ctx, &list.Items[i]) }); err != nil {
		return err
	}
	took, n := time.Since(began), len(list.Items)
	print(fmt.Sprintf("report %d pods running", n), "%.0f a second, %d µs of CPU each", float64(n)/took.Seconds(), (ownCPU()-used).Microseconds()/int64(n))
	return nil
}

func withCore(ctx context.Context, do func(*core) error) error {
	c, err := newCore(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	return do(c)
}

// scheduleSpread binds 2,000 pods in 20 groups, each spread over the zones with no two on a node, on 5,000
// nodes that have 30,000 pods.
func scheduleSpread(ctx context.Context) error {
	return withCore(ctx, func(c *core) error {
		const nodes, placed, pods, groups = 5000, 30_000, 2000, 20
		if err := c.nodes(nodes, "32"); err != nil {
			return err
		}
		if err := each(placed, func(i int) error {
			return c.Create(ctx, corePod(fmt.Sprintf("old-%d", i), func(p *corev1.Pod) { p.Spec.NodeName = fmt.Sprintf("node-%d", i%nodes) }))
		}); err != nil {
			return err
		}
		if err := each(pods, func(i int) error {
			return c.Create(ctx, corePod(fmt.Sprintf("pod-%d", i), grouped(fmt.Sprintf("group-%d", i%groups))))
		}); err != nil {
			return err
		}
		return c.measured(ctx, "bind 2,000 spread pods, 5000 nodes", "pod-", pods, func() error { c.schedule(); return nil })
	})
}

func grouped(group string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Labels = map[string]string{"group": group}
		own := &metav1.LabelSelector{MatchLabels: p.Labels}
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: own,
		}}
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			TopologyKey: corev1.LabelHostname, LabelSelector: own,
		}}}}
	}
}

// scheduleStream creates pods while the scheduler runs.
func scheduleStream(ctx context.Context) error {
	return withCore(ctx, func(c *core) error {
		const nodes, pods = 5000, 10_000
		if err := c.nodes(nodes, "32"); err != nil {
			return err
		}
		c.schedule()
		if err := c.measuredWarm(ctx); err != nil {
			return err
		}
		b, err := c.watchBindings("pod-")
		if err != nil {
			return err
		}
		var mu sync.Mutex
		created := map[string]time.Time{}
		began, used := time.Now(), ownCPU()
		const rate = 2200 // a little more than what is asked for, evenly
		err = each(pods, func(i int) error {
			name := fmt.Sprintf("pod-%d", i)
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / rate)))
			mu.Lock()
			created[name] = time.Now()
			mu.Unlock()
			return c.Create(ctx, corePod(name))
		})
		if err != nil {
			return err
		}
		if err := b.await(ctx, pods); err != nil {
			return err
		}
		took := time.Since(began)
		var waits []time.Duration
		for name, at := range created {
			waits = append(waits, b.at[name].Sub(at))
		}
		slices.Sort(waits)
		print("create and bind, 5000 nodes", "%.0f a second, create to bound p50 %s, p99 %s, %d µs of CPU each", pods/took.Seconds(),
			round(waits[pods/2]), round(waits[pods*99/100]), (ownCPU()-used).Microseconds()/pods)
		return nil
	})
}

// measuredWarm lets the scheduler read all nodes before the clock starts.
func (c *core) measuredWarm(ctx context.Context) error {
	b, err := c.watchBindings("warm")
	if err != nil {
		return err
	}
	if err := c.Create(ctx, corePod("warm")); err != nil {
		return err
	}
	return b.await(ctx, 1)
}

// schedulePreempt puts 1,000 pods of higher priority onto a cluster whose 1,000 nodes are full.
func schedulePreempt(ctx context.Context) error {
	return withCore(ctx, func(c *core) error {
		const nodes, each4, pods = 1000, 4, 1000
		if err := c.nodes(nodes, "4"); err != nil {
			return err
		}
		size := func(cpu string, priority int32) func(*corev1.Pod) {
			return func(p *corev1.Pod) {
				p.Spec.Priority = &priority
				p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse(cpu)
				if priority > 0 {
					p.Spec.PriorityClassName = "system-cluster-critical"
					p.Spec.Priority = nil
				}
			}
		}
		if err := each(nodes*each4, func(i int) error {
			return c.Create(ctx, corePod(fmt.Sprintf("old-%d", i), size("1", 0), func(p *corev1.Pod) { p.Spec.NodeName = fmt.Sprintf("node-%d", i%nodes) }))
		}); err != nil {
			return err
		}
		c.schedule()
		return c.measured(ctx, "1,000 preempting pods, 1000 nodes", "pod-", pods, func() error {
			return each(pods, func(i int) error {
				return c.Create(ctx, corePod(fmt.Sprintf("pod-%d", i), size("3", 1000), func(p *corev1.Pod) {
					p.Namespace = strings.Clone("kube-system")
				}))
			})
		})
	})
}
