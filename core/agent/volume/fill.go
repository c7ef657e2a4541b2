package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/objects"
)

// filler is one Prepare call.
type filler struct {
	*Manager
	ctx    context.Context
	pod    *corev1.Pod
	fields criconfig.Fields
	st     *state
	again  time.Time
}

func (f *filler) fsGroup() *int64 {
	if sc := f.pod.Spec.SecurityContext; sc != nil {
		return sc.FSGroup
	}
	return nil
}

// emptyDir makes the volume once: its owner and mode are the pod's to change afterwards. They are there when the volume is,
// so that an agent killed in between makes it again.
func (f *filler) emptyDir(dir string, e *corev1.EmptyDirVolumeSource) error {
	switch e.Medium {
	case corev1.StorageMediumMemory:
		var size int64
		if e.SizeLimit != nil {
			size = e.SizeLimit.Value()
		}
		return f.tmpfs(dir, size)
	case corev1.StorageMediumDefault:
	default:
		return fmt.Errorf("medium %s: %w", e.Medium, ErrUnsupported)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// No volume's name begins with a dot.
	fresh := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir))
	if err := f.open(fresh); err != nil {
		return err
	}
	if gid := f.fsGroup(); gid != nil {
		if err := own(fresh, *gid, false); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, dir); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}

// open makes a directory that all may write to.
func (f *filler) open(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}

// tmpfs is born with its mode and group, which are the kernel's own (sticky) but for the bit that passes the group on.
func (f *filler) tmpfs(dir string, size int64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return f.Mounter.Tmpfs(dir, size, f.fsGroup())
}

// write fills a volume from the API. The payload comes first, so that a missing object leaves no empty volume.
func (f *filler) write(dir string, memory bool, payload func() (Payload, error)) error {
	p, err := payload()
	if err != nil {
		return err
	}
	if memory {
		err = f.tmpfs(dir, 0)
	} else {
		err = f.open(dir)
	}
	if err != nil {
		return err
	}
	_, err = Write(dir, p, f.fsGroup())
	return err
}

func mode(m *int32) fs.FileMode {
	if m == nil {
		return fs.FileMode(corev1.ConfigMapVolumeSourceDefaultMode)
	}
	return fs.FileMode(*m)
}

func itemMode(m *int32, def fs.FileMode) fs.FileMode {
	if m == nil {
		return def
	}
	return fs.FileMode(*m)
}

func (f *filler) configMapVolume(v *corev1.ConfigMapVolumeSource) (Payload, error) {
	return f.configMap(v.Name, v.Items, v.Optional, mode(v.DefaultMode))
}

func (f *filler) configMap(name string, items []corev1.KeyToPath, optional *bool, def fs.FileMode) (Payload, error) {
	obj, err := f.st.set.Get(f.ctx, objects.Key{Kind: objects.ConfigMap, Namespace: f.pod.Namespace, Name: name})
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	if cm, ok := obj.(*corev1.ConfigMap); ok && cm != nil {
		for k, v := range cm.Data {
			data[k] = []byte(v)
		}
		for k, v := range cm.BinaryData {
			data[k] = v
		}
	} else if !yes(optional) {
		return nil, fmt.Errorf("configmap %q not found", name)
	}
	return pick(data, items, yes(optional), def, "config key")
}

func (f *filler) secretVolume(v *corev1.SecretVolumeSource) (Payload, error) {
	return f.secret(v.SecretName, v.Items, v.Optional, mode(v.DefaultMode))
}

func (f *filler) secret(name string, items []corev1.KeyToPath, optional *bool, def fs.FileMode) (Payload, error) {
	obj, err := f.st.set.Get(f.ctx, objects.Key{Kind: objects.Secret, Namespace: f.pod.Namespace, Name: name})
	if err != nil {
		return nil, err
	}
	var data map[string][]byte
	if s, ok := obj.(*corev1.Secret); ok && s != nil {
		data = s.Data
	} else if !yes(optional) {
		return nil, fmt.Errorf("secret %q not found", name)
	}
	return pick(data, items, yes(optional), def, "secret key")
}

func yes(b *bool) bool { return b != nil && *b }

func pick(data map[string][]byte, items []corev1.KeyToPath, optional bool, def fs.FileMode, what string) (Payload, error) {
	out := Payload{}
	if len(items) == 0 {
		for k, v := range data {
			out[k] = File{Data: v, Mode: def}
		}
		return out, nil
	}
	for _, it := range items {
		v, ok := data[it.Key]
		switch {
		case ok:
			out[filepath.Clean(it.Path)] = File{Data: v, Mode: itemMode(it.Mode, def)}
		case !optional:
			return nil, fmt.Errorf("references non-existent %s: %s", what, it.Key)
		}
	}
	return out, nil
}

func (f *filler) downward(items []corev1.DownwardAPIVolumeFile, def fs.FileMode) (Payload, error) {
	out := Payload{}
	for _, it := range items {
		var text string
		var err error
		switch {
		case it.FieldRef != nil:
			text, err = f.fields.Field(f.pod, it.FieldRef.FieldPath)
		case it.ResourceFieldRef != nil:
			c := criconfig.Find(f.pod, it.ResourceFieldRef.ContainerName)
			if c == nil {
				return nil, fmt.Errorf("container %s not found", it.ResourceFieldRef.ContainerName)
			}
			text, err = f.fields.Resource(c, it.ResourceFieldRef)
		}
		if err != nil {
			return nil, err
		}
		out[filepath.Clean(it.Path)] = File{Data: []byte(text), Mode: itemMode(it.Mode, def)}
	}
	return out, nil
}

func (f *filler) projected(name string, v *corev1.ProjectedVolumeSource) (Payload, error) {
	out := Payload{}
	def := mode(v.DefaultMode)
	for i := range v.Sources {
		p, err := f.source(name, &v.Sources[i], def)
		if err != nil {
			return nil, err
		}
		for k, file := range p {
			out[k] = file
		}
	}
	return out, nil
}

func (f *filler) source(volume string, s *corev1.VolumeProjection, def fs.FileMode) (Payload, error) {
	switch {
	case s.ConfigMap != nil:
		return f.configMap(s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional, def)
	case s.Secret != nil:
		return f.secret(s.Secret.Name, s.Secret.Items, s.Secret.Optional, def)
	case s.DownwardAPI != nil:
		return f.downward(s.DownwardAPI.Items, def)
	case s.ServiceAccountToken != nil:
		return f.token(volume, s.ServiceAccountToken, def)
	}
	return nil, fmt.Errorf("projected source: %w", ErrUnsupported)
}

func hostPath(v *corev1.HostPathVolumeSource) error {
	kind := corev1.HostPathUnset
	if v.Type != nil {
		kind = *v.Type
	}
	info, err := os.Stat(v.Path)
	absent := errors.Is(err, fs.ErrNotExist)
	if err != nil && !absent {
		return fmt.Errorf("hostPath: %w", err)
	}
	switch {
	case kind == corev1.HostPathUnset:
		return nil
	case absent && kind == corev1.HostPathDirectoryOrCreate:
		return os.MkdirAll(v.Path, 0o755)
	case absent && kind == corev1.HostPathFileOrCreate:
		return touch(v.Path)
	case absent || !isKind(info.Mode(), kind):
		return fmt.Errorf("hostPath type check failed: %s is not %s", v.Path, article(kind))
	}
	return nil
}

func touch(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return fmt.Errorf("hostPath: %w", err)
	}
	return file.Close()
}

func isKind(m fs.FileMode, kind corev1.HostPathType) bool {
	switch kind {
	case corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate:
		return m.IsDir()
	case corev1.HostPathFile, corev1.HostPathFileOrCreate:
		return m.IsRegular()
	case corev1.HostPathSocket:
		return m&fs.ModeSocket != 0
	case corev1.HostPathCharDev:
		return m&fs.ModeCharDevice != 0
	case corev1.HostPathBlockDev:
		return m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0
	}
	return false
}

func article(kind corev1.HostPathType) string {
	name := strings.TrimSuffix(string(kind), "OrCreate")
	return map[string]string{
		"Directory": "a directory", "File": "a file", "Socket": "a socket file",
		"CharDevice": "a character device", "BlockDevice": "a block device",
	}[name]
}
