package containerd

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin"
)

// namespace is where CRI keeps everything.
const namespace = "k8s.io"

// ensurePause imports the sandbox image unless the very same one is there.
func (p *Plugin) ensurePause(ctx context.Context) error {
	_, err := p.load(ctx, p.config.PauseArchive)
	return err
}

// Import implements runtime.Importer. When it returns, CRI knows the images.
func (p *Plugin) Import(ctx context.Context, path string) ([]string, error) {
	if err := p.ready(ctx); err != nil {
		return nil, err
	}
	return p.load(ctx, path)
}

func (p *Plugin) load(ctx context.Context, path string) ([]string, error) {
	source, err := openArchive(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = source.Close() }()
	c, err := client.NewWithConn(p.conn, client.WithDefaultNamespace(namespace))
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	ctx = namespaces.WithNamespace(ctx, namespace)
	imported, err := c.Import(ctx, source, client.WithImageRefTranslator(normalise), client.WithSkipMissing())
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	if len(imported) == 0 {
		return nil, fmt.Errorf("import %s: it names no image: %w", path, plugin.ErrInvalid)
	}
	var names []string
	for _, image := range imported {
		if err := p.adopt(ctx, c, image); err != nil {
			return nil, fmt.Errorf("import %s: %w", image.Name, err)
		}
		names = append(names, image.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// normalise gives a name the form that CRI looks for, with domain and tag.
func normalise(name string) string {
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return ""
	}
	return named.String()
}

// adopt unpacks an image, names it by digest too, and waits until CRI has taken note of it.
func (p *Plugin) adopt(ctx context.Context, c *client.Client, image images.Image) error {
	snapshotter := "overlayfs"
	if probe(p.config.Root).overlayRoot {
		snapshotter = "native"
	}
	if err := client.NewImage(c, image).Unpack(ctx, snapshotter); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if named, err := reference.ParseDockerRef(image.Name); err == nil {
		byDigest := images.Image{Name: named.Name() + "@" + image.Target.Digest.String(), Target: image.Target}
		if _, err := c.ImageService().Create(ctx, byDigest); err != nil && !errdefs.IsAlreadyExists(err) {
			return fmt.Errorf("name by digest: %w", err)
		}
	}
	config, err := client.NewImage(c, image).Config(ctx)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	return p.awaitImage(ctx, image.Name, config.Digest.String())
}

// awaitImage waits for CRI, which learns of images by an event of containerd that nobody can wait for.
func (p *Plugin) awaitImage(ctx context.Context, name, id string) error {
	cri := runtimeapi.NewImageServiceClient(p.conn)
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		res, err := cri.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})
		if err != nil {
			return fmt.Errorf("look up: %w", err)
		}
		if res.GetImage().GetId() == id {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until CRI lists it: %w", ctx.Err())
		}
	}
}

// openArchive opens a docker archive or an OCI layout, as a tar file or as a folder.
func openArchive(path string) (io.ReadCloser, error) {
	info, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", err, plugin.ErrNotFound)
		}
		return nil, fmt.Errorf("open image archive: %w", err)
	}
	if !info.IsDir() {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("open image archive: %w", err)
		}
		return f, nil
	}
	if _, err := os.Stat(filepath.Join(path, "index.json")); err != nil {
		return nil, fmt.Errorf("open image archive: %s is no OCI layout: %w", path, plugin.ErrInvalid)
	}
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(packLayout(w, path)) }()
	return r, nil
}

func packLayout(to io.Writer, dir string) error {
	w := tar.NewWriter(to)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: info.Size()}); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = io.Copy(w, f)
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}
