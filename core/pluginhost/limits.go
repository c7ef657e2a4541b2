package pluginhost

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/cgroup"
	"github.com/gantryio/gantry/interfaces/plugin/process"
)

// supervisedGroup is the cgroup of what plugins supervise. It has no limits.
const supervisedGroup = "supervised"

// limit puts a process into a cgroup of its own, and says why that has no limits if so.
func (c Config) limit(ref Ref, p Plugin, id process.ID) (group, unlimited string) {
	if c.Cgroups == nil || ref.Kind == "" {
		return "", ""
	}
	group = fmt.Sprintf("%s-%s-%d", ref.Kind, ref.Name, id.PID)
	dirs, err := c.Cgroups.Make(group, p.Limits)
	if err == nil {
		err = cgroup.Enter(dirs, id.PID)
	}
	if err != nil {
		slog.Warn("plugin has no limits", "plugin", ref, "error", err)
		c.removeCgroup(group)
		return "", err.Error()
	}
	return group, ""
}

// allotted tells a plugin how many CPUs its limit comes to.
func allotted(l cgroup.Limits) []string {
	if l.CPUMillis <= 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s=%d", plugin.CPUsVariable, (l.CPUMillis+999)/1000)}
}

// supervised tells a plugin where to put what it supervises.
func (c Config) supervised() []string {
	if c.Cgroups == nil {
		return nil
	}
	dirs, err := c.Cgroups.Make(supervisedGroup, cgroup.Limits{})
	if err != nil {
		return nil // Then there are no limits either.
	}
	return []string{plugin.SupervisedVariable + "=" + strings.Join(dirs, ":")}
}

func (c Config) removeCgroup(group string) {
	if c.Cgroups != nil && group != "" {
		_ = c.Cgroups.Remove(filepath.Base(group)) // It is swept later where that fails.
	}
}

func (c Config) outOfMemory(s *session) bool {
	return c.Cgroups != nil && s.cgroup != "" && c.Cgroups.OutOfMemory(s.cgroup)
}
