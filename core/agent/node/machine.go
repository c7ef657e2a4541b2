// Package node makes the Node object of a machine and keeps it true: what the machine has, whether it can run pods, and
// the lease that tells that the agent lives.
package node

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Machine is what a node has.
type Machine struct {
	Capacity corev1.ResourceList
	Info     corev1.NodeSystemInfo
}

// Discover reads what the machine has. The directory tells which file system holds pods' data.
func Discover(dir string) Machine {
	m := Machine{Capacity: corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(memory(), resource.BinarySI),
	}}
	if size := fileSystem(dir); size > 0 {
		m.Capacity[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(size, resource.BinarySI)
	}
	hugepages(m.Capacity)
	m.Info = corev1.NodeSystemInfo{
		MachineID: word("/etc/machine-id", "/var/lib/dbus/machine-id"), SystemUUID: strings.ToLower(word("/sys/class/dmi/id/product_uuid")),
		BootID: word("/proc/sys/kernel/random/boot_id"), KernelVersion: word("/proc/sys/kernel/osrelease"),
		OSImage: osImage(), OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH,
	}
	if m.Info.SystemUUID == "" {
		m.Info.SystemUUID = m.Info.MachineID
	}
	return m
}

func word(paths ...string) string {
	for _, p := range paths {
		if raw, err := os.ReadFile(p); err == nil {
			return strings.TrimSpace(string(raw))
		}
	}
	return ""
}

// memory is the memory of the machine, or of the cgroup v2 or v1 root that limits it.
func memory() int64 {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer file.Close()
	for sc := bufio.NewScanner(file); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) >= 2 && f[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

func fileSystem(dir string) int64 {
	for ; ; dir = filepath.Dir(dir) {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil {
			return int64(st.Blocks) * st.Bsize
		}
		if dir == "/" || dir == "." {
			return 0
		}
	}
}

func hugepages(out corev1.ResourceList) {
	entries, _ := os.ReadDir("/sys/kernel/mm/hugepages")
	for _, e := range entries {
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB"), 10, 64)
		if err != nil {
			continue
		}
		n, _ := strconv.ParseInt(word(filepath.Join("/sys/kernel/mm/hugepages", e.Name(), "nr_hugepages")), 10, 64)
		size := resource.NewQuantity(kib<<10, resource.BinarySI)
		out[corev1.ResourceName(corev1.ResourceHugePagesPrefix+size.String())] = *resource.NewQuantity(n*kib<<10, resource.BinarySI)
	}
}

func osImage() string {
	raw, _ := os.ReadFile("/etc/os-release")
	for _, line := range strings.Split(string(raw), "\n") {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return "Linux"
}

// Addresses finds the machine's first global unicast address of each family.
func Addresses() []string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var v4, v6 string
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		switch {
		case n.IP.To4() != nil && v4 == "":
			v4 = n.IP.String()
		case n.IP.To4() == nil && v6 == "":
			v6 = n.IP.String()
		}
	}
	var out []string
	for _, ip := range []string{v4, v6} {
		if ip != "" {
			out = append(out, ip)
		}
	}
	return out
}
