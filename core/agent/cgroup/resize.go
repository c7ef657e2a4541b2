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

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits are what a cgroup has. NoLimit stands where it has none.
type Limits struct {
	CPUShares, CPUQuota, Memory int64
}

// NoLimit is more than every limit.
const NoLimit = math.MaxInt64

// Part is what of a cgroup is written at a time.
type Part int

// The parts. Memory that is asked for leaves no trace in a cgroup.
const (
	CPURequest Part = iota
	CPULimit
	Memory
)

var parts = map[string]Part{
	"cpu.shares": CPURequest, "cpu.weight": CPURequest,
	"cpu.cfs_period_us": CPULimit, "cpu.cfs_quota_us": CPULimit, "cpu.max": CPULimit,
	"memory.limit_in_bytes": Memory, "memory.max": Memory,
}

// Set writes one part of the limits of a cgroup that exists. A limit that r does not have stays as it is.
func (t Tree) Set(cgroup string, part Part, r *runtimeapi.LinuxContainerResources) error {
	if t.V2() {
		return set(filepath.Join(t.mount(), cgroup), part, v2Writes(r))
	}
	for _, c := range []string{"cpu", "memory"} {
		dir, ok := t.controller(c)
		if !ok {
			continue
		}
		if err := set(filepath.Join(dir, cgroup), part, v1Writes(c, r)); err != nil {
			return err
		}
	}
	return nil
}

func set(dir string, part Part, files []file) error {
	for _, f := range files {
		if p, ok := parts[f.name]; !ok || p != part {
			continue
		}
		if err := write(dir, f); err != nil {
			return err
		}
	}
	return nil
}

// Read reads the limits of a cgroup. What the kernel does not tell is 0, or NoLimit.
func (t Tree) Read(cgroup string) (Limits, error) {
	if t.V2() {
		dir := filepath.Join(t.mount(), cgroup)
		weight, err := number(dir, "cpu.weight", 0)
		quota, err2 := number(dir, "cpu.max", NoLimit)
		memory, err3 := number(dir, "memory.max", NoLimit)
		return Limits{CPUShares: shares(weight), CPUQuota: quota, Memory: memory}, errors.Join(err, err2, err3)
	}
	cpu, memory := filepath.Join(t.mount(), "cpu", cgroup), filepath.Join(t.mount(), "memory", cgroup)
	out := Limits{}
	var errs [3]error
	out.CPUShares, errs[0] = number(cpu, "cpu.shares", 0)
	out.CPUQuota, errs[1] = number(cpu, "cpu.cfs_quota_us", NoLimit)
	out.Memory, errs[2] = number(memory, "memory.limit_in_bytes", NoLimit)
	return out, errors.Join(errs[:]...)
}

// MemoryUsage is how many bytes the processes of a cgroup have, with what the kernel keeps for them.
func (t Tree) MemoryUsage(cgroup string) (int64, error) {
	if t.V2() {
		return number(filepath.Join(t.mount(), cgroup), "memory.current", 0)
	}
	return number(filepath.Join(t.mount(), "memory", cgroup), "memory.usage_in_bytes", 0)
}

// unlimited is where cgroup v1 begins to mean no limit: the largest number of whole pages.
const unlimited = math.MaxInt64 - 1<<20

// number reads the first number of a file. What is not limited, and what the kernel does not have, is none.
func number(dir, name string, none int64) (int64, error) {
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Stat(dir); gone != nil {
			return none, fmt.Errorf("read cgroup: %w", err)
		}
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("read cgroup: %w", err)
	}
	word, _, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	if word == "max" {
		return none, nil
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return none, fmt.Errorf("read %s/%s: %w", dir, name, err)
	}
	if n < 0 || n >= unlimited {
		return none, nil
	}
	return n, nil
}

// shares turns a v2 weight back into v1 shares.
func shares(weight int64) int64 {
	if weight <= 0 {
		return 0
	}
	return 2 + (weight-1)*262142/9999
}
