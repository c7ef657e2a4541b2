package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/criconfig"
)

// Mounts turns a container's volume mounts into CRI's. Volumes must be prepared. Images gives the runtime's reference of
// an image volume.
func (m *Manager) Mounts(pod *corev1.Pod, c *corev1.Container, env *criconfig.Env, images map[string]string) ([]*runtimeapi.Mount, error) {
	out := make([]*runtimeapi.Mount, 0, len(c.VolumeMounts)+2)
	for i := range c.VolumeMounts {
		vm := &c.VolumeMounts[i]
		mount, err := m.mount(pod, c, i, env, images)
		if err != nil {
			return nil, fmt.Errorf("%w: mount volume %q: %w", criconfig.ErrConfig, vm.Name, err)
		}
		out = append(out, mount)
	}
	return out, nil
}

func (m *Manager) mount(pod *corev1.Pod, c *corev1.Container, i int, env *criconfig.Env, images map[string]string) (*runtimeapi.Mount, error) {
	vm := &c.VolumeMounts[i]
	v := find(pod, vm.Name)
	if v == nil {
		return nil, errors.New("the pod has no such volume")
	}
	sub := vm.SubPath
	if vm.SubPathExpr != "" {
		sub = criconfig.Expand(vm.SubPathExpr, env.Lookup)
		if strings.Contains(sub, "$(") {
			return nil, fmt.Errorf("missing value for %q", vm.SubPathExpr)
		}
	}
	out := &runtimeapi.Mount{
		ContainerPath: absolute(vm.MountPath), Readonly: vm.ReadOnly, Propagation: criconfig.Propagation(vm.MountPropagation),
		RecursiveReadOnly: vm.RecursiveReadOnly != nil && *vm.RecursiveReadOnly == corev1.RecursiveReadOnlyEnabled,
	}
	if v.Image != nil {
		out.Image = &runtimeapi.ImageSpec{Image: images[v.Name], UserSpecifiedImage: v.Image.Reference}
		out.ImageSubPath, out.Readonly = sub, true
		return out, nil
	}
	out.HostPath = m.HostPath(pod, v)
	if v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil {
		out.Readonly = true
	}
	if sub != "" {
		path, err := m.subPath(pod, c, i, out.HostPath, sub)
		if err != nil {
			return nil, err
		}
		out.HostPath = path
	}
	if v.HostPath != nil {
		if _, err := os.Stat(out.HostPath); errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(out.HostPath, 0o755); err != nil {
				return nil, fmt.Errorf("make host path: %w", err)
			}
		}
	}
	return out, nil
}

func absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return "/" + path
}

func find(pod *corev1.Pod, name string) *corev1.Volume {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i]
		}
	}
	return nil
}

// subPath binds a part of a volume to a place of its own. The path is opened without leaving the volume, and the open
// file is what is bound, so that a container cannot lead it elsewhere by a link meanwhile.
func (m *Manager) subPath(pod *corev1.Pod, c *corev1.Container, i int, volume, sub string) (string, error) {
	if !filepath.IsLocal(sub) {
		return "", fmt.Errorf("subPath %q leaves the volume", sub)
	}
	root, err := os.OpenRoot(volume)
	if err != nil {
		return "", fmt.Errorf("open volume: %w", err)
	}
	defer root.Close()
	file, err := root.Open(sub)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeAll(root, sub); err == nil {
			file, err = root.Open(sub)
		}
	}
	if err != nil {
		return "", fmt.Errorf("open subPath: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("open subPath: %w", err)
	}
	target := filepath.Join(m.PodDir(string(pod.UID)), "volume-subpaths", c.VolumeMounts[i].Name, c.Name, strconv.Itoa(i))
	if err := m.Mounter.Unmount(target); err != nil {
		return "", err
	}
	if err := place(target, info.IsDir()); err != nil {
		return "", err
	}
	return target, m.Mounter.Bind(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), target)
}

// makeAll makes a folder of a volume and those above it, each with the permissions that the volume itself has, whatever
// the process' umask.
func makeAll(root *os.Root, path string) error {
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	mode := info.Mode() & (fs.ModePerm | fs.ModeSetgid | fs.ModeSticky)
	for i, r := range path + "/" {
		if r != '/' || i == 0 {
			continue
		}
		err := root.Mkdir(path[:i], mode.Perm())
		if err == nil {
			err = root.Chmod(path[:i], mode)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

func place(target string, dir bool) error {
	if dir {
		if err := os.MkdirAll(target, 0o750); err != nil {
			return fmt.Errorf("make mount point: %w", err)
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	file, err := os.OpenFile(target, os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	return file.Close()
}
