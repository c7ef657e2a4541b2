package containerd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin"
)

// namespace is where CRI keeps everything.
const namespace = "k8s.io"

// inNamespace has containerd's own services work there.
func inNamespace(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
}

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
	stored, err := p.transfer(inNamespace(ctx), source)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	var names []string
	for _, image := range stored {
		name, err := p.adopt(inNamespace(ctx), image)
		if err != nil {
			return nil, fmt.Errorf("import %s: %w", path, err)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("import %s: it names no image: %w", path, plugin.ErrInvalid)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// adopt gives an image that was stored the name that CRI looks for, with domain and tag, and one by digest. It waits
// until CRI has taken note of both and returns the first.
func (p *Plugin) adopt(ctx context.Context, image *imagesapi.Image) (string, error) {
	images := imagesapi.NewImagesClient(p.conn)
	named, err := parseName(strings.TrimPrefix(image.GetName(), untagged))
	if err != nil {
		return "", errors.Join(err, remove(ctx, images, image.GetName()))
	}
	byDigest := named.repository + "@" + image.GetTarget().GetDigest()
	for _, name := range []string{named.String(), byDigest} {
		if name == image.GetName() {
			continue
		}
		if err := put(ctx, images, &imagesapi.Image{Name: name, Target: image.GetTarget()}); err != nil {
			return "", fmt.Errorf("name it %s: %w", name, plugin.FromStatus(err))
		}
	}
	if named.String() != image.GetName() {
		if err := remove(ctx, images, image.GetName()); err != nil {
			return "", err
		}
	}
	return named.String(), p.awaitImage(ctx, named.String(), byDigest)
}

// put stores an image under its name, in place of the one that had it.
func put(ctx context.Context, images imagesapi.ImagesClient, image *imagesapi.Image) error {
	_, err := images.Create(ctx, &imagesapi.CreateImageRequest{Image: image})
	if status.Code(err) != codes.AlreadyExists {
		return err
	}
	_, err = images.Update(ctx, &imagesapi.UpdateImageRequest{Image: image, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"target"}}})
	return err
}

// remove removes an image's name, which may be gone.
func remove(ctx context.Context, images imagesapi.ImagesClient, name string) error {
	if _, err := images.Delete(ctx, &imagesapi.DeleteImageRequest{Name: name}); err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("remove the name %s: %w", name, plugin.FromStatus(err))
	}
	return nil
}

// awaitImage waits for CRI, which learns of images by an event of containerd that nobody can wait for.
func (p *Plugin) awaitImage(ctx context.Context, name, byDigest string) error {
	cri := runtimeapi.NewImageServiceClient(p.conn)
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		res, err := cri.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})
		if err != nil {
			return fmt.Errorf("look up: %w", plugin.FromStatus(err))
		}
		if slices.Contains(res.GetImage().GetRepoDigests(), byDigest) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until CRI lists it: %w", ctx.Err())
		}
	}
}
