package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// serveRegistry serves the images on loopback until ctx ends, and names that as the mirror of their registries to the node's
// runtime. Some tests pull what the node has already.
func (s *settings) serveRegistry(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve images: %w", err)
	}
	context.AfterFunc(ctx, func() { l.Close() })
	go func() { _ = http.Serve(l, registry.New(registry.Logger(log.New(io.Discard, "", 0)))) }()
	archive := func() (io.ReadCloser, error) { return os.Open(s.path("images.tar")) }
	manifest, err := tarball.LoadManifest(archive)
	if err != nil {
		return fmt.Errorf("serve images: %w", err)
	}
	for _, d := range manifest {
		for _, text := range d.RepoTags {
			if err := s.push(ctx, text, archive, l.Addr().String()); err != nil {
				return fmt.Errorf("serve image %s: %w", text, err)
			}
		}
	}
	return nil
}

func (s *settings) push(ctx context.Context, text string, archive tarball.Opener, to string) error {
	tag, err := name.NewTag(text)
	if err != nil {
		return err
	}
	img, err := tarball.Image(archive, &tag)
	if err != nil {
		return err
	}
	there, err := name.NewTag(to + "/" + tag.RepositoryStr() + ":" + tag.TagStr())
	if err != nil {
		return err
	}
	if err := remote.Write(there, img, remote.WithContext(ctx)); err != nil {
		return err
	}
	dir := filepath.Join(s.data(), "certs.d", tag.RegistryStr())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	hosts := fmt.Sprintf("[host.\"http://%s\"]\ncapabilities = [\"pull\", \"resolve\"]\n", to)
	return os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644)
}
