package main

import (
	"context"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/scheduler/config"
	"github.com/gantryio/gantry/interfaces/plugin"
	contract "github.com/gantryio/gantry/interfaces/scheduler"
)

// scheduleJudged binds 10,000 pods of ten classes with the plugin "price" in a process of its own, which
// `make build` makes.
func scheduleJudged(ctx context.Context) error {
	return withCore(ctx, func(c *core) error {
		bin, err := filepath.Abs(filepath.Join("bin", "plugins"))
		if err != nil {
			return err
		}
		host, stop, err := runHost(ctx, pluginhost.Config{
			Dir: bin, StateDir: filepath.Join(c.dir, "plugins"), RunDir: filepath.Join(c.dir, "s"),
			Plugins: []pluginhost.Plugin{{Kind: plugin.Scheduler, Name: "price", Config: struct{}{}}},
		})
		if err != nil {
			return err
		}
		defer stop()
		const nodes, pods, classes = 5000, 10_000, 10
		if err := c.nodes(nodes, "32"); err != nil {
			return err
		}
		if err := each(pods, func(i int) error {
			return c.Create(ctx, corePod(fmt.Sprintf("pod-%d", i), func(p *corev1.Pod) { p.Labels["class"] = fmt.Sprint(i % classes) }))
		}); err != nil {
			return err
		}
		settings := config.Default()
		settings.Profiles[0].Plugins = []config.Plugin{{Name: "price", Filter: true, Score: true, Weight: 1}}
		return c.measured(ctx, "the same, 5000 nodes, a plugin", "pod-", pods, func() error {
			c.scheduleWith(settings, hosted{host})
			return nil
		})
	})
}

// hosted shows a plugin host to the scheduler.
type hosted struct{ host *pluginhost.Host }

// Judge implements scheduler.Plugins.
func (h hosted) Judge(name string, _ []byte) (contract.Judge, error) { return h.host.Judge(name) }
