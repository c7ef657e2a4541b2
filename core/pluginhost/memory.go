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
	Plugins    []Plugin        `json:"plugins"`
}

func (c Config) memoryFile() string { return filepath.Join(c.StateDir, "plugins.json") }

func (c Config) remember(plugins []Plugin) error {
	configured, err := json.Marshal(c.Plugins)
	if err != nil {
		return fmt.Errorf("remember plugins: %w", err)
	}
	content, err := json.Marshal(memory{configured, plugins})
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
		return m.Plugins, check(m.Plugins)
	}
	out := slices.Clone(c.Plugins)
	for _, p := range m.Plugins {
		if !slices.ContainsFunc(c.Plugins, func(q Plugin) bool { return q.Kind == p.Kind && q.Name == p.Name }) {
			out = append(out, p)
		}
	}
	return out, check(out)
}
