package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gantryio/gantry/core/client"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/run"
	"github.com/gantryio/gantry/core/scheduler"
	schedconfig "github.com/gantryio/gantry/core/scheduler/config"
	"github.com/gantryio/gantry/interfaces/plugin"
	contract "github.com/gantryio/gantry/interfaces/scheduler"
)

// newScheduler makes the scheduler, and the host of the plugins that its configuration names; nil when it
// names none.
func (s *server) newScheduler(ctx context.Context) (*scheduler.Scheduler, run.Runner, error) {
	as := s.client.As("scheduler")
	sched := &scheduler.Scheduler{Client: as, Cache: s.clientCache, Recorder: client.NewRecorder(ctx, as, "default-scheduler", "")}
	if s.schedulerConfig == "" {
		return sched, nil, nil
	}
	data, err := os.ReadFile(s.schedulerConfig)
	if err != nil {
		return nil, nil, fmt.Errorf("read the scheduler's configuration: %w", err)
	}
	if sched.Config, err = schedconfig.Parse(data); err != nil {
		return nil, nil, err
	}
	var plugins []pluginhost.Plugin
	known := map[string][]byte{}
	for _, profile := range sched.Config.Profiles {
		for _, p := range profile.Plugins {
			if have, ok := known[p.Name]; ok {
				if string(have) != string(p.Args) {
					return nil, nil, fmt.Errorf("check the scheduler's configuration: plugin %s has different arguments in two profiles", p.Name)
				}
				continue
			}
			known[p.Name] = p.Args
			var args any = struct{}{}
			if len(p.Args) > 0 {
				args = json.RawMessage(p.Args)
			}
			plugins = append(plugins, pluginhost.Plugin{Kind: plugin.Scheduler, Name: p.Name, Config: args})
		}
	}
	if len(plugins) == 0 {
		return sched, nil, nil
	}
	bin, err := binDir()
	if err != nil {
		return nil, nil, err
	}
	host, err := pluginhost.New(s.schedulerHost(bin, plugins))
	if err != nil {
		return nil, nil, err
	}
	sched.Plugins = judges{host}
	return sched, run.Func(func(ctx context.Context) error { return runSchedulerPlugins(ctx, host) }), nil
}

func (c *config) schedulerHost(bin string, plugins []pluginhost.Plugin) pluginhost.Config {
	return pluginhost.Config{
		Dir: filepath.Join(bin, "plugins"), StateDir: c.path("scheduler-plugins"), RunDir: filepath.Join(c.runDir(), "s"), Plugins: plugins,
	}
}

// runSchedulerPlugins ends the plugins with the scheduler: nothing runs on that depends on them.
func runSchedulerPlugins(ctx context.Context, host *pluginhost.Host) error {
	err := host.Run(ctx)
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	return errors.Join(err, host.Stop(patience))
}

// stopSchedulerPlugins ends those that a scheduler left behind that was killed.
func (c *config) stopSchedulerPlugins(ctx context.Context) error {
	const prefix, suffix, arguments = string(plugin.Scheduler) + "-", ".json", ".config"
	files, err := filepath.Glob(filepath.Join(c.path("scheduler-plugins"), prefix+"*"+suffix))
	if err != nil || len(files) == 0 {
		return err
	}
	var plugins []pluginhost.Plugin
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), prefix), suffix)
		if strings.HasSuffix(name, arguments) {
			continue
		}
		var given any
		if data, err := os.ReadFile(strings.TrimSuffix(file, suffix) + arguments + suffix); err == nil {
			given = json.RawMessage(data)
		}
		plugins = append(plugins, pluginhost.Plugin{Kind: plugin.Scheduler, Name: name, Config: given})
	}
	bin, err := binDir()
	if err != nil {
		return err
	}
	host, err := pluginhost.New(c.schedulerHost(bin, plugins))
	if err != nil {
		return err
	}
	return host.Stop(ctx)
}

// judges shows the plugin host to the scheduler.
type judges struct{ host *pluginhost.Host }

var _ scheduler.Plugins = judges{}

// Judge implements scheduler.Plugins. The plugin has been configured by its host.
func (j judges) Judge(name string, _ []byte) (contract.Judge, error) { return j.host.Judge(name) }
