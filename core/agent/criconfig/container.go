package criconfig

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ContainerInput is what a container needs besides the pod and its spec.
type ContainerInput struct {
	Attempt uint32
	Step    int
	// ImageRef is the image as the runtime knows it after the pull.
	ImageRef    string
	ImageUser   ImageUser
	Env         *Env
	Mounts      []*runtimeapi.Mount
	MessageFile string
	Machine     Machine
	Profiles    Profiles
	// Target is the container whose pid namespace an ephemeral container joins.
	Target string
}

// Container makes the configuration of one container.
func Container(p *corev1.Pod, c *corev1.Container, in ContainerInput) (*runtimeapi.ContainerConfig, error) {
	if err := VerifyNonRoot(p, c, in.ImageUser); err != nil {
		return nil, err
	}
	signal, err := stopSignal(c)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: in.Attempt},
		Image:       &runtimeapi.ImageSpec{Image: in.ImageRef, UserSpecifiedImage: c.Image},
		Command:     ExpandAll(c.Command, in.Env.Lookup),
		Args:        ExpandAll(c.Args, in.Env.Lookup),
		WorkingDir:  c.WorkingDir,
		Envs:        in.Env.KeyValues(),
		Mounts:      in.Mounts,
		Labels:      ContainerLabels(p, c.Name),
		Annotations: containerAnnotations(p, c, in.Attempt, in.Step, in.MessageFile),
		LogPath:     LogPath(c.Name, in.Attempt),
		Stdin:       c.Stdin, StdinOnce: c.StdinOnce, Tty: c.TTY,
		StopSignal: signal,
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources:       Resources(p, c, in.Machine),
			SecurityContext: Security(p, c, in.ImageUser, in.Target, in.Profiles),
		},
	}, nil
}

func stopSignal(c *corev1.Container) (runtimeapi.Signal, error) {
	if c.Lifecycle == nil || c.Lifecycle.StopSignal == nil {
		return runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT, nil
	}
	v, ok := runtimeapi.Signal_value["SIGNAL_"+string(*c.Lifecycle.StopSignal)]
	if !ok {
		return 0, fmt.Errorf("%w: stop signal %s is not supported", ErrConfig, *c.Lifecycle.StopSignal)
	}
	return runtimeapi.Signal(v), nil
}

// Propagation turns a mount's propagation into CRI's.
func Propagation(m *corev1.MountPropagationMode) runtimeapi.MountPropagation {
	if m == nil {
		return runtimeapi.MountPropagation_PROPAGATION_PRIVATE
	}
	switch *m {
	case corev1.MountPropagationHostToContainer:
		return runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	case corev1.MountPropagationBidirectional:
		return runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
	}
	return runtimeapi.MountPropagation_PROPAGATION_PRIVATE
}
