package criconfig

import (
	"encoding/json"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubelet/pkg/types"

	"github.com/gantryio/gantry/core/agent/pod"
)

// The annotations that make the runtime's list the agent's only database. The io.kubernetes ones are the kubelet's.
const (
	annotationHash         = "io.kubernetes.container.hash"
	annotationRestarts     = "io.kubernetes.container.restartCount"
	annotationTermination  = "io.kubernetes.container.terminationMessagePath"
	annotationPolicy       = "io.kubernetes.container.terminationMessagePolicy"
	annotationGrace        = "io.kubernetes.pod.terminationGracePeriod"
	annotationDeletion     = "io.kubernetes.pod.deletionGracePeriod"
	annotationPreStop      = "io.kubernetes.container.preStopHandler"
	annotationPorts        = "io.kubernetes.container.ports"
	annotationStep         = "gantry.io/restart-step"
	annotationPlugin       = "gantry.io/runtime-plugin"
	annotationHandler      = "gantry.io/runtime-handler"
	annotationMessageFile  = "gantry.io/termination-message-file"
	annotationImage        = "gantry.io/image"
	annotationNode         = "gantry.io/node"
	annotationLogDirectory = "gantry.io/log-directory"
	annotationSize         = "gantry.io/size"
)

// PodLabels are the labels of a sandbox.
func PodLabels(p *corev1.Pod) map[string]string {
	out := maps.Clone(p.Labels)
	if out == nil {
		out = map[string]string{}
	}
	out[types.KubernetesPodNameLabel] = p.Name
	out[types.KubernetesPodNamespaceLabel] = p.Namespace
	out[types.KubernetesPodUIDLabel] = string(p.UID)
	return out
}

// ContainerLabels are the labels of a container.
func ContainerLabels(p *corev1.Pod, name string) map[string]string {
	return map[string]string{
		types.KubernetesPodNameLabel: p.Name, types.KubernetesPodNamespaceLabel: p.Namespace,
		types.KubernetesPodUIDLabel: string(p.UID), types.KubernetesContainerNameLabel: name,
	}
}

func containerAnnotations(p *corev1.Pod, c *corev1.Container, attempt uint32, step int, messageFile string) map[string]string {
	out := map[string]string{
		annotationHash: pod.Hash(c), annotationRestarts: strconv.Itoa(int(attempt)), annotationStep: strconv.Itoa(step),
		annotationTermination: c.TerminationMessagePath, annotationPolicy: string(c.TerminationMessagePolicy),
		annotationImage: c.Image, annotationSize: inJSON(pod.SizeOf(p, c)),
	}
	if messageFile != "" {
		out[annotationMessageFile] = messageFile
	}
	if g := p.Spec.TerminationGracePeriodSeconds; g != nil {
		out[annotationGrace] = strconv.FormatInt(*g, 10)
	}
	if g := p.DeletionGracePeriodSeconds; g != nil {
		out[annotationDeletion] = strconv.FormatInt(*g, 10)
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		if raw, err := json.Marshal(c.Lifecycle.PreStop); err == nil {
			out[annotationPreStop] = string(raw)
		}
	}
	if len(c.Ports) > 0 {
		if raw, err := json.Marshal(c.Ports); err == nil {
			out[annotationPorts] = string(raw)
		}
	}
	return out
}

// Made is what the annotations of a container tell of how it was made.
type Made struct {
	Hash, Image, MessageFile string
	Policy                   corev1.TerminationMessagePolicy
	Step                     int
	// Size is what it was made with, if Sized tells that this is known.
	Size  pod.Size
	Sized bool
}

// ReadContainer reads the annotations that Container wrote.
func ReadContainer(annotations map[string]string) Made {
	step, _ := strconv.Atoi(annotations[annotationStep])
	var size pod.Size
	sized := json.Unmarshal([]byte(annotations[annotationSize]), &size) == nil
	return Made{
		Size: size, Sized: sized, Hash: annotations[annotationHash], Image: annotations[annotationImage], Step: step,
		MessageFile: annotations[annotationMessageFile], Policy: corev1.TerminationMessagePolicy(annotations[annotationPolicy]),
	}
}

// NodeOf reads which node's agent made a sandbox, "" when it is not ours.
func NodeOf(annotations map[string]string) string { return annotations[annotationNode] }

// LogDirectoryOf reads where the logs of a sandbox's containers are.
func LogDirectoryOf(annotations map[string]string) string { return annotations[annotationLogDirectory] }

// PodOf makes as much of a pod out of a sandbox's labels as is needed to end it.
func PodOf(labels map[string]string) (namespace, name, uid string) {
	return types.GetPodNamespace(labels), types.GetPodName(labels), types.GetPodUID(labels)
}

// GrantOf reads what the pod of a sandbox was granted when it was made; nil for one that asked for nothing.
func GrantOf(annotations map[string]string) *pod.Grant {
	var g *pod.Grant
	if json.Unmarshal([]byte(annotations[annotationSize]), &g) != nil {
		return nil
	}
	return g
}

func inJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(raw)
}
