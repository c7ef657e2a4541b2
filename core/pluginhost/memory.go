package pluginhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// memory is what a host keeps of Set for the next host, which must find all plugins that run.
type memory struct {
	// Configured are the plugins of the host's configuration at that time.
	Configured json.RawMessage `json:"configured"`
	Plugins    []remembered    `json:"plugins"`
}

// remembered keeps a plugin's configuration byte by byte: the process that runs with it is recognised by the digest.
type remembered struct {
	Plugin
	Config json.RawMessage
}

func (m memory) plugins() []Plugin {
	var out []Plugin
	for _, r := range m.Plugins {
		out = append(out, r.plugin())
	}
	return out
}

func (r remembered) plugin() Plugin {
	p := r.Plugin
	if p.Config = nil; len(r.Config) > 0 && string(r.Config) != "null" {
		p.Config = r.Config
	}
	return p
}

// keep is a plugin with its configuration as it was encoded.
func keep(p Plugin, config []byte) remembered {
	p.Config = nil
	return remembered{p, config}
}

func (c Config) memoryFile() string { return filepath.Join(c.StateDir, "plugins.json") }

func (c Config) remember(plugins []Plugin) error {
	configured, err := json.Marshal(c.Plugins)
	if err != nil {
		return fmt.Errorf("remember plugins: %w", err)
	}
	m := memory{Configured: configured}
	for _, p := range plugins {
		config, err := json.Marshal(p.Config)
		if err != nil {
			return fmt.Errorf("remember plugins: %w", err)
		}
		m.Plugins = append(m.Plugins, remembered{p, config})
	}
	content, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("remember plugins: %w", err)
	}
	if have, err := os.ReadFile(c.memoryFile()); err == nil && slices.Equal(have, content) {
		return nil
	}
	return replace(c.memoryFile(), content)
}

// recall returns the plugins to begin with.
func (c Config) recall() ([]Plugin, error) {
	content, err := os.ReadFile(c.memoryFile())
	if errors.Is(err, os.ErrNotExist) {
		return c.Plugins, nil
	}
	if err != nil {
		return nil, fmt.Errorf("recall plugins: %w", err)
	}
	var m memory
	if err := json.Unmarshal(content, &m); err != nil {
		return nil, fmt.Errorf("recall plugins from %s: %w", c.memoryFile(), err)
	}
	configured, err := json.Marshal(c.Plugins)
	if err != nil {
		return nil, fmt.Errorf("recall plugins: %w", err)
	}
	if slices.Equal(configured, m.Configured) {
		plugins := m.plugins()
		return plugins, check(plugins)
	}
	out := slices.Clone(c.Plugins)
	for _, p := range m.plugins() {
		if !slices.ContainsFunc(c.Plugins, func(q Plugin) bool { return q.Kind == p.Kind && q.Name == p.Name }) {
			out = append(out, p)
		}
	}
	return out, check(out)
}
