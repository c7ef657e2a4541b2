package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin/relay"
)

// The shim is a pod's sandbox itself (stack/shim/sandbox): no container pauses for it. containerd leaves the files that a
// pod's containers share to whoever makes such sandboxes. It removes what it does not know from its own folders, so they
// are in a folder of the plugin's.

const (
	handler = "runc"
	// pauseHandler is for pods that need a process that is there as long as they are: their sandbox is a container.
	pauseHandler = "runc-pause"

	service = "/runtime.v1.RuntimeService/"
)

// own are the methods of CRI that are not carried unread.
func (p *Plugin) own() map[string]grpc.StreamHandler {
	return map[string]grpc.StreamHandler{
		service + "RunPodSandbox":    relay.Unary(p.runPodSandbox),
		service + "CreateContainer":  relay.Unary(p.createContainer),
		service + "PodSandboxStatus": relay.Unary(p.podSandboxStatus),
		service + "StopContainer":    relay.Unary(p.stopContainer),
		service + "StopPodSandbox":   relay.Unary(p.stopPodSandbox),
		service + "RemovePodSandbox": relay.Unary(p.removePodSandbox),
	}
}

// pauses tells that a pod needs a sandbox container: its process is the init of a shared PID namespace, it owns a user
// namespace, or it has the SELinux label that the containers take over.
func pauses(c *runtimeapi.PodSandboxConfig) bool {
	security := c.GetLinux().GetSecurityContext()
	ns := security.GetNamespaceOptions()
	return ns.GetPid() == runtimeapi.NamespaceMode_POD || security.GetSelinuxOptions() != nil ||
		ns.GetUsernsOptions() != nil && ns.GetUsernsOptions().GetMode() == runtimeapi.NamespaceMode_POD
}

func (p *Plugin) runPodSandbox(ctx context.Context, in *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	if pauses(in.GetConfig()) && (in.GetRuntimeHandler() == "" || in.GetRuntimeHandler() == handler) {
		in.RuntimeHandler = pauseHandler
	}
	return p.cri.RunPodSandbox(ctx, in)
}

// createContainer gives the container the pod's files, unless the caller has some of its own.
func (p *Plugin) createContainer(ctx context.Context, in *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	if in.GetConfig() == nil || in.GetSandboxConfig() == nil || !validID(in.GetPodSandboxId()) {
		return nil, status.Error(codes.InvalidArgument, "container, sandbox or its configuration is missing")
	}
	if !pauses(in.GetSandboxConfig()) {
		p.files.Lock()
		files, err := p.config.provide(in.GetPodSandboxId(), in.GetSandboxConfig())
		p.files.Unlock()
		if err != nil {
			return nil, status.Errorf(codes.Internal, "make the files of sandbox %s: %v", in.GetPodSandboxId(), err)
		}
		in.Config.Mounts = append(in.Config.Mounts, absent(files, in.Config)...)
	}
	return settled(ctx, in, p.cri.CreateContainer)
}

func (p *Plugin) stopContainer(ctx context.Context, in *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	return settled(ctx, in, p.cri.StopContainer)
}

func (p *Plugin) podSandboxStatus(ctx context.Context, in *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	return settled(ctx, in, p.cri.PodSandboxStatus)
}

func (p *Plugin) stopPodSandbox(ctx context.Context, in *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	out, err := settled(ctx, in, p.cri.StopPodSandbox)
	if err != nil {
		return nil, err
	}
	if err := p.discard(in.GetPodSandboxId()); err != nil {
		return nil, err
	}
	return out, nil
}

// removePodSandbox discards the files first: as long as containerd knows the sandbox, a call that was cut off is made again.
func (p *Plugin) removePodSandbox(ctx context.Context, in *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	if err := p.discard(in.GetPodSandboxId()); err != nil {
		return nil, err
	}
	return settled(ctx, in, p.cri.RemovePodSandbox)
}

const (
	// settling is how long containerd may take to notice the end of a shim.
	settling = 5 * time.Second
	shimGone = "ttrpc: closed"
)

// settled makes a call again that met a shim which has just ended. Between that and its clean-up containerd fails calls
// with nothing but the words of its client; after it the sandbox is not ready or not there, and the call says so.
func settled[In, Out any](ctx context.Context, in *In, call func(context.Context, *In, ...grpc.CallOption) (*Out, error)) (*Out, error) {
	out, err := call(ctx, in)
	if err == nil || !strings.Contains(err.Error(), shimGone) {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond) // Nobody can be asked to tell.
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return out, err
		}
		if out, err = call(ctx, in); err == nil || !strings.Contains(err.Error(), shimGone) {
			return out, err
		}
	}
}

// validID keeps what is no identifier of containerd's out of paths.
func validID(id string) bool {
	return id != "" && id != "." && id != ".." && !strings.Contains(id, "/")
}

func (c Config) sandboxDir(id string) string { return filepath.Join(c.State, "sandboxes", id) }

const (
	hostnameFile = "/etc/hostname"
	resolvFile   = "/etc/resolv.conf"
	shmDir       = "/dev/shm"
	shmOptions   = "mode=1777,size=65536k" // as Docker and containerd have it
)

// provide makes the files that the containers of a pod share, if they are not there, and returns their mounts.
func (c Config) provide(id string, pod *runtimeapi.PodSandboxConfig) ([]*runtimeapi.Mount, error) {
	dir := c.sandboxDir(id)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	hostname := pod.GetHostname()
	if hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		hostname = name
	}
	resolv, err := resolvConf(pod.GetDnsConfig())
	if err != nil {
		return nil, err
	}
	shm := shmDir
	if pod.GetLinux().GetSecurityContext().GetNamespaceOptions().GetIpc() != runtimeapi.NamespaceMode_NODE {
		shm = filepath.Join(dir, "shm")
		if err := mountShm(shm); err != nil {
			return nil, err
		}
	}
	files := []*runtimeapi.Mount{
		{ContainerPath: hostnameFile, HostPath: filepath.Join(dir, "hostname"), SelinuxRelabel: true},
		{ContainerPath: resolvFile, HostPath: filepath.Join(dir, "resolv.conf"), SelinuxRelabel: true},
		{ContainerPath: shmDir, HostPath: shm, SelinuxRelabel: shm != shmDir},
	}
	for i, content := range []string{hostname + "\n", resolv} {
		if err := writeOnce(files[i].HostPath, content); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// absent leaves out what the container mounts itself, and makes files read-only where its root is.
func absent(files []*runtimeapi.Mount, c *runtimeapi.ContainerConfig) []*runtimeapi.Mount {
	readonly := c.GetLinux().GetSecurityContext().GetReadonlyRootfs()
	var out []*runtimeapi.Mount
	for _, f := range files {
		same := func(m *runtimeapi.Mount) bool { return filepath.Clean(m.GetContainerPath()) == f.ContainerPath }
		if slices.ContainsFunc(c.GetMounts(), same) {
			continue
		}
		f.Readonly = readonly && f.ContainerPath != shmDir
		out = append(out, f)
	}
	return out
}

// writeOnce leaves a file that is there: containers may have it mounted and may have changed it.
func writeOnce(path, content string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return replace(path, []byte(content), 0o644)
}

// resolvConf is the machine's file where the pod says nothing (resolv.conf(5)).
func resolvConf(dns *runtimeapi.DNSConfig) (string, error) {
	if dns == nil {
		raw, err := os.ReadFile(resolvFile)
		if errors.Is(err, os.ErrNotExist) {
			return "", nil
		}
		return string(raw), err
	}
	var b strings.Builder
	line := func(name string, values []string) {
		if len(values) > 0 {
			fmt.Fprintf(&b, "%s %s\n", name, strings.Join(values, " "))
		}
	}
	line("search", dns.GetSearches())
	for _, server := range dns.GetServers() {
		line("nameserver", []string{server})
	}
	line("options", dns.GetOptions())
	return b.String(), nil
}

func mountShm(dir string) error {
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if mounted, err := mountinfo.Mounted(dir); err != nil || mounted {
		return err
	}
	if err := unix.Mount("shm", dir, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, shmOptions); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}

func (p *Plugin) discard(id string) error {
	p.files.Lock()
	defer p.files.Unlock()
	if err := p.config.discard(id); err != nil {
		return status.Errorf(codes.Internal, "remove the files of sandbox %s: %v", id, err)
	}
	return nil
}

// discard removes the files of a sandbox. Containers that still run keep what they have mounted. It is idempotent.
func (c Config) discard(id string) error {
	if !validID(id) {
		return nil
	}
	dir := c.sandboxDir(id)
	err := unix.Unmount(filepath.Join(dir, "shm"), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // not mounted, or not there
		return err
	}
	return os.RemoveAll(dir)
}
