package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestParent(t *testing.T) {
	tree := Tree{Root: "r"}
	for class, want := range map[corev1.PodQOSClass]string{
		corev1.PodQOSGuaranteed: "/r/kubepods/podu", corev1.PodQOSBurstable: "/r/kubepods/burstable/podu", corev1.PodQOSBestEffort: "/r/kubepods/besteffort/podu",
	} {
		if got := tree.Parent(class, "u"); got != want {
			t.Errorf("%s: %s, want %s", class, got, want)
		}
	}
}

func TestWrites(t *testing.T) {
	r := &runtimeapi.LinuxContainerResources{
		CpuShares: 1024, CpuQuota: 50000, CpuPeriod: 100000, MemoryLimitInBytes: 1 << 20,
		HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 4 << 20}},
	}
	v2 := []file{{"cpu.weight", "100"}, {"cpu.max", "50000 100000"}, {"memory.max", "1048576"}, {"hugetlb.2MB.max", "4194304"}}
	if diff := cmp.Diff(v2, v2Writes(r), cmp.AllowUnexported(file{})); diff != "" {
		t.Error(diff)
	}
	v1 := []file{{"cpu.shares", "1024"}, {"cpu.cfs_period_us", "100000"}, {"cpu.cfs_quota_us", "50000"}}
	if diff := cmp.Diff(v1, v1Writes("cpu", r), cmp.AllowUnexported(file{})); diff != "" {
		t.Error(diff)
	}
}

func TestWeight(t *testing.T) {
	for shares, want := range map[int64]int64{0: 1, 2: 1, 102: 17, 1024: 100, 262144: 10000, 300000: 10000} {
		if got := Weight(shares); got != want {
			t.Errorf("%d: %d, want %d", shares, got, want)
		}
	}
}

// TestPodsAreFoundAndRemoved works on a folder that looks like the hierarchies of cgroup v1.
func TestPodsAreFoundAndRemoved(t *testing.T) {
	mount := t.TempDir()
	tree := Tree{Mount: mount, Root: "r"}
	for _, dir := range []string{"cpu/r/other", "memory/r/kubepods/burstable/podb/container", "pids/r/kubepods/poda"} {
		if err := os.MkdirAll(filepath.Join(mount, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]string{"a": "/r/kubepods/poda", "b": "/r/kubepods/burstable/podb"}, tree.Pods()); diff != "" {
		t.Error(diff)
	}
	if err := tree.RemoveBase(); err != nil {
		t.Fatal(err)
	}
	if err := tree.RemoveBase(); err != nil {
		t.Errorf("a second time: %v", err)
	}
	for dir, want := range map[string]bool{"cpu/r/other": true, "memory/r": false, "pids/r": false} {
		if _, err := os.Stat(filepath.Join(mount, dir)); (err == nil) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if got := tree.Pods(); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}
