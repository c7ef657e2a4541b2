// Package cgroup keeps the cgroups that pods live in: kubepods, its QoS classes and one for each pod, on cgroup v1 and
// v2. Containers' own cgroups below them are the runtime's.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Tree is the part of the machine's cgroups that belongs to pods.
type Tree struct {
	// Mount is where cgroups are mounted, /sys/fs/cgroup when empty.
	Mount string
	// Root is the cgroup below which kubepods is made, "/" when empty.
	Root string
}

func (t Tree) mount() string {
	if t.Mount == "" {
		return "/sys/fs/cgroup"
	}
	return t.Mount
}

// V2 tells whether the machine has the unified hierarchy only.
func (t Tree) V2() bool {
	_, err := os.Stat(filepath.Join(t.mount(), "cgroup.controllers"))
	return err == nil
}

// Base is the cgroup of all pods.
func (t Tree) Base() string { return filepath.Join("/", t.Root, "kubepods") }

// Parent is the cgroup of one pod, as CRI wants it.
func (t Tree) Parent(class corev1.PodQOSClass, uid string) string {
	switch class {
	case corev1.PodQOSBestEffort:
		return filepath.Join(t.Base(), "besteffort", "pod"+uid)
	case corev1.PodQOSBurstable:
		return filepath.Join(t.Base(), "burstable", "pod"+uid)
	}
	return filepath.Join(t.Base(), "pod"+uid)
}

// Ensure makes a pod's cgroup with its limits. It is idempotent.
func (t Tree) Ensure(cgroup string, r *runtimeapi.LinuxContainerResources) error {
	if t.V2() {
		return t.ensureV2(cgroup, r)
	}
	for _, c := range []string{"cpu", "memory", "pids", "hugetlb"} {
		dir, ok := t.controller(c)
		if !ok {
			continue
		}
		dir = filepath.Join(dir, cgroup)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make cgroup %s: %w", dir, err)
		}
		for _, w := range v1Writes(c, r) {
			if err := write(dir, w); err != nil {
				return err
			}
		}
	}
	return nil
}

type file struct{ name, value string }

func v1Writes(controller string, r *runtimeapi.LinuxContainerResources) []file {
	var out []file
	switch controller {
	case "cpu":
		out = append(out, file{"cpu.shares", strconv.FormatInt(r.CpuShares, 10)})
		if r.CpuQuota > 0 {
			out = append(out, file{"cpu.cfs_period_us", strconv.FormatInt(r.CpuPeriod, 10)},
				file{"cpu.cfs_quota_us", strconv.FormatInt(r.CpuQuota, 10)})
		}
	case "memory":
		if r.MemoryLimitInBytes > 0 {
			out = append(out, file{"memory.limit_in_bytes", strconv.FormatInt(r.MemoryLimitInBytes, 10)})
		}
	case "hugetlb":
		for _, h := range r.HugepageLimits {
			out = append(out, file{"hugetlb." + h.PageSize + ".limit_in_bytes", strconv.FormatUint(h.Limit, 10)})
		}
	}
	return out
}

func (t Tree) ensureV2(cgroup string, r *runtimeapi.LinuxContainerResources) error {
	dir := t.mount()
	for _, part := range strings.Split(strings.Trim(cgroup, "/"), "/") {
		t.delegate(dir)
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make cgroup %s: %w", dir, err)
		}
	}
	t.delegate(dir)
	for _, w := range v2Writes(r) {
		if err := write(dir, w); err != nil {
			return err
		}
	}
	return nil
}

func v2Writes(r *runtimeapi.LinuxContainerResources) []file {
	out := []file{{"cpu.weight", strconv.FormatInt(Weight(r.CpuShares), 10)}}
	if r.CpuQuota > 0 {
		out = append(out, file{"cpu.max", fmt.Sprintf("%d %d", r.CpuQuota, r.CpuPeriod)})
	}
	if r.MemoryLimitInBytes > 0 {
		out = append(out, file{"memory.max", strconv.FormatInt(r.MemoryLimitInBytes, 10)})
	}
	for _, h := range r.HugepageLimits {
		out = append(out, file{"hugetlb." + h.PageSize + ".max", strconv.FormatUint(h.Limit, 10)})
	}
	return out
}

// Weight turns v1 shares (2 to 262144) into a v2 weight (1 to 10000) as runc 1.5 and the kubelet do for containers: by the curve
// through the ends of both that makes the default, 1024, the default, 100.
func Weight(shares int64) int64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return int64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7./34)))
}

// delegate enables controllers for the children of a cgroup. A controller that cannot be enabled is left out.
func (t Tree) delegate(dir string) {
	for _, c := range []string{"+cpu", "+memory", "+pids", "+hugetlb", "+io", "+cpuset"} {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(c), 0o644)
	}
}

// write sets one limit; a file that the kernel does not have is no error.
func write(dir string, f file) error {
	err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.value), 0o644)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) && f.name == "cpu.weight" {
		return nil
	}
	return fmt.Errorf("write %s to %s/%s: %w", f.value, dir, f.name, err)
}

func (t Tree) controller(name string) (string, bool) {
	dir := filepath.Join(t.mount(), name)
	_, err := os.Stat(dir)
	return dir, err == nil
}

// hierarchies are the directories below which a cgroup may exist.
func (t Tree) hierarchies() []string {
	if t.V2() {
		return []string{t.mount()}
	}
	entries, _ := os.ReadDir(t.mount())
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(t.mount(), e.Name()))
		}
	}
	return out
}

// Remove removes a cgroup and those below it from every hierarchy. What does not exist is no error; a cgroup with
// processes in it is one.
func (t Tree) Remove(cgroup string) error {
	var errs []error
	for _, h := range t.hierarchies() {
		errs = append(errs, remove(filepath.Join(h, cgroup)))
	}
	return errors.Join(errs...)
}

func remove(dir string) error {
	err := syscall.Rmdir(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	entries, readErr := os.ReadDir(dir)
	if readErr != nil {
		return fmt.Errorf("remove cgroup %s: %w", dir, err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cgroup %s: %w", dir, err)
	}
	return nil
}

// Pods lists the pods that have a cgroup, by uid, with their cgroups.
func (t Tree) Pods() map[string]string {
	out := map[string]string{}
	for _, h := range t.hierarchies() {
		for _, class := range []string{"", "besteffort", "burstable"} {
			entries, _ := os.ReadDir(filepath.Join(h, t.Base(), class))
			for _, e := range entries {
				if uid, ok := strings.CutPrefix(e.Name(), "pod"); ok && e.IsDir() {
					out[uid] = filepath.Join(t.Base(), class, e.Name())
				}
			}
		}
	}
	return out
}

// RemoveBase removes kubepods itself when no pod is left, and Root when nothing else is in it.
func (t Tree) RemoveBase() error {
	if err := t.Remove(t.Base()); err != nil {
		return err
	}
	for _, h := range t.hierarchies() {
		for root := filepath.Join("/", t.Root); root != "/"; root = filepath.Dir(root) {
			if syscall.Rmdir(filepath.Join(h, root)) != nil {
				break
			}
		}
	}
	return nil
}
