package fake

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin"
)

const imageSize = 10 << 20

// addImage is called with the lock held, or before the fake is shared.
func (s *server) addImage(name string) *runtimeapi.Image {
	if img := s.image(name); img != nil {
		return img
	}
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name)))
	img := &runtimeapi.Image{Id: sum, Size: imageSize}
	if strings.Contains(name, "@") {
		img.RepoDigests = []string{name}
	} else {
		img.RepoTags = []string{tagged(name)}
		img.RepoDigests = []string{repository(name) + "@" + sum}
	}
	s.images[sum] = img
	return img
}

func tagged(name string) string {
	if strings.LastIndex(name, ":") > strings.LastIndex(name, "/") {
		return name
	}
	return name + ":latest"
}

func repository(name string) string {
	t := tagged(name)
	return t[:strings.LastIndex(t, ":")]
}

// image finds an image by ID, tag or digest. It is called with the lock held.
func (s *server) image(name string) *runtimeapi.Image {
	if img, ok := s.images[name]; ok {
		return img
	}
	for _, img := range s.images {
		for _, n := range append(append([]string{}, img.GetRepoTags()...), img.GetRepoDigests()...) {
			if n == name || n == tagged(name) {
				return img
			}
		}
	}
	return nil
}

func (s *server) PullImage(ctx context.Context, in *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	if err := s.enter(ctx, "PullImage"); err != nil {
		return nil, err
	}
	name := in.GetImage().GetImage()
	if s.options.Pull != nil {
		if err := s.options.Pull(ctx, name); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &runtimeapi.PullImageResponse{ImageRef: s.addImage(name).GetId()}, nil
}

func (s *server) ImageStatus(ctx context.Context, in *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	if err := s.enter(ctx, "ImageStatus"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &runtimeapi.ImageStatusResponse{Image: s.image(in.GetImage().GetImage())}, nil
}

func (s *server) ListImages(ctx context.Context, in *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	if err := s.enter(ctx, "ListImages"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &runtimeapi.ListImagesResponse{}
	wanted := in.GetFilter().GetImage().GetImage()
	for _, img := range s.images {
		if wanted == "" || s.image(wanted) == img {
			out.Images = append(out.Images, img)
		}
	}
	return out, nil
}

func (s *server) RemoveImage(ctx context.Context, in *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	if err := s.enter(ctx, "RemoveImage"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if img := s.image(in.GetImage().GetImage()); img != nil {
		delete(s.images, img.GetId())
	}
	return &runtimeapi.RemoveImageResponse{}, nil
}

func (s *server) ImageFsInfo(ctx context.Context, _ *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	if err := s.enter(ctx, "ImageFsInfo"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{
		Timestamp:  s.now(),
		FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: os.TempDir()},
		UsedBytes:  &runtimeapi.UInt64Value{Value: uint64(len(s.images)) * imageSize},
		InodesUsed: &runtimeapi.UInt64Value{Value: uint64(len(s.images))},
	}}}, nil
}

// Import takes the path's text for the image's name: "demo:1" or "/some/folder/demo:1.tar".
func (s *server) Import(ctx context.Context, path string) ([]string, error) {
	if err := s.enter(ctx, "Import"); err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(path[strings.LastIndex(path, "/")+1:], ".tar")
	if name == "" {
		return nil, fmt.Errorf("import %q: %w", path, plugin.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addImage(name).GetRepoTags(), nil
}

func (s *server) pathURL(what string) (string, error) {
	if s.options.StreamingURL == "" {
		return "", status.Error(codes.Unimplemented, "the fake runtime does not stream")
	}
	return s.options.StreamingURL + "/" + what, nil
}
