package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	testimage "k8s.io/kubernetes/test/utils/image"
)

const (
	busybox = "/bin/busybox"     // of Debian's busybox-static
	bash    = "/bin/bash-static" // of Debian's package of that name
	nnp     = "usr/local/bin/nnp"
)

// image is one to make, under the name that the tests expect.
type image struct {
	id     testimage.ImageID
	config v1.Config
	layers [][]byte // tar files
}

// buildImages makes the archive of all images. The tests ask for them by names in registries, and find them on the node.
// source is the folder of Kubernetes' module.
func (s *settings) buildImages(source string) error {
	pause := filepath.Join(s.bin, "images/pause")
	made := []string{busybox, bash, pause}
	for _, p := range s.programs() {
		if p.file != "ginkgo" && p.file != "e2e.test" {
			made = append(made, s.path(p.file))
		}
	}
	if newer(s.path("images.tar"), made...) {
		return nil
	}
	fmt.Println("building images")
	list, err := s.images(source, pause)
	if err != nil {
		return err
	}
	all := map[name.Tag]v1.Image{}
	for _, i := range list {
		tag, err := name.NewTag(testimage.GetE2EImage(i.id))
		if err != nil {
			return err
		}
		if all[tag], err = i.make(tag); err != nil {
			return fmt.Errorf("make image %s: %w", tag, err)
		}
	}
	temporary := s.path("images.tmp")
	if err := tarball.MultiWriteToFile(temporary, all); err != nil {
		return fmt.Errorf("write images: %w", err)
	}
	return os.Rename(temporary, s.path("images.tar"))
}

func (s *settings) images(source, pause string) ([]image, error) {
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list the commands of busybox, install busybox-static: %w", err)
	}
	// Debian's busybox is made so that its shell prefers its own commands to those in the PATH.
	shell, err := archive(map[string]string{"bin/busybox": busybox, "bin/sh": bash}, strings.Fields(string(applets)))
	if err != nil {
		return nil, err
	}
	porter := filepath.Join(source, "test/images/agnhost/porter")
	// getent(1) asks for names by glibc.
	files, err := installed("curl", "nc.openbsd", "getent")
	if err != nil {
		return nil, err
	}
	files["bin/dig"], files["bin/nc"] = s.path("dig"), files["bin/nc.openbsd"]
	resolving, err := archive(files, nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(files, map[string]string{
		"agnhost": s.path("agnhost"), "agnhost-2": s.path("agnhost"), "bin/bash": bash,
		"localhost.crt": filepath.Join(porter, "localhost.crt"), "localhost.key": filepath.Join(porter, "localhost.key"),
	})
	agnhost, err := archive(files, nil)
	if err != nil {
		return nil, err
	}
	sandbox, err := archive(map[string]string{"pause": pause}, nil)
	if err != nil {
		return nil, err
	}
	path := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	serve := v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}, Env: path}
	// Their tests only want something that serves HTTP.
	web := v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"test-webserver"}, Env: path}
	all := []image{
		{testimage.Agnhost, serve, [][]byte{shell, agnhost}},
		{testimage.AgnhostPrev, serve, [][]byte{shell, agnhost}},
		{testimage.Nginx, web, [][]byte{shell, agnhost}},
		{testimage.NginxNew, web, [][]byte{shell, agnhost}},
		{testimage.GlibcDnsTesting, v1.Config{Cmd: []string{"sh"}, Env: path}, [][]byte{shell, resolving}},
		{testimage.BusyBox, v1.Config{Cmd: []string{"sh"}, Env: path}, [][]byte{shell}},
		{testimage.NonRoot, v1.Config{Cmd: []string{"id"}, Env: path, User: "1234"}, [][]byte{shell}},
		{testimage.Pause, v1.Config{Entrypoint: []string{"/pause"}, Env: path, User: "65535:65535"}, [][]byte{sandbox}},
	}
	for id, animal := range map[testimage.ImageID]string{testimage.Nautilus: "nautilus", testimage.Kitten: "kitten"} {
		html := filepath.Join(source, "test/images", animal, "html")
		pages, err := archive(map[string]string{"data.json": filepath.Join(html, "data.json"), animal + ".jpg": filepath.Join(html, animal+".jpg")}, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, image{id, web, [][]byte{shell, agnhost, pages}})
	}
	if s.part {
		return all, nil
	}
	for id, i := range map[testimage.ImageID]struct{ file, program string }{
		testimage.Nonewprivs: {nnp, "nnp"}, testimage.Etcd: {"usr/local/bin/etcd", "etcd"}, testimage.APIServer: {"sample-apiserver", "sample-apiserver"},
	} {
		root, err := archive(map[string]string{i.file: s.path(i.program)}, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, image{id, v1.Config{Entrypoint: []string{"/" + i.file}, Env: path}, [][]byte{shell, root}})
	}
	return all, nil
}

// installed finds commands of this machine and their libraries, by their places in an image.
func installed(commands ...string) (map[string]string, error) {
	out := map[string]string{}
	for _, c := range commands {
		file, err := exec.LookPath(c)
		if err != nil {
			return nil, fmt.Errorf("%w: install Debian's curl and netcat-openbsd", err)
		}
		out["bin/"+c] = file
		list, err := exec.Command("ldd", file).Output()
		if err != nil {
			return nil, fmt.Errorf("find the libraries of %s: %w", file, err)
		}
		for _, word := range strings.Fields(string(list)) {
			if strings.HasPrefix(word, "/") {
				out[strings.TrimPrefix(word, "/")] = word
			}
		}
	}
	return out, nil
}

// make labels the image with its name, so that no two are the same.
func (i image) make(tag name.Tag) (v1.Image, error) {
	img := empty.Image
	for _, layer := range i.layers {
		var err error
		if img, err = mutate.AppendLayers(img, static.NewLayer(layer, types.DockerUncompressedLayer)); err != nil {
			return nil, err
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config = runtime.GOARCH, "linux", i.config
	file.Config.Labels = map[string]string{"name": tag.String()}
	return mutate.ConfigFile(img, file)
}

// archive is the root of an image: files by their paths in it, the users that tests ask for, and busybox's commands.
func archive(files map[string]string, applets []string) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	var err error
	add := func(h tar.Header, data []byte) {
		h.Size, h.ModTime = int64(len(data)), time.Unix(0, 0)
		if err == nil {
			err = w.WriteHeader(&h)
		}
		if err == nil {
			_, err = w.Write(data)
		}
	}
	for _, d := range []string{"bin", "etc", "root", "home", "uploads"} {
		add(tar.Header{Name: d + "/", Mode: 0o755, Typeflag: tar.TypeDir}, nil)
	}
	add(tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir}, nil)
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nuser-defined-in-image:x:1000:1000::/home:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"))
	// What the images stand in for is made of Alpine, and a test of image volumes looks for that.
	add(tar.Header{Name: "etc/os-release", Mode: 0o644}, []byte("ID=alpine\nPRETTY_NAME=\"stands in for Alpine Linux\"\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\nnogroup:x:65534:\n"))
	for _, to := range slices.Sorted(maps.Keys(files)) {
		data, readErr := os.ReadFile(files[to])
		if readErr != nil {
			return nil, readErr
		}
		mode := int64(0o755)
		if to == nnp {
			mode |= 0o6000 // with which its test gains what it may not
		}
		add(tar.Header{Name: to, Mode: mode}, data)
	}
	for _, a := range applets {
		if files["bin/"+a] == "" {
			add(tar.Header{Name: "bin/" + a, Linkname: "busybox", Typeflag: tar.TypeSymlink}, nil)
		}
	}
	if err == nil {
		err = w.Close()
	}
	return buf.Bytes(), err
}
