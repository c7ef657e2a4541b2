// Package volume makes the volumes of pods: directories and tmpfs mounts below the pod's directory, filled from the API
// and kept up to date as its objects change, and taken down again.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/objects"
)

// ErrUnsupported is a kind of volume that the node cannot make.
var ErrUnsupported = errors.New("volume type is not supported")

// Manager makes volumes below Dir/pods/UID, the paths that the kubelet uses.
type Manager struct {
	Dir     string
	API     client.WithWatch
	Objects *objects.Cache
	Mounter Mounter
	Now     func() time.Time

	mu   sync.Mutex
	pods map[string]*state
}

// state is what lives as long as a pod's volumes do.
type state struct {
	mu     sync.Mutex
	set    *objects.Set
	tokens map[string]token
}

func (m *Manager) podState(uid string, notify func()) *state {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pods == nil {
		m.pods = map[string]*state{}
	}
	st := m.pods[uid]
	if st == nil {
		st = &state{set: m.Objects.NewSet(notify), tokens: map[string]token{}}
		m.pods[uid] = st
	}
	return st
}

// PodDir is the directory of all that belongs to a pod.
func (m *Manager) PodDir(uid string) string { return filepath.Join(m.Dir, "pods", uid) }

func (m *Manager) path(uid, plugin, name string) string {
	return filepath.Join(m.PodDir(uid), "volumes", "kubernetes.io~"+plugin, name)
}

// Prepare makes all volumes of a pod and fills them, or brings what is there up to date. It is idempotent. Notify is
// called when something that a volume shows has changed; the time returned is when Prepare should be called again at the
// latest, zero for never.
func (m *Manager) Prepare(ctx context.Context, pod *corev1.Pod, f criconfig.Fields, notify func()) (time.Time, error) {
	st := m.podState(string(pod.UID), notify)
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := os.MkdirAll(m.PodDir(string(pod.UID)), 0o750); err != nil {
		return time.Time{}, fmt.Errorf("make pod directory: %w", err)
	}
	fill := filler{Manager: m, ctx: ctx, pod: pod, fields: f, st: st}
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if err := fill.one(v); err != nil {
			errs = append(errs, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", v.Name, err))
		}
	}
	return fill.again, errors.Join(errs...)
}

func (f *filler) one(v *corev1.Volume) error {
	uid := string(f.pod.UID)
	switch {
	case v.EmptyDir != nil:
		return f.emptyDir(f.path(uid, "empty-dir", v.Name), v.EmptyDir)
	case v.HostPath != nil:
		return hostPath(v.HostPath)
	case v.ConfigMap != nil:
		return f.write(f.path(uid, "configmap", v.Name), false, func() (Payload, error) { return f.configMapVolume(v.ConfigMap) })
	case v.Secret != nil:
		return f.write(f.path(uid, "secret", v.Name), true, func() (Payload, error) { return f.secretVolume(v.Secret) })
	case v.DownwardAPI != nil:
		return f.write(f.path(uid, "downward-api", v.Name), true, func() (Payload, error) {
			return f.downward(v.DownwardAPI.Items, mode(v.DownwardAPI.DefaultMode))
		})
	case v.Projected != nil:
		return f.write(f.path(uid, "projected", v.Name), true, func() (Payload, error) { return f.projected(v.Name, v.Projected) })
	case v.Image != nil:
		return nil
	}
	return ErrUnsupported
}

// HostPath is where a volume is on the node, "" for one that only the runtime can make.
func (m *Manager) HostPath(pod *corev1.Pod, v *corev1.Volume) string {
	uid := string(pod.UID)
	switch {
	case v.EmptyDir != nil:
		return m.path(uid, "empty-dir", v.Name)
	case v.HostPath != nil:
		return v.HostPath.Path
	case v.ConfigMap != nil:
		return m.path(uid, "configmap", v.Name)
	case v.Secret != nil:
		return m.path(uid, "secret", v.Name)
	case v.DownwardAPI != nil:
		return m.path(uid, "downward-api", v.Name)
	case v.Projected != nil:
		return m.path(uid, "projected", v.Name)
	}
	return ""
}

// Release takes down everything of a pod and removes its directory. A pod that is not known is no error.
func (m *Manager) Release(uid string) error {
	m.mu.Lock()
	st := m.pods[uid]
	delete(m.pods, uid)
	m.mu.Unlock()
	if st != nil {
		st.set.Close()
	}
	dir := m.PodDir(uid)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	mounts, err := m.Mounter.Under(dir)
	if err != nil {
		return err
	}
	for _, target := range mounts {
		if err := m.Mounter.Unmount(target); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove pod directory: %w", err)
	}
	return nil
}

// Forget stops following what a pod's volumes show and leaves the volumes as they are.
func (m *Manager) Forget(uid string) {
	m.mu.Lock()
	st := m.pods[uid]
	delete(m.pods, uid)
	m.mu.Unlock()
	if st != nil {
		st.set.Close()
	}
}

// Pods lists the pods that have a directory.
func (m *Manager) Pods() []string {
	entries, _ := os.ReadDir(filepath.Join(m.Dir, "pods"))
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Known lists the pods whose volumes are followed.
func (m *Manager) Known() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]string, 0, len(m.pods))
	for uid := range m.pods {
		out = append(out, uid)
	}
	return out
}
