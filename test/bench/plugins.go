package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// further are the shipped plugins that do not run by themselves, with others' sockets that nobody serves.
var further = []v1alpha1.Plugin{
	furtherPlugin("fake-runtime", v1alpha1.Runtime, v1alpha1.Source{Builtin: "fake"}),
	furtherPlugin("fake-network", v1alpha1.Network, v1alpha1.Source{Builtin: "fake"}),
	furtherPlugin("fake-service", v1alpha1.Service, v1alpha1.Source{Builtin: "fake"}),
	furtherPlugin("cri", v1alpha1.Runtime, v1alpha1.Source{Endpoint: "/run/gantry-bench-nobody"}),
	furtherPlugin("socket-network", v1alpha1.Network, v1alpha1.Source{Endpoint: "/run/gantry-bench-nobody"}),
	furtherPlugin("socket-service", v1alpha1.Service, v1alpha1.Source{Endpoint: "/run/gantry-bench-nobody"}),
}

func furtherPlugin(name string, t v1alpha1.Type, source v1alpha1.Source) v1alpha1.Plugin {
	return v1alpha1.Plugin{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PluginSpec{Type: t, Source: source, Priority: -1}}
}

// memory prints what each shipped plugin's process uses (VmRSS) a minute and a half after it and 20 pods have started, and the median of
// that while 20 pods come and go.
func memory(ctx context.Context, c *cluster) (err error) {
	if err := c.start(ctx); err != nil {
		return err
	}
	for _, p := range further {
		if err := c.api.Create(ctx, p.DeepCopy()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.withdraw(ctx, p)) }()
	}
	remove, err := c.deploy(ctx, "memory", 20)
	if err != nil {
		return err
	}
	time.Sleep(90 * time.Second)
	list, err := c.nodePlugins(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b v1alpha1.NodePlugin) int { return cmp.Compare(a.Name, b.Name) })
	quiet, err := memories(list)
	if err != nil {
		return err
	}
	const turns = 4
	busy, err := mediansDuring(list, func() (err error) {
		for range turns {
			if err = remove(); err == nil {
				remove, err = c.deploy(ctx, "memory", 20)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, p := range list {
		print("memory of plugin "+p.Name, "%.1f MB; while pods come and go %.1f MB", quiet[i], busy[i])
	}
	return remove()
}

// mediansDuring are the medians of what memories returns while do runs.
func mediansDuring(list []v1alpha1.NodePlugin, do func() error) ([]float64, error) {
	done := make(chan error, 1)
	go func() { done <- do() }()
	samples := make([][]float64, len(list))
	for {
		now, err := memories(list)
		if err != nil {
			return nil, errors.Join(err, <-done)
		}
		for i, mb := range now {
			samples[i] = append(samples[i], mb)
		}
		select {
		case <-time.After(50 * time.Millisecond):
			continue
		case err := <-done:
			medians := make([]float64, len(list))
			for i, s := range samples {
				medians[i] = median(s)
			}
			return medians, err
		}
	}
}

// memories are the plugins' in MB.
func memories(list []v1alpha1.NodePlugin) ([]float64, error) {
	out := make([]float64, len(list))
	for i, p := range list {
		kb, err := rss(int(p.PID))
		if err != nil {
			return nil, fmt.Errorf("memory of %s: %w", p.Name, err)
		}
		out[i] = float64(kb) * 1024 / 1e6
	}
	return out, nil
}

func rss(pid int) (kb int, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, err := fmt.Sscan(value, &kb)
			return kb, err
		}
	}
	return 0, errors.New("no VmRSS")
}

func (c *cluster) nodePlugins(ctx context.Context) ([]v1alpha1.NodePlugin, error) {
	var list v1alpha1.NodePluginsList
	if err := c.api.List(ctx, &list); err != nil {
		return nil, err
	}
	if len(list.Items) != 1 {
		return nil, fmt.Errorf("%d nodes have plugins, want one", len(list.Items))
	}
	return list.Items[0].Status.Plugins, nil
}

// deploy makes a Deployment of demo pods and waits until all are ready. What it returns removes them.
func (c *cluster) deploy(ctx context.Context, name string, n int32) (remove func() error, err error) {
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: demoSpec()},
		},
	}
	if err := c.api.Create(ctx, d.DeepCopy()); err != nil {
		return nil, err
	}
	up := map[string]bool{}
	err = c.await(ctx, func(_ bool, p *corev1.Pod) bool {
		if p.Labels["app"] == name && ready(p) {
			up[p.Name] = true
		}
		return len(up) == int(n)
	})
	return func() error {
		if err := c.api.Delete(ctx, d, client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
			return err
		}
		for {
			err := c.api.Get(ctx, client.ObjectKeyFromObject(d), d)
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
	}, err
}

// swapFakes moves a node with 50 pods from one fake runtime to another.
func swapFakes(ctx context.Context, c *cluster) error {
	first := furtherPlugin("first", v1alpha1.Runtime, v1alpha1.Source{Builtin: "fake"})
	first.Spec.Priority = 10 // the node's default
	return c.swapped(ctx, "swap of 50 pods on fake runtimes", 50, first, furtherPlugin("second", v1alpha1.Runtime, v1alpha1.Source{Builtin: "fake"}))
}

// swapReal moves a node with 20 pods from one containerd to another, which knows their image.
func swapReal(ctx context.Context, c *cluster) error {
	first := furtherPlugin("one", v1alpha1.Runtime, v1alpha1.Source{Builtin: "containerd"})
	first.Spec.Priority = 10
	return c.swapped(ctx, "swap of 20 pods", 20, first, furtherPlugin("containerd", v1alpha1.Runtime, v1alpha1.Source{Builtin: "containerd"}))
}

// swapped moves n pods of one Deployment from one runtime to another and prints how long that took.
func (c *cluster) swapped(ctx context.Context, name string, n int32, from, to v1alpha1.Plugin) (err error) {
	if err := c.start(ctx); err != nil {
		return err
	}
	for _, p := range []v1alpha1.Plugin{from, to} {
		if err := c.api.Create(ctx, p.DeepCopy()); err == nil {
			defer func() { err = errors.Join(err, c.withdraw(ctx, p)) }()
		} else if !apierrors.IsAlreadyExists(err) {
			return err
		}
		if err := c.awaitPlugin(ctx, p.Name, func(p v1alpha1.NodePlugin) bool { return p.Ready }); err != nil {
			return err
		}
	}
	if err := c.awaitPlugin(ctx, from.Name, func(p v1alpha1.NodePlugin) bool { return p.Default }); err != nil {
		return err
	}
	if from.Spec.Source.Builtin == "containerd" { // imported into the default runtime
		if err := c.gantry(ctx, "image", "import", filepath.Join(c.bin, "images", "demo-1.tar")); err != nil {
			return err
		}
	}
	remove, err := c.deploy(ctx, "swapped", n)
	if err != nil {
		return err
	}
	swap := &v1alpha1.PluginSwap{
		ObjectMeta: metav1.ObjectMeta{Name: from.Name + "-" + to.Name},
		Spec:       v1alpha1.PluginSwapSpec{Type: v1alpha1.Runtime, From: from.Name, To: to.Name},
	}
	began := time.Now()
	if err := c.api.Create(ctx, swap); err != nil {
		return err
	}
	if err := c.awaitSwap(ctx, swap.Name); err != nil {
		return err
	}
	print(name, "%s", round(time.Since(began)))
	return remove()
}

// withdraw deletes a plugin and waits until the node has it no more.
func (c *cluster) withdraw(ctx context.Context, p v1alpha1.Plugin) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := c.api.Delete(ctx, p.DeepCopy()); client.IgnoreNotFound(err) != nil {
		return err
	}
	return c.awaitPlugins(ctx, p.Name, func(list []v1alpha1.NodePlugin) bool {
		return !slices.ContainsFunc(list, func(have v1alpha1.NodePlugin) bool { return have.Name == p.Name })
	})
}

func (c *cluster) awaitPlugin(ctx context.Context, name string, is func(p v1alpha1.NodePlugin) bool) error {
	return c.awaitPlugins(ctx, name, func(list []v1alpha1.NodePlugin) bool {
		return slices.ContainsFunc(list, func(p v1alpha1.NodePlugin) bool { return p.Name == name && is(p) })
	})
}

// awaitPlugins waits until the node's plugins are as wanted; name is the one that matters.
func (c *cluster) awaitPlugins(ctx context.Context, name string, are func(list []v1alpha1.NodePlugin) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		list, err := c.nodePlugins(ctx)
		if err == nil && are(list) {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("plugin %s is not as wanted: %v: %w", name, list, errors.Join(err, ctx.Err()))
		}
	}
}

func (c *cluster) awaitSwap(ctx context.Context, name string) error {
	w, err := c.api.Watch(ctx, &v1alpha1.PluginSwapList{})
	if err != nil {
		return err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		s, ok := e.Object.(*v1alpha1.PluginSwap)
		if !ok || s.Name != name {
			continue
		}
		switch s.Status.Phase {
		case v1alpha1.SwapSucceeded:
			return nil
		case v1alpha1.SwapRolledBack, v1alpha1.SwapFailed:
			return fmt.Errorf("the swap ended as %s: %s", s.Status.Phase, s.Status.Message)
		}
	}
	return errors.Join(errors.New("the watch of the swap ended"), ctx.Err())
}

// reattach kills the agent's process, which has 20 pods, starts it again and prints when it was attached to all plugins and
// when its node was ready: first as a service manager would start it, then by `gantry up`, whose own start counts as well.
func reattach(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	remove, err := c.deploy(ctx, "reattach", 20)
	if err != nil {
		return err
	}
	for _, by := range []struct {
		name    string
		restart func(context.Context) error
	}{{"started by a service manager", c.foreground}, {"started by `gantry up`", c.again}} {
		var attached, whole []time.Duration
		for range 5 {
			a, w, err := c.reattached(ctx, by.restart)
			if err != nil {
				return err
			}
			attached, whole = append(attached, a), append(whole, w)
		}
		print("killed agent to all plugins attached, "+by.name, "%s; until the next `gantry up` sees the node Ready, server and etcd included, %s", spread(attached), spread(whole))
	}
	return remove()
}

// reattached kills the agent's process and starts it again; the times count from the kill.
func (c *cluster) reattached(ctx context.Context, restart func(context.Context) error) (attached, ready time.Duration, err error) {
	before, err := c.nodePlugins(ctx)
	if err != nil {
		return 0, 0, err
	}
	pid, err := c.pid()
	if err != nil {
		return 0, 0, err
	}
	log, err := c.followLog()
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = log.Close() }()
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return 0, 0, err
	}
	if err := restart(ctx); err != nil {
		return 0, 0, err
	}
	last, err := lastAttached(ctx, log, len(before))
	if err != nil {
		return 0, 0, err
	}
	if err := c.again(ctx); err != nil { // it runs, so this waits for it
		return 0, 0, err
	}
	ready = time.Since(began)
	after, err := c.nodePlugins(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, p := range before {
		if !slices.ContainsFunc(after, func(q v1alpha1.NodePlugin) bool { return p.Name == q.Name && p.PID == q.PID }) {
			return 0, 0, fmt.Errorf("plugin %s has not process %d any more: %v", p.Name, p.PID, after)
		}
	}
	return last.Sub(began), ready, nil
}

// again starts gantry as a user does, and returns when its node is ready.
func (c *cluster) again(ctx context.Context) error {
	return c.gantry(ctx, "up", "--pod-range", podRange)
}

// foreground starts gantry itself, and does not wait for it.
func (c *cluster) foreground(ctx context.Context) error {
	log, err := os.OpenFile(c.logFile(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := c.command(context.WithoutCancel(ctx), "up", "--foreground", "--pod-range", podRange) // `gantry down` ends it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

func (c *cluster) logFile() string { return filepath.Join(c.data, "gantry.log") }

// followLog opens the log at its end.
func (c *cluster) followLog() (*os.File, error) {
	log, err := os.Open(c.logFile())
	if err != nil {
		return nil, err
	}
	_, err = log.Seek(0, io.SeekEnd)
	return log, err
}

// lastAttached waits until the log tells of the last of so many plugins, and returns when that was.
func lastAttached(ctx context.Context, log io.Reader, plugins int) (at time.Time, err error) {
	in := bufio.NewReader(log)
	var line string
	for n := 0; n < plugins; {
		part, err := in.ReadString('\n')
		line += part
		if errors.Is(err, io.EOF) {
			if ctx.Err() != nil {
				return at, ctx.Err()
			}
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if err != nil {
			return at, err
		}
		if strings.Contains(line, `msg="plugin is up"`) {
			if !strings.Contains(line, "launched=false") {
				return at, fmt.Errorf("a plugin was launched anew: %s", line)
			}
			stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
			if at, err = time.Parse(time.RFC3339Nano, stamp); err != nil {
				return at, err
			}
			n++
		}
		line = ""
	}
	return at, nil
}
