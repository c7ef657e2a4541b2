//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	demo    = "gantry.local/demo:1"
	busybox = "gantry.local/busybox:1"
	shell   = "/bin/busybox" // Debian's busybox-static
)

// toolbox is an image with a shell, the usual commands and our echo server.
var toolbox = sync.OnceValues(func() (v1.Image, error) {
	dir, err := os.MkdirTemp(os.Getenv(dataEnv), "image")
	if err != nil {
		return nil, err
	}
	build := exec.Command("go", "build", "-o", dir, "./echo", "./dig")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build echo and dig: %w\n%s", err, out)
	}
	applets, err := exec.Command(shell, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list the commands of busybox, install busybox-static: %w", err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err == nil {
			err = w.WriteHeader(&h)
		}
		if err == nil {
			_, err = w.Write(data)
		}
	}
	addFile := func(from, to string) {
		data, readErr := os.ReadFile(from)
		if err == nil {
			err = readErr
		}
		add(tar.Header{Name: to, Mode: 0o755, Typeflag: tar.TypeReg}, data)
	}
	for _, d := range []string{"bin", "etc", "root", "home"} {
		add(tar.Header{Name: d, Mode: 0o755, Typeflag: tar.TypeDir}, nil)
	}
	add(tar.Header{Name: "tmp", Mode: 0o1777, Typeflag: tar.TypeDir}, nil)
	add(tar.Header{Name: "etc/passwd", Mode: 0o644, Typeflag: tar.TypeReg}, []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1234:1234:app:/home:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644, Typeflag: tar.TypeReg}, []byte("root:x:0:\napp:x:1234:\n"))
	addFile(shell, "bin/busybox")
	addFile(filepath.Join(dir, "echo"), "bin/echo-udp")
	addFile(filepath.Join(dir, "dig"), "bin/dig")
	// getent(1) asks for names by glibc.
	libraries, lddErr := exec.Command("ldd", "/usr/bin/getent").Output()
	if err == nil {
		err = lddErr
	}
	addFile("/usr/bin/getent", "bin/getent")
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			addFile(word, word[1:])
		}
	}
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			add(tar.Header{Name: "bin/" + applet, Linkname: "busybox", Typeflag: tar.TypeSymlink}, nil)
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(img, &v1.ConfigFile{
		Architecture: "amd64", OS: "linux", RootFS: must(img.ConfigFile()).RootFS,
		Config: v1.Config{Cmd: []string{"sh"}, Env: []string{"PATH=/bin", "FROM_IMAGE=yes"}},
	})
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// variant is the toolbox as another image, so that its digest is another.
func variant(t *testing.T, label string) v1.Image {
	t.Helper()
	img, err := toolbox()
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.Config(img, v1.Config{Cmd: []string{"sh"}, Env: []string{"PATH=/bin", "FROM_IMAGE=yes"}, Labels: map[string]string{"variant": label}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

var loadToolbox = sync.OnceValue(func() error {
	img, err := toolbox()
	if err != nil {
		return err
	}
	file := filepath.Join(os.Getenv(dataEnv), "busybox.tar")
	if err := tarball.WriteToFile(file, must(name.NewTag(busybox)), img); err != nil {
		return err
	}
	_, err = shared.try("gantry", "image", "import", file)
	return err
})

// needToolbox makes the toolbox image present on the shared cluster's node.
func needToolbox(t *testing.T) {
	t.Helper()
	if err := loadToolbox(); err != nil {
		t.Fatal(err)
	}
}

func TestImageImportAndList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	docker := filepath.Join(dir, "docker.tar")
	if err := tarball.WriteToFile(docker, must(name.NewTag("gantry.local/from-docker:1")), variant(t, "docker")); err != nil {
		t.Fatal(err)
	}
	oci := filepath.Join(dir, "oci")
	writeLayout(t, oci, "gantry.local/from-layout:1", variant(t, "layout"))
	packed := filepath.Join(dir, "packed")
	writeLayout(t, packed, "gantry.local/from-layout-tar:1", variant(t, "layout-tar"))
	if out, err := exec.Command("tar", "-C", packed, "-cf", packed+".tar", ".").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	for path, want := range map[string]string{
		docker: "gantry.local/from-docker:1", oci: "gantry.local/from-layout:1", packed + ".tar": "gantry.local/from-layout-tar:1",
	} {
		out, err := shared.try("gantry", "image", "import", path)
		if err != nil {
			t.Error(err)
			continue
		}
		wantParts(t, out, want)
		list, err := shared.try("gantry", "image", "list")
		if err != nil {
			t.Fatal(err)
		}
		wantParts(t, list, "NAME", "ID", "SIZE", want, demo, "gantry.local/demo:2")
	}
	if _, err := shared.try("gantry", "image", "import", filepath.Join(dir, "absent.tar")); err == nil {
		t.Error("a file that is not there was imported")
	} else {
		wantParts(t, err.Error(), "absent.tar", "no such file")
	}
	ns := shared.namespace(t)
	for _, image := range []string{"from-docker", "from-layout", "from-layout-tar"} {
		shared.kubectl(t, "-n", ns, "run", image, "--image=gantry.local/"+image+":1", "--", "sleep", "1000")
		shared.wait(t, ns, "pod/"+image, "condition=Ready")
	}
}

func writeLayout(t *testing.T, dir, ref string, img v1.Image) {
	t.Helper()
	annotatedLayout(t, dir, img, map[string]string{"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": ref})
}

func annotatedLayout(t *testing.T, dir string, img v1.Image, annotations map[string]string) layout.Path {
	t.Helper()
	path, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = path.AppendImage(img, layout.WithAnnotations(annotations))
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// wantImport imports an archive and wants a part of the output, or of the error if that part has a space. It tells whether there is an image.
func wantImport(t *testing.T, path, want string) bool {
	t.Helper()
	out, err := shared.try("gantry", "image", "import", path)
	if strings.Contains(want, " ") {
		if err == nil {
			t.Fatalf("imported as %s", out)
		}
		wantParts(t, err.Error(), path, want)
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	wantParts(t, out, want)
	return true
}

func TestImagesAreNamedAsCRILooksForThem(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ refName, want string }{
		"word":       {"only-a-word", "docker.io/library/only-a-word:latest"},
		"tag":        {"with-a-tag:2", "docker.io/library/with-a-tag:2"},
		"path":       {"team/tool", "docker.io/team/tool:latest"},
		"whole":      {"gantry.local/whole:1", "gantry.local/whole:1"},
		"none":       {"", "it names no image"},
		"impossible": {"Not/A Name", `image name "Not/A Name"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "layout")
			var annotations map[string]string
			if test.refName != "" {
				annotations = map[string]string{"org.opencontainers.image.ref.name": test.refName}
			}
			annotatedLayout(t, dir, variant(t, name), annotations)
			if !wantImport(t, dir, test.want) {
				return
			}
			list, err := shared.try("gantry", "image", "list")
			if err != nil {
				t.Fatal(err)
			}
			wantParts(t, list, test.want)
			if strings.Contains(list, "untagged:"+test.refName) {
				t.Errorf("a name of the import's own is left:\n%s", list)
			}
		})
	}
}

func TestImportOfOddArchives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good.tar")
	if err := tarball.WriteToFile(good, must(name.NewTag("gantry.local/odd:1")), variant(t, "odd")); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	// As "docker buildx" does: an index of several platforms, of which only one is in the archive.
	sparse := filepath.Join(dir, "sparse")
	absent, err := mutate.ConfigFile(variant(t, "absent"), &v1.ConfigFile{Architecture: "s390x", OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := absent.Digest()
	if err != nil {
		t.Fatal(err)
	}
	path := annotatedLayout(t, sparse, empty.Image, nil)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: variant(t, "sparse"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}},
		mutate.IndexAddendum{Add: absent, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}})
	if err := path.ReplaceIndex(index, match.Name("none"), layout.WithAnnotations(map[string]string{"io.containerd.image.name": "gantry.local/sparse:1"})); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(sparse, "blobs", digest.Algorithm, digest.Hex)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		content []byte
		want    string // of the output, or of the error if it has a space
	}{
		"padded":   {append(bytes.Clone(whole), make([]byte, 1<<20)...), "gantry.local/odd:1"},
		"zipped":   {gzipped(t, whole), "gantry.local/odd:1"},
		"cut":      {whole[:len(whole)/2], "unexpected EOF"},
		"empty":    {nil, "unrecognized image format"},
		"no tar":   {bytes.Repeat([]byte("no archive"), 1000), "invalid tar header"},
		"a layout": {nil, "gantry.local/sparse:1"},
	} {
		t.Run(name, func(t *testing.T) {
			file := sparse
			if name != "a layout" {
				file = filepath.Join(t.TempDir(), "archive.tar")
				if err := os.WriteFile(file, test.content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			wantImport(t, file, test.want)
		})
	}
	ns := shared.namespace(t)
	for _, image := range []string{"odd", "sparse"} {
		shared.kubectl(t, "-n", ns, "run", image, "--image=gantry.local/"+image+":1", "--", "sleep", "1000")
		shared.wait(t, ns, "pod/"+image, "condition=Ready")
	}
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// newRegistry serves a registry on loopback over plain HTTP and counts pulls of manifests.
func newRegistry(t *testing.T) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func push(t *testing.T, ref string, img v1.Image) {
	t.Helper()
	tag, err := name.NewTag(ref, name.Insecure)
	if err == nil {
		err = remote.Write(tag, img)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestPullFromRegistry(t *testing.T) {
	t.Parallel()
	ns, addr := shared.namespace(t), newRegistry(t)
	_, port, _ := net.SplitHostPort(addr)
	push(t, addr+"/team/tool:1", variant(t, "pulled"))
	for pod, host := range map[string]string{"by-address": addr, "by-name": "localhost:" + port} {
		shared.kubectl(t, "-n", ns, "run", pod, "--image="+host+"/team/tool:1", "--", "sleep", "1000")
		shared.wait(t, ns, "pod/"+pod, "condition=Ready")
		out := shared.kubectl(t, "-n", ns, "describe", "pod", pod)
		wantParts(t, out, "Pulling", "Successfully pulled image", "/team/tool@sha256:")
	}

	t.Run("policies", func(t *testing.T) {
		shared.kubectl(t, "-n", ns, "run", "never", "--image="+addr+"/team/other:1", "--image-pull-policy=Never", "--", "sleep", "1000")
		shared.wait(t, ns, "pod/never", `jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImageNeverPull`)
		// IfNotPresent keeps what is there when the tag has moved; Always takes the new one.
		push(t, addr+"/team/tool:1", variant(t, "moved"))
		shared.kubectl(t, "-n", ns, "run", "present", "--image="+addr+"/team/tool:1", "--image-pull-policy=IfNotPresent", "--", "sleep", "1000")
		shared.wait(t, ns, "pod/present", "condition=Ready")
		shared.kubectl(t, "-n", ns, "run", "always", "--image="+addr+"/team/tool:1", "--image-pull-policy=Always", "--", "sleep", "1000")
		shared.wait(t, ns, "pod/always", "condition=Ready")
		id := func(pod string) string {
			return shared.kubectl(t, "-n", ns, "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].imageID}")
		}
		if id("present") != id("by-address") || id("always") == id("present") {
			t.Errorf("image of by-address %s, present %s, always %s", id("by-address"), id("present"), id("always"))
		}
	})
}

// importBusybox makes the node know the image with a shell. It returns the archive.
func importBusybox(t *testing.T, c *cluster) string {
	t.Helper()
	box := filepath.Join(t.TempDir(), "busybox.tar")
	if err := tarball.WriteToFile(box, must(name.NewTag(busybox)), must(toolbox())); err != nil {
		t.Fatal(err)
	}
	if out, err := c.try("gantry", "image", "import", box); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return box
}
