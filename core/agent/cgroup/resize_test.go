package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// tree is a folder that looks like a machine's cgroups with one cgroup "p" in them.
func tree(t *testing.T, files map[string]string) Tree {
	t.Helper()
	mount := t.TempDir()
	for name, value := range files {
		path := filepath.Join(mount, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Tree{Mount: mount}
}

func v1(shares, quota, memory string) map[string]string {
	return map[string]string{
		"cpu/p/cpu.shares": shares, "cpu/p/cpu.cfs_quota_us": quota, "cpu/p/cpu.cfs_period_us": "100000",
		"memory/p/memory.limit_in_bytes": memory, "memory/p/memory.usage_in_bytes": "77",
	}
}

func v2(weight, max, memory string) map[string]string {
	return map[string]string{
		"cgroup.controllers": "cpu memory", "p/cpu.weight": weight, "p/cpu.max": max, "p/memory.max": memory, "p/memory.current": "77",
	}
}

func TestRead(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  Limits
	}{
		"v1":               {v1("1024", "50000", "1048576"), Limits{1024, 50000, 1048576}},
		"v1 without limit": {v1("2", "-1", "9223372036854771712"), Limits{2, NoLimit, NoLimit}},
		"v2":               {v2("10000", "50000 100000", "1048576"), Limits{262144, 50000, 1048576}},
		"v2 without limit": {v2("1", "max 100000", "max"), Limits{2, NoLimit, NoLimit}},
	} {
		t.Run(name, func(t *testing.T) {
			tree := tree(t, tc.files)
			got, err := tree.Read("/p")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if used, err := tree.MemoryUsage("/p"); err != nil || used != 77 {
				t.Errorf("%d bytes are used: %v", used, err)
			}
			if _, err := tree.Read("/q"); err == nil {
				t.Error("a cgroup that is not there was read")
			}
		})
	}
}

func TestSet(t *testing.T) {
	want := &runtimeapi.LinuxContainerResources{CpuShares: 512, CpuQuota: 20000, CpuPeriod: 100000, MemoryLimitInBytes: 4096}
	for name, files := range map[string]map[string]string{"v1": v1("2", "-1", "9223372036854771712"), "v2": v2("1", "max 100000", "max")} {
		t.Run(name, func(t *testing.T) {
			tree := tree(t, files)
			now := Limits{2, NoLimit, NoLimit}
			for _, step := range []struct {
				part   Part
				change func()
			}{
				{Memory, func() { now.Memory = 4096 }},
				{CPULimit, func() { now.CPUQuota = 20000 }},
				{CPURequest, func() { now.CPUShares = 512 }},
			} {
				if err := tree.Set("/p", step.part, want); err != nil {
					t.Fatal(err)
				}
				step.change()
				got, err := tree.Read("/p")
				if name == "v2" && got.CPUShares >= 500 { // weights are coarse
					got.CPUShares = 512
				}
				if diff := cmp.Diff(now, got); diff != "" || err != nil {
					t.Errorf("%v %s", err, diff)
				}
			}
			if err := tree.Set("/p", Memory, &runtimeapi.LinuxContainerResources{}); err != nil {
				t.Fatal(err)
			}
			if got, _ := tree.Read("/p"); got.Memory != 4096 {
				t.Errorf("no limit made it %d", got.Memory)
			}
		})
	}
}
