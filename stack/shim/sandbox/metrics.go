package sandbox

import (
	"fmt"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
)

// usage is what everything in a pod's cgroup uses, in the form of the kind of cgroups that the machine has.
func usage(path string) (any, error) {
	if cgroups.Mode() == cgroups.Unified {
		cg, err := cgroup2.Load(path)
		if err != nil {
			return nil, fmt.Errorf("load cgroup %s: %w", path, err)
		}
		return cg.StatFiltered(cgroup2.StatCPU | cgroup2.StatMemory)
	}
	cg, err := cgroup1.Load(cgroup1.StaticPath(path))
	if err != nil {
		return nil, fmt.Errorf("load cgroup %s: %w", path, err)
	}
	return cg.Stat(cgroup1.IgnoreNotExist)
}
