package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/cgroup"
	"github.com/gantryio/gantry/core/agent/pod"
	"github.com/gantryio/gantry/interfaces/runtime"
)

// observer is a runtime that looks at the pod's cgroup whenever a container gets another size.
type observer struct {
	runtime.Runtime
	tree cgroup.Tree
	path string
	used uint64
	seen []string
	// told is what it was told of the pod, to which it answers.
	told   []string
	answer error
}

func (o *observer) UpdateContainerResources(_ context.Context, in *runtimeapi.UpdateContainerResourcesRequest, _ ...grpc.CallOption) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	have, err := o.tree.Read(o.path)
	r := in.GetLinux()
	o.seen = append(o.seen, fmt.Sprintf("%s memory=%d quota=%d shares=%d in memory=%d quota=%d",
		in.GetContainerId(), r.GetMemoryLimitInBytes(), r.GetCpuQuota(), r.GetCpuShares(), have.Memory, have.CPUQuota))
	return &runtimeapi.UpdateContainerResourcesResponse{}, err
}

func (o *observer) UpdatePodSandboxResources(_ context.Context, in *runtimeapi.UpdatePodSandboxResourcesRequest, _ ...grpc.CallOption) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	r := in.GetResources()
	o.told = append(o.told, fmt.Sprintf("memory=%d quota=%d shares=%d", r.GetMemoryLimitInBytes(), r.GetCpuQuota(), r.GetCpuShares()))
	return nil, o.answer
}

func (o *observer) ContainerStats(context.Context, *runtimeapi.ContainerStatsRequest, ...grpc.CallOption) (*runtimeapi.ContainerStatsResponse, error) {
	return &runtimeapi.ContainerStatsResponse{Stats: &runtimeapi.ContainerStats{Memory: &runtimeapi.MemoryUsage{UsageBytes: &runtimeapi.UInt64Value{Value: o.used}}}}, nil
}

// shrinkAndGrow is a pod whose first container has shrunk and whose second one has grown.
func shrinkAndGrow(sizes ...[2]int64) (*corev1.Pod, []pod.Update) {
	p := testPod("p")
	p.UID, p.Spec.Containers = "u", nil
	p.Status.QOSClass = corev1.PodQOSGuaranteed
	for i, s := range sizes {
		c := corev1.Container{Name: fmt.Sprint("c", i)}
		list := corev1.ResourceList{
			corev1.ResourceCPU: *resource.NewMilliQuantity(s[0], resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(s[1], resource.BinarySI),
		}
		c.Resources = corev1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	var updates []pod.Update
	from := pod.Size{CPURequest: 100, CPULimit: 100, MemoryRequest: 1000, MemoryLimit: 1000}
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		updates = append(updates, pod.Update{ID: c.Name, Name: c.Name, From: from, To: pod.SizeOf(p, c)})
	}
	return p, updates
}

func TestResizeOrder(t *testing.T) {
	for _, tc := range []struct {
		name  string
		v2    bool
		sizes [][2]int64
		want  []string
		left  cgroup.Limits
	}{
		{
			name: "growing", sizes: [][2]int64{{50, 500}, {300, 3000}}, left: cgroup.Limits{CPUShares: 358, CPUQuota: 35000, Memory: 3500},
			want: []string{
				"c0 memory=500 quota=10000 shares=102 in memory=3500 quota=20000", "c1 memory=3000 quota=10000 shares=102 in memory=3500 quota=20000",
				"c0 memory=500 quota=5000 shares=51 in memory=3500 quota=35000", "c1 memory=3000 quota=30000 shares=307 in memory=3500 quota=35000",
			},
		},
		{
			name: "shrinking", v2: true, sizes: [][2]int64{{110, 1100}, {20, 200}}, left: cgroup.Limits{CPUQuota: 13000, Memory: 1300},
			want: []string{
				"c1 memory=200 quota=10000 shares=102 in memory=2000 quota=20000", "c0 memory=1100 quota=10000 shares=102 in memory=2000 quota=20000",
				"c1 memory=200 quota=2000 shares=20 in memory=1300 quota=20000", "c0 memory=1100 quota=11000 shares=112 in memory=1300 quota=20000",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, updates := shrinkAndGrow(tc.sizes...)
			a := &Agent{cgroups: tempTree(t, tc.v2)}
			path := a.cgroups.Parent(corev1.PodQOSGuaranteed, "u")
			if err := a.cgroups.Ensure(path, &runtimeapi.LinuxContainerResources{CpuShares: 204, CpuQuota: 20000, CpuPeriod: 100000, MemoryLimitInBytes: 2000}); err != nil {
				t.Fatal(err)
			}
			o := &observer{tree: a.cgroups, path: path, answer: status.Error(codes.Unimplemented, "too old")}
			r := resizing{a: a, pod: p, runtime: o, updates: updates, given: map[string]pod.Size{}}
			if err := r.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, o.seen); diff != "" {
				t.Error(diff)
			}
			if last := o.told[len(o.told)-1]; len(o.told) != 3 || !strings.HasPrefix(last, fmt.Sprintf("memory=%d quota=%d shares=", tc.left.Memory, tc.left.CPUQuota)) {
				t.Errorf("the runtime was told %q", o.told)
			}
			got, err := a.cgroups.Read(path)
			if tc.v2 {
				got.CPUShares = 0 // weights are coarse
			}
			if diff := cmp.Diff(tc.left, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
			for _, u := range updates {
				if diff := cmp.Diff(u.To, r.given[u.ID]); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestRuntimeMayRefuseAResize(t *testing.T) {
	p, updates := shrinkAndGrow([2]int64{300, 3000})
	a := &Agent{cgroups: tempTree(t, false)}
	path := a.cgroups.Parent(corev1.PodQOSGuaranteed, "u")
	if err := a.cgroups.Ensure(path, &runtimeapi.LinuxContainerResources{CpuShares: 102, CpuQuota: 10000, CpuPeriod: 100000, MemoryLimitInBytes: 1000}); err != nil {
		t.Fatal(err)
	}
	o := &observer{tree: a.cgroups, path: path, answer: status.Error(codes.FailedPrecondition, "not that one")}
	r := resizing{a: a, pod: p, runtime: o, updates: updates, given: map[string]pod.Size{}}
	if err := r.run(t.Context()); err == nil || !strings.Contains(err.Error(), "not that one") {
		t.Errorf("got %v", err)
	}
	if got, err := a.cgroups.Read(path); err != nil || got.Memory != 1000 || len(o.seen) > 0 {
		t.Errorf("all the same there is %+v and %v: %v", got, o.seen, err)
	}
}

func TestResizeBelowWhatIsUsed(t *testing.T) {
	p, updates := shrinkAndGrow([2]int64{100, 600}, [2]int64{100, 600})
	a := &Agent{cgroups: tempTree(t, false)}
	path := a.cgroups.Parent(corev1.PodQOSGuaranteed, "u")
	if err := a.cgroups.Ensure(path, &runtimeapi.LinuxContainerResources{CpuShares: 2, MemoryLimitInBytes: 2000}); err != nil {
		t.Fatal(err)
	}
	usage := filepath.Join(a.cgroups.Mount, "memory", path, "memory.usage_in_bytes")
	for _, tc := range []struct {
		pod       string
		container uint64
		want      string
	}{
		{"1300", 300, "cannot decrease memory limits: attempting to set pod memory limit (1200) below current usage (1300)"},
		{"900", 700, `attempting to set container "c0" memory limit (600) below current usage (700)`},
		{"900", 500, ""},
	} {
		if err := os.WriteFile(usage, []byte(tc.pod), 0o600); err != nil {
			t.Fatal(err)
		}
		o := &observer{tree: a.cgroups, path: path, used: tc.container}
		r := resizing{a: a, pod: p, runtime: o, updates: updates, given: map[string]pod.Size{}}
		err := r.run(t.Context())
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || len(o.seen) > 0) {
			t.Errorf("got %v after %v, want %q", err, o.seen, tc.want)
		}
	}
}

func tempTree(t *testing.T, v2 bool) cgroup.Tree {
	t.Helper()
	mount := t.TempDir()
	names := []string{"cpu", "memory"}
	if v2 {
		names = nil
		if err := os.WriteFile(filepath.Join(mount, "cgroup.controllers"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		if err := os.Mkdir(filepath.Join(mount, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return cgroup.Tree{Mount: mount}
}
