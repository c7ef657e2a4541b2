// Package image readies container images: it decides by pull policy, pulls with the pod's credentials, backs off after
// failures, and removes images that nobody uses when the disk fills up.
package image

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/pod"
)

// The reasons that a waiting container shows, as the kubelet names them.
const (
	ReasonInvalidName  = "InvalidImageName"
	ReasonNeverPull    = "ErrImageNeverPull"
	ReasonInspect      = "ImageInspectError"
	ReasonUnavailable  = "RegistryUnavailable"
	ReasonSignature    = "SignatureValidationFailed"
	backoffBase        = 10 * time.Second
	backoffMax         = 5 * time.Minute
	hopelessRetryAfter = time.Minute
)

// Service is what is needed of a runtime.
type Service interface {
	runtimeapi.ImageServiceClient
}

// Event tells a person what happens to an image.
type Event func(eventType, reason, message string)

// Request is one container's need.
type Request struct {
	Pod       *corev1.Pod
	Container *corev1.Container
	// Handler is the runtime handler that the image is for.
	Handler string
	// Secrets returns the pull secrets; it is asked only when a pull is needed.
	Secrets func(ctx context.Context) []*corev1.Secret
	Sandbox *runtimeapi.PodSandboxConfig
	Event   Event
	// Previous is the last failure for this container, or nil.
	Previous *pod.Failure
}

// Puller readies images. Pulls of the same image at the same time are one pull.
type Puller struct {
	Now func() time.Time

	mu     sync.Mutex
	flight map[string]*pull
}

type pull struct {
	done chan struct{}
	err  error
	took time.Duration
}

// Ensure makes the image of a container present as its pull policy wants. Failures are in the result.
func (p *Puller) Ensure(ctx context.Context, svc Service, r Request) pod.Image {
	name, err := Normalise(r.Container.Image)
	if err != nil {
		msg := fmt.Sprintf("Failed to apply default image tag %q: %v", r.Container.Image, err)
		r.Event(corev1.EventTypeWarning, "InspectFailed", msg)
		return p.failed(r, ReasonInvalidName, msg)
	}
	spec := &runtimeapi.ImageSpec{Image: name, RuntimeHandler: r.Handler}
	policy := Policy(r.Container)
	if policy != corev1.PullAlways {
		img, err := svc.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: spec})
		switch {
		case err != nil:
			return p.failed(r, ReasonInspect, fmt.Sprintf("Failed to inspect image %q: %v", name, err))
		case img.GetImage() != nil:
			r.Event(corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", r.Container.Image))
			return present(img.GetImage(), img.GetImage().GetId())
		case policy == corev1.PullNever:
			msg := fmt.Sprintf("Container image %q is not present with pull policy of Never", r.Container.Image)
			r.Event(corev1.EventTypeWarning, ReasonNeverPull, msg)
			return p.failed(r, ReasonNeverPull, msg)
		}
	}
	return p.pull(ctx, svc, spec, r)
}

func (p *Puller) pull(ctx context.Context, svc Service, spec *runtimeapi.ImageSpec, r Request) pod.Image {
	r.Event(corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", r.Container.Image))
	var secrets []*corev1.Secret
	if r.Secrets != nil {
		secrets = r.Secrets(ctx)
	}
	took, err := p.shared(ctx, svc, spec, Credentials(spec.Image, secrets), r.Sandbox)
	if err != nil {
		msg := fmt.Sprintf("Failed to pull image %q: %v", r.Container.Image, err)
		r.Event(corev1.EventTypeWarning, "Failed", msg)
		r.Event(corev1.EventTypeWarning, "Failed", "Error: "+pod.ErrImagePull)
		return p.failed(r, reasonOf(err), msg)
	}
	img, err := svc.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: spec})
	if err != nil || img.GetImage() == nil {
		return p.failed(r, ReasonInspect, fmt.Sprintf("Failed to inspect image %q after its pull: %v", spec.Image, err))
	}
	r.Event(corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %s (%s including waiting). Image size: %d bytes.",
		r.Container.Image, took.Truncate(time.Millisecond), took.Truncate(time.Millisecond), img.GetImage().GetSize()))
	return present(img.GetImage(), img.GetImage().GetId())
}

// shared pulls once for all who want the same image with the same credentials at the same time.
func (p *Puller) shared(ctx context.Context, svc Service, spec *runtimeapi.ImageSpec, creds []*runtimeapi.AuthConfig, sb *runtimeapi.PodSandboxConfig) (time.Duration, error) {
	key := fmt.Sprintf("%s\x00%s\x00%v", spec.RuntimeHandler, spec.Image, creds)
	for {
		p.mu.Lock()
		f, ok := p.flight[key]
		if !ok {
			f = &pull{done: make(chan struct{})}
			if p.flight == nil {
				p.flight = map[string]*pull{}
			}
			p.flight[key] = f
		}
		p.mu.Unlock()
		if !ok {
			start := p.Now()
			f.err = try(ctx, svc, spec, creds, sb)
			f.took = p.Now().Sub(start)
			p.mu.Lock()
			delete(p.flight, key)
			p.mu.Unlock()
			close(f.done)
			return f.took, f.err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-f.done:
			if f.err == nil || ctx.Err() != nil || !strings.Contains(f.err.Error(), context.Canceled.Error()) {
				return f.took, f.err
			}
		}
	}
}

func try(ctx context.Context, svc Service, spec *runtimeapi.ImageSpec, creds []*runtimeapi.AuthConfig, sb *runtimeapi.PodSandboxConfig) error {
	if len(creds) == 0 {
		creds = []*runtimeapi.AuthConfig{nil}
	}
	var err error
	for _, auth := range creds {
		if _, err = svc.PullImage(ctx, &runtimeapi.PullImageRequest{Image: spec, Auth: auth, SandboxConfig: sb}); err == nil {
			return nil
		}
	}
	return err
}

func present(img *runtimeapi.Image, ref string) pod.Image {
	out := pod.Image{Ref: ref, ID: img.GetId(), User: img.GetUsername()}
	if img.GetUid() != nil {
		uid := img.GetUid().GetValue()
		out.UID = &uid
	}
	return out
}

func (p *Puller) failed(r Request, reason, message string) pod.Image {
	f := &pod.Failure{Reason: reason, Message: message, Count: 1, At: p.Now()}
	if r.Previous != nil {
		f.Count = r.Previous.Count + 1
	}
	f.RetryAt = f.At.Add(Backoff(f.Count))
	if reason == ReasonInvalidName || reason == ReasonNeverPull {
		f.RetryAt = f.At.Add(hopelessRetryAfter)
	}
	return pod.Image{Failure: f}
}

// Backoff is how long to wait after a number of failures in a row: 10 s doubling up to 5 min.
func Backoff(failures int) time.Duration {
	if failures < 1 {
		return 0
	}
	if failures > 6 {
		return backoffMax
	}
	return min(backoffBase<<(failures-1), backoffMax)
}

func reasonOf(err error) string {
	switch {
	case strings.Contains(err.Error(), ReasonUnavailable):
		return ReasonUnavailable
	case strings.Contains(err.Error(), ReasonSignature):
		return ReasonSignature
	}
	return pod.ErrImagePull
}

// Normalise adds the default tag to an image name that has neither tag nor digest, and refuses what is no image name.
func Normalise(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("parse image name: %w", err)
	}
	if !reference.IsNameOnly(named) {
		return image, nil
	}
	return image + ":latest", nil
}

// Policy is a container's pull policy, by default Always for the tag latest and IfNotPresent otherwise.
func Policy(c *corev1.Container) corev1.PullPolicy {
	if c.ImagePullPolicy != "" {
		return c.ImagePullPolicy
	}
	if name, err := Normalise(c.Image); err == nil && strings.HasSuffix(name, ":latest") {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}
