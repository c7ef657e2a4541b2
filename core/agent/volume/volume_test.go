package volume

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/objects"
)

// paper is a Mounter that only remembers, so that the tests need no root.
type paper struct {
	mu sync.Mutex
	on map[string]string
}

var _ Mounter = (*paper)(nil)

func (m *paper) put(target, what string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on[target] = what
	return nil
}

func (m *paper) Tmpfs(dir string, _ int64, _ *int64) error { return m.put(dir, "tmpfs") }
func (m *paper) Bind(source, target string) error          { return m.put(target, "bind") }
func (m *paper) Unmount(target string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.on, target)
	return nil
}

func (m *paper) Under(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for t := range m.on {
		if strings.HasPrefix(t, dir) {
			out = append(out, t)
		}
	}
	return out, nil
}

func testManager(t *testing.T, objs ...client.Object) (*Manager, *paper) {
	byName := func(o client.Object) []string { return []string{o.GetName()} }
	api := fake.NewClientBuilder().WithObjects(objs...).WithIndex(&corev1.ConfigMap{}, "metadata.name", byName).
		WithIndex(&corev1.Secret{}, "metadata.name", byName).Build()
	m := &paper{on: map[string]string{}}
	return &Manager{Dir: t.TempDir(), API: api, Objects: &objects.Cache{API: api}, Mounter: m, Now: time.Now}, m
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "ns", Name: name}
}

func testPod(volumes ...corev1.Volume) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: meta("p"), Spec: corev1.PodSpec{Volumes: volumes}}
	p.UID, p.Labels = "u1", map[string]string{"a": "b"}
	return p
}

func TestVolumesAreMadeAndTakenDown(t *testing.T) {
	cm := &corev1.ConfigMap{ObjectMeta: meta("c"), Data: map[string]string{"k": "v", "other": "o"}}
	secret := &corev1.Secret{ObjectMeta: meta("s"), Data: map[string][]byte{"k": []byte("sv")}}
	m, mounts := testManager(t, cm, secret)
	mode := int32(0o400)
	p := testPod(
		corev1.Volume{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		corev1.Volume{Name: "c", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "c"}, Items: []corev1.KeyToPath{{Key: "k", Path: "d/file", Mode: &mode}},
		}}},
		corev1.Volume{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}},
		}}}},
	)
	if _, err := m.Prepare(context.Background(), p, criconfig.Fields{}, func() {}); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(m.Dir, "pods/u1/volumes")
	for path, want := range map[string]string{
		"kubernetes.io~configmap/c/d/file": "v", "kubernetes.io~projected/all/k": "sv", "kubernetes.io~projected/all/labels": `a="b"`,
	} {
		if raw, err := os.ReadFile(filepath.Join(root, path)); err != nil || string(raw) != want {
			t.Errorf("%s: %q, %v", path, raw, err)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "kubernetes.io~configmap/c/d/file")); err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if mounts.on[filepath.Join(root, "kubernetes.io~projected/all")] != "tmpfs" {
		t.Error("a projected volume is not in memory")
	}
	if err := m.Release("u1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(m.Dir, "pods/u1")); !errors.Is(err, fs.ErrNotExist) || len(mounts.on) != 0 {
		t.Errorf("left: %v, %v", err, mounts.on)
	}
}

func TestMissingObjects(t *testing.T) {
	m, _ := testManager(t)
	yes := true
	vol := func(optional *bool) corev1.Volume {
		return corev1.Volume{Name: "c", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "no", Optional: optional}}}
	}
	_, err := m.Prepare(context.Background(), testPod(vol(nil)), criconfig.Fields{}, func() {})
	if want := `MountVolume.SetUp failed for volume "c" : secret "no" not found`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := m.Prepare(context.Background(), testPod(vol(&yes)), criconfig.Fields{}, func() {}); err != nil {
		t.Errorf("optional: %v", err)
	}
	_, err = m.Prepare(context.Background(), testPod(corev1.Volume{Name: "n", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}}), criconfig.Fields{}, func() {})
	if !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if err := m.Release("u1"); err != nil {
		t.Fatal(err)
	}
}

func TestWriteReplacesAtOnce(t *testing.T) {
	dir := t.TempDir()
	write := func(p Payload, want bool) {
		t.Helper()
		if changed, err := Write(dir, p, nil); err != nil || changed != want {
			t.Fatalf("changed %v, %v; want %v", changed, err, want)
		}
	}
	write(Payload{"a": {Data: []byte("1"), Mode: 0o644}, "x/b": {Data: []byte("2"), Mode: 0o644}}, true)
	first, _ := os.Readlink(filepath.Join(dir, dataLink))
	write(Payload{"a": {Data: []byte("1"), Mode: 0o644}, "x/b": {Data: []byte("2"), Mode: 0o644}}, false)
	write(Payload{"a": {Data: []byte("3"), Mode: 0o644}}, true)
	if raw, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(raw) != "3" {
		t.Errorf("%q, %v", raw, err)
	}
	for _, path := range []string{"x", first} {
		if _, err := os.Lstat(filepath.Join(dir, path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left", path)
		}
	}
	if _, err := Write(dir, Payload{"../out": {}}, nil); err == nil {
		t.Error("a path out of the volume was written")
	}
}

func TestSubPathStaysInsideTheVolume(t *testing.T) {
	m, mounts := testManager(t)
	p := testPod(corev1.Volume{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	if _, err := m.Prepare(context.Background(), p, criconfig.Fields{}, func() {}); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(m.HostPath(p, &p.Spec.Volumes[0]), "link")); err != nil {
		t.Fatal(err)
	}
	for sub, ok := range map[string]bool{"a/b": true, "../x": false, "link/x": false, "link": false} {
		c := &corev1.Container{Name: "c", VolumeMounts: []corev1.VolumeMount{{Name: "e", MountPath: "/m", SubPath: sub}}}
		out, err := m.Mounts(p, c, criconfig.NewEnv(), nil)
		if (err == nil) != ok {
			t.Errorf("%s: %v", sub, err)
		}
		if ok && mounts.on[out[0].HostPath] != "bind" {
			t.Errorf("%s is not bound", sub)
		}
	}
}

// Folders that a subPath lacks are made with the volume's permissions, as kubelet makes them.
func TestMakeAll(t *testing.T) {
	volume := t.TempDir()
	if err := os.Mkdir(filepath.Join(volume, "there"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(volume, 0o777|fs.ModeSetgid|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(volume)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for range 2 {
		if err := makeAll(root, "there/one/two"); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]fs.FileMode{
		"there": 0o700, "there/one": 0o777 | fs.ModeSetgid | fs.ModeSticky, "there/one/two": 0o777 | fs.ModeSetgid | fs.ModeSticky,
	} {
		info, err := root.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode() & (fs.ModePerm | fs.ModeSetgid | fs.ModeSticky); got != want {
			t.Errorf("%s has mode %v, want %v", path, got, want)
		}
	}
	if err := makeAll(root, "there/../../out"); err == nil {
		t.Error("a folder outside of the volume was made")
	}
}

// An agent killed while it made the volume makes it again; what the pod made of it since stays.
func TestEmptyDirIsMadeOnce(t *testing.T) {
	m, _ := testManager(t)
	p := testPod(corev1.Volume{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	gid := int64(os.Getgid())
	p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &gid}
	dir := m.HostPath(p, &p.Spec.Volumes[0])
	if err := os.MkdirAll(filepath.Join(filepath.Dir(dir), ".e"), 0o755); err != nil {
		t.Fatal(err)
	}
	prepared := func() fs.FileMode {
		if _, err := m.Prepare(context.Background(), p, criconfig.Fields{}, func() {}); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if got, want := prepared(), fs.ModeDir|fs.ModeSetgid|0o777; got != want {
		t.Errorf("made with mode %v, want %v", got, want)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, want := prepared().Perm(), fs.FileMode(0o700); got != want {
		t.Errorf("the pod's mode became %v, want %v", got, want)
	}
}
