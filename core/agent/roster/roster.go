// Package roster keeps a node's plugins as the API's Plugin objects say, and tells in its NodePlugins what became of
// it. It exists apart from the plugin host, which knows processes but no API.
package roster

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Roster needs all its fields but Use.
type Roster struct {
	// API writes; Cache reads and watches.
	API   client.Client
	Cache crcache.Cache
	Host  *pluginhost.Host
	Node  string
	// Shipped are the plugins that this machine has, with the configuration that they need here.
	Shipped []pluginhost.Plugin
	// Configure, if set, changes the configuration of a shipped plugin for an instance of another name, so that both
	// can run side by side.
	Configure func(config any, instance string) any
	// Pods returns, by name, the plugins of a kind that pods depend on, and those pods as NAMESPACE/NAME.
	Pods func(kind plugin.Kind) map[string][]string
	// RequireVerified refuses plugins that are neither shipped nor verified, whatever the API's PluginPolicies say.
	RequireVerified bool
	// Recorder makes events; nil makes none.
	Recorder record.EventRecorder
	// Known, if set, tells that Pods is complete for a kind. Until it is, what was last reported holds: nobody may take an
	// agent that has just started for a node without pods.
	Known func(kind plugin.Kind) bool
	// Routes, if set, is the service plugin that routes now; "" as long as none does.
	Routes func() string
	// Wake yields when what Pods or Routes returns may have changed.
	Wake <-chan struct{}

	decided decision
	told    told
}

const (
	retryAfter = time.Second
	// settle is how long events may come together before they are looked at.
	settle = 20 * time.Millisecond
)

// Run keeps the host's plugins as declared until ctx ends.
func (r *Roster) Run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	poke := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	for _, kind := range []client.Object{&v1alpha1.Plugin{}, &v1alpha1.PluginPolicy{}, &v1alpha1.NodePlugins{}, &corev1.Node{}} {
		i, err := r.Cache.GetInformer(ctx, kind)
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind, err)
		}
		if _, err := i.AddEventHandler(r.handler(poke)); err != nil {
			return fmt.Errorf("watch %T: %w", kind, err)
		}
	}
	for {
		changed := r.Host.Changed()
		var again <-chan time.Time
		if err := r.reconcile(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("cannot keep the plugins as declared", "err", err)
			again = time.After(retryAfter)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-changed:
		case <-r.Wake:
		case <-again:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settle):
		}
	}
}

// handler wakes for plugins, and for this node's own objects where they matter.
func (r *Roster) handler(poke func()) toolscache.ResourceEventHandler {
	concerns := func(o any) bool {
		obj, ok := o.(client.Object)
		if !ok {
			return true
		}
		switch obj.(type) {
		case *v1alpha1.Plugin, *v1alpha1.PluginPolicy:
			return true
		}
		return obj.GetName() == r.Node
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { wakeIf(concerns(o), poke) },
		DeleteFunc: func(o any) { wakeIf(concerns(o), poke) },
		UpdateFunc: func(before, now any) {
			a, aok := before.(*corev1.Node)
			b, bok := now.(*corev1.Node)
			wakeIf(concerns(now) && !(aok && bok && equality.Semantic.DeepEqual(a.Labels, b.Labels)), poke)
		},
	}
}

func wakeIf(yes bool, poke func()) {
	if yes {
		poke()
	}
}

func (r *Roster) reconcile(ctx context.Context) error {
	var objects v1alpha1.PluginList
	if err := r.Cache.List(ctx, &objects); err != nil {
		return fmt.Errorf("list plugins: %w", err)
	}
	var policies v1alpha1.PluginPolicyList
	if err := r.Cache.List(ctx, &policies); err != nil {
		return fmt.Errorf("list policies: %w", err)
	}
	var node corev1.Node
	if err := r.Cache.Get(ctx, client.ObjectKey{Name: r.Node}, &node); err != nil {
		return client.IgnoreNotFound(err) // it is not registered yet
	}
	own := &v1alpha1.NodePlugins{}
	err := r.Cache.Get(ctx, client.ObjectKey{Name: r.Node}, own)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get the node's plugins: %w", err)
	}
	exists := err == nil
	pods, used := r.uses(own)
	routes := ""
	if r.Routes != nil {
		routes = r.Routes()
	}
	r.decided = decide(input{
		shipped: r.Shipped, configure: r.Configure, objects: objects.Items, policies: policies.Items, labels: node.Labels, defaults: own.Spec.Defaults, granted: own.Spec.Generations,
		running: r.Host.Plugins(), used: used, real: realPath, requireVerified: r.RequireVerified, routes: routes,
	})
	if err := r.Host.Set(ctx, r.decided.run); err != nil {
		return fmt.Errorf("change plugins: %w", err)
	}
	want := v1alpha1.NodePluginsStatus{
		ObservedGeneration: own.Generation, Plugins: status(r.decided, r.Host.Instances(), pods, routes),
	}
	r.tell(objects.Items, want.Plugins)
	return r.report(ctx, &node, own, exists, want)
}

// realPath is a path without symbolic links as far as it exists.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path
	}
	return filepath.Join(dir, filepath.Base(path))
}

// uses are the pods of each plugin.
func (r *Roster) uses(own *v1alpha1.NodePlugins) (pods map[ref][]string, used map[ref]bool) {
	pods, used = map[ref][]string{}, map[ref]bool{}
	for t, kind := range kinds {
		now := map[string][]string{}
		if r.Known == nil || r.Known(kind) {
			now = r.Pods(kind)
		} else {
			for i := range own.Status.Plugins {
				if p := &own.Status.Plugins[i]; p.Type == t {
					now[p.Name] = slices.Clone(p.Pods)
				}
			}
		}
		for name, list := range now {
			slices.Sort(list)
			pods[ref{kind, name}], used[ref{kind, name}] = list, len(list) > 0
		}
	}
	return pods, used
}

// report writes the node's NodePlugins where it differs.
func (r *Roster) report(ctx context.Context, node *corev1.Node, have *v1alpha1.NodePlugins, exists bool, want v1alpha1.NodePluginsStatus) error {
	if !exists {
		have = &v1alpha1.NodePlugins{ObjectMeta: metav1.ObjectMeta{Name: r.Node, OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID,
		}}}}
		if err := r.API.Create(ctx, have); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create the node's plugins: %w", err)
		}
		want.ObservedGeneration = have.Generation
	}
	if exists && equality.Semantic.DeepEqual(have.Status, want) {
		return nil
	}
	update := have.DeepCopy()
	update.Status = want
	if err := r.API.Status().Update(ctx, update); err != nil {
		return fmt.Errorf("report the node's plugins: %w", err)
	}
	return nil
}
