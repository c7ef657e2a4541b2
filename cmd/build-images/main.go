// Command build-images writes the images that the node ships as docker archives. The same executables
// give the same bytes.
//
//	build-images -pause FILE -demo FILE -out FOLDER
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image is one image to make: a single executable at its root.
type image struct {
	name, file, executable string
	config                 v1.Config
}

func main() {
	pause := flag.String("pause", "bin/images/pause", "the pause executable")
	demo := flag.String("demo", "bin/images/demo", "the demo executable")
	out := flag.String("out", "bin/images", "the folder to write to")
	flag.Parse()
	if err := build(*out, images(*pause, *demo)); err != nil {
		slog.Error("cannot build images", "error", err)
		os.Exit(1)
	}
}

func images(pause, demo string) []image {
	demoConfig := func(version string) v1.Config {
		return v1.Config{
			Entrypoint: []string{"/demo"}, Env: []string{"PATH=/", "DEMO_VERSION=" + version},
			ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		}
	}
	return []image{
		{name: "gantry.local/pause:1", file: "pause.tar", executable: pause, config: v1.Config{
			Entrypoint: []string{"/pause"}, Env: []string{"PATH=/"}, User: "65535:65535",
		}},
		{name: "gantry.local/demo:1", file: "demo-1.tar", executable: demo, config: demoConfig("1")},
		{name: "gantry.local/demo:2", file: "demo-2.tar", executable: demo, config: demoConfig("2")},
	}
}

func build(out string, list []image) error {
	for _, i := range list {
		if err := i.write(out); err != nil {
			return fmt.Errorf("write image %s: %w", i.name, err)
		}
	}
	return nil
}

func (i image) write(out string) error {
	content, err := os.ReadFile(i.executable)
	if err != nil {
		return err
	}
	root, err := layer(i.config.Entrypoint[0][1:], content)
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer(root, types.DockerUncompressedLayer))
	if err != nil {
		return err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config = runtime.GOARCH, "linux", i.config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return err
	}
	tag, err := name.NewTag(i.name)
	if err != nil {
		return err
	}
	temporary := filepath.Join(out, "."+i.file)
	if err := tarball.WriteToFile(temporary, tag, img); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(out, i.file))
}

func layer(executable string, content []byte) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	epoch := time.Unix(0, 0)
	for _, dir := range []string{"etc/", "tmp/"} {
		mode := int64(0o755)
		if dir == "tmp/" {
			mode = 0o1777
		}
		if err := w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: mode, ModTime: epoch}); err != nil {
			return nil, err
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: executable, Mode: 0o755, Size: int64(len(content)), ModTime: epoch}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
