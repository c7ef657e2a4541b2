package containerd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func sandboxWith(s *runtimeapi.LinuxSandboxSecurityContext) *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: s}}
}

func TestPauses(t *testing.T) {
	const perContainer, perPod, node = runtimeapi.NamespaceMode_CONTAINER, runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_NODE
	for name, test := range map[string]struct {
		security *runtimeapi.LinuxSandboxSecurityContext
		want     bool
	}{
		"a PID namespace each":    {&runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Pid: perContainer}}, false},
		"the node's":              {&runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Pid: node}}, false},
		"a shared one":            {&runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Pid: perPod}}, true},
		"nothing said is a pod's": {&runtimeapi.LinuxSandboxSecurityContext{}, true},
		"the node's user namespace": {&runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{
			Pid: perContainer, UsernsOptions: &runtimeapi.UserNamespace{Mode: node},
		}}, false},
		"a user namespace": {&runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{
			Pid: perContainer, UsernsOptions: &runtimeapi.UserNamespace{Mode: perPod},
		}}, true},
		"an SELinux label": {&runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Pid: perContainer}, SelinuxOptions: &runtimeapi.SELinuxOption{Level: "s0:c1,c2"},
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pauses(sandboxWith(test.security)); got != test.want {
				t.Errorf("it needs a process: %v, want %v", got, test.want)
			}
		})
	}
}

// The files of a pod that uses the node's IPC namespace need no mount.
func TestProvide(t *testing.T) {
	c := good(t)
	c.State = t.TempDir()
	pod := sandboxWith(&runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Ipc: runtimeapi.NamespaceMode_NODE}})
	pod.Hostname = "chosen"
	pod.DnsConfig = &runtimeapi.DNSConfig{
		Servers: []string{"10.0.0.10", "10.0.0.11"}, Searches: []string{"a.local", "local"}, Options: []string{"ndots:5", "edns0"},
	}
	dir := filepath.Join(c.State, "sandboxes", "x")
	want := []*runtimeapi.Mount{
		{ContainerPath: "/etc/hostname", HostPath: filepath.Join(dir, "hostname"), SelinuxRelabel: true},
		{ContainerPath: "/etc/resolv.conf", HostPath: filepath.Join(dir, "resolv.conf"), SelinuxRelabel: true},
		{ContainerPath: "/dev/shm", HostPath: "/dev/shm"},
	}
	for range 2 {
		got, err := c.provide("x", pod)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
			t.Errorf("mounts (-want +got):\n%s", d)
		}
		for name, want := range map[string]string{
			"hostname":    "chosen\n",
			"resolv.conf": "search a.local local\nnameserver 10.0.0.10\nnameserver 10.0.0.11\noptions ndots:5 edns0\n",
		} {
			if have, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(have) != want {
				t.Errorf("%s is %q, want %q: %v", name, have, want, err)
			}
		}
		pod.Hostname = "another" // What is there stays: containers have it mounted.
	}
	for range 2 {
		if err := c.discard("x"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("the folder is still there: %v", err)
		}
	}
	if err := c.discard(".."); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(c.State); err != nil {
		t.Errorf("more than a sandbox's folder was removed: %v", err)
	}
}

func TestAbsent(t *testing.T) {
	files := func() []*runtimeapi.Mount {
		return []*runtimeapi.Mount{{ContainerPath: "/etc/hostname"}, {ContainerPath: "/etc/resolv.conf"}, {ContainerPath: "/dev/shm"}}
	}
	for name, test := range map[string]struct {
		config *runtimeapi.ContainerConfig
		want   []*runtimeapi.Mount
	}{
		"none of its own": {&runtimeapi.ContainerConfig{Mounts: []*runtimeapi.Mount{{ContainerPath: "/etc/hosts"}}}, files()},
		"some of its own": {
			&runtimeapi.ContainerConfig{Mounts: []*runtimeapi.Mount{{ContainerPath: "/dev/shm/"}, {ContainerPath: "/etc/resolv.conf"}}},
			[]*runtimeapi.Mount{{ContainerPath: "/etc/hostname"}},
		},
		"read-only root": {
			&runtimeapi.ContainerConfig{Linux: &runtimeapi.LinuxContainerConfig{
				SecurityContext: &runtimeapi.LinuxContainerSecurityContext{ReadonlyRootfs: true},
			}},
			[]*runtimeapi.Mount{{ContainerPath: "/etc/hostname", Readonly: true}, {ContainerPath: "/etc/resolv.conf", Readonly: true}, {ContainerPath: "/dev/shm"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(test.want, absent(files(), test.config), protocmp.Transform()); d != "" {
				t.Errorf("mounts (-want +got):\n%s", d)
			}
		})
	}
}
