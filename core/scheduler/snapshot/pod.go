// Package snapshot is what the scheduler knows of nodes and pods, in the form that filters and scores
// compute with: quantities as integers, tolerations and selectors parsed. It is kept by events, never
// rebuilt.
package snapshot

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// Pod is what placing a pod depends on. Pods with the same Key are placed alike and may share one.
type Pod struct {
	Key string
	// Object is one of the pods.
	Object    *corev1.Pod
	Namespace string
	// Labels are those that some selector looks at; Full are those of Object.
	Labels   labels.Set
	Priority int32
	Requests Resources
	// Load is Requests with defaults for containers that request nothing.
	Load        Resources
	Ports       []Port
	Tolerations []corev1.Toleration
	// NodeName is a node that the pod itself asks for, "" for any.
	NodeName string
	Required nodeaffinity.RequiredNodeAffinity
	// Preferred is nil when the pod prefers no node.
	Preferred *nodeaffinity.PreferredSchedulingTerms
	// Images are the normalized names of the images of all containers; Containers counts these.
	Images     []string
	Containers int
	Terms      []*Term
	Spreads    []Spread
	// Claims and Disks are volumes that placing depends on, as Volumes knows them.
	Claims  []ClaimUse
	Disks   []*corev1.VolumeSource
	Volumes *Volumes
	// Lenient spreading includes nodes without one of the constraints' labels.
	Lenient bool
}

// Digest is how pods are read.
type Digest struct {
	// Defaults are the spread constraints of pods without their own, nil for none; Owner selects the pods
	// that belong together with this one.
	Defaults *SpreadDefaults
	Owner    labels.Selector
	// Alone gives each pod a Key of its own; Whole puts all labels and annotations into the Key.
	Alone, Whole bool
}

// PodOf digests a pod, without its Pin. The labels that its own selectors look at count as selected from now on.
func (c *Cluster) PodOf(pod *corev1.Pod, d Digest) (*Pod, error) {
	if Pin(pod) != "" {
		pod = unpinned(pod)
	}
	p := &Pod{
		Object: pod, Namespace: pod.Namespace, Priority: helpers.PodPriority(pod), Tolerations: pod.Spec.Tolerations,
		Ports: PortsOf(pod), NodeName: pod.Spec.NodeName,
	}
	p.Requests, p.Load = RequestsOf(pod)
	p.images(pod)
	p.Volumes = c.Volumes
	p.Claims, p.Disks = usesOf(pod)
	var err error
	if p.Terms, err = termsOf(pod); err != nil {
		return nil, fmt.Errorf("digest pod %s: %w", pod.Name, err)
	}
	if p.Spreads, p.Lenient, err = spreadOf(pod, d.Defaults, d.Owner); err != nil {
		return nil, fmt.Errorf("digest pod %s: %w", pod.Name, err)
	}
	for _, t := range p.Terms {
		keysOf(t.selector, c.selectKey)
		if t.anywhere != nil {
			c.namespacesMatter = true
		}
	}
	for i := range p.Spreads {
		keysOf(p.Spreads[i].Selector, c.selectKey)
	}
	p.Labels = labels.Set{}
	for k, v := range pod.Labels {
		if c.selected[k] {
			p.Labels[k] = v
		}
	}
	if err := p.affinity(pod); err != nil {
		return nil, fmt.Errorf("digest pod %s: %w", pod.Name, err)
	}
	p.Key, err = p.key(pod, d)
	return p, err
}

func (p *Pod) affinity(pod *corev1.Pod) error {
	p.Required = nodeaffinity.GetRequiredNodeAffinity(pod)
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && len(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) > 0 {
		var err error
		if p.Preferred, err = nodeaffinity.NewPreferredSchedulingTerms(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution); err != nil {
			return fmt.Errorf("parse preferred node affinity: %w", err)
		}
	}
	return nil
}

func (p *Pod) images(pod *corev1.Pod) {
	p.Containers = len(pod.Spec.InitContainers) + len(pod.Spec.Containers)
	for i := range pod.Spec.InitContainers {
		p.Images = append(p.Images, NormalizedImage(pod.Spec.InitContainers[i].Image))
	}
	for i := range pod.Spec.Containers {
		p.Images = append(p.Images, NormalizedImage(pod.Spec.Containers[i].Image))
	}
	for i := range pod.Spec.Volumes {
		if v := pod.Spec.Volumes[i].Image; v != nil {
			p.Images = append(p.Images, NormalizedImage(v.Reference))
		}
	}
}

// NormalizedImage is the name with a tag.
func NormalizedImage(name string) string {
	if strings.LastIndexByte(name, ':') <= strings.LastIndexByte(name, '/') {
		return name + ":latest"
	}
	return name
}

// key writes down everything that a Pod is made of.
func (p *Pod) key(pod *corev1.Pod, d Digest) (string, error) {
	var b strings.Builder
	text := func(s string) {
		number(&b, int64(len(s)))
		b.WriteString(s)
	}
	text(pod.Spec.SchedulerName)
	text(p.Namespace)
	text(p.NodeName)
	number(&b, int64(p.Priority))
	if pod.Spec.PreemptionPolicy != nil {
		text(string(*pod.Spec.PreemptionPolicy))
	}
	p.Requests.write(&b)
	p.Load.write(&b)
	for _, port := range p.Ports {
		text(string(port.Protocol) + port.IP)
		number(&b, int64(port.Port))
	}
	for _, image := range p.Images {
		text(image)
	}
	number(&b, int64(p.Containers))
	writeLabels(&b, p.Labels)
	b.WriteByte(1)
	writeLabels(&b, pod.Spec.NodeSelector)
	if d.Whole {
		b.WriteByte(2)
		writeLabels(&b, pod.Labels)
		b.WriteByte(3)
		writeLabels(&b, pod.Annotations)
	}
	for _, u := range p.Claims {
		b.WriteByte(7)
		text(u.Name)
		if u.Ephemeral {
			text(string(pod.UID))
		}
	}
	if d.Alone {
		text(string(pod.UID))
	}
	if len(p.Spreads) > 0 && len(pod.Spec.TopologySpreadConstraints) == 0 {
		text(d.Owner.String())
	}
	if err := writeMessages(&b, pod); err != nil {
		return "", fmt.Errorf("digest pod %s: %w", pod.Name, err)
	}
	return b.String(), nil
}

// writeMessages writes the parts that have an encoding of their own.
func writeMessages(b *strings.Builder, pod *corev1.Pod) error {
	write := func(m interface{ Marshal() ([]byte, error) }) error {
		data, err := m.Marshal()
		number(b, int64(len(data)))
		b.Write(data)
		return err
	}
	for i := range pod.Spec.Tolerations {
		if err := write(&pod.Spec.Tolerations[i]); err != nil {
			return err
		}
	}
	b.WriteByte(4)
	if pod.Spec.Affinity != nil {
		if err := write(pod.Spec.Affinity); err != nil {
			return err
		}
	}
	b.WriteByte(6)
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i].VolumeSource; disk(v) {
			if err := write(v); err != nil {
				return err
			}
		}
	}
	b.WriteByte(5)
	for i := range pod.Spec.TopologySpreadConstraints {
		if err := write(&pod.Spec.TopologySpreadConstraints[i]); err != nil {
			return err
		}
	}
	return nil
}

func number(b *strings.Builder, n int64) {
	var buf [binary.MaxVarintLen64]byte
	b.Write(buf[:binary.PutVarint(buf[:], n)])
}

func (r *Resources) write(b *strings.Builder) {
	number(b, r.MilliCPU)
	number(b, r.Memory)
	number(b, r.Ephemeral)
	names := make([]string, 0, len(r.Other))
	for name := range r.Other {
		names = append(names, string(name))
	}
	slices.Sort(names)
	for _, name := range names {
		b.WriteString(name)
		number(b, r.Other[corev1.ResourceName(name)])
	}
	b.WriteByte(0)
}

// Placed is a pod on a node, or one that is nominated for it.
type Placed struct {
	UID             types.UID
	Namespace, Name string
	Node            string
	Priority        int32
	// Started is when it started or was created, in nanoseconds.
	Started  int64
	Requests Resources
	Load     Resources
	Ports    []Port
	Claims   []ClaimUse
	Disks    []*corev1.VolumeSource
	// Preempted tells that it is terminating to make room.
	Preempted bool

	labels      labels.Set
	terms       []*Term
	terminating bool
	shape       *Shape
}

// Shape is what others see of it; nil before it is placed.
func (p *Placed) Shape() *Shape { return p.shape }

// Labels are the pod's labels.
func (p *Placed) Labels() labels.Set { return p.labels }

// PlacedOf digests a pod that is or will be on the node. Terms that cannot be parsed count for nothing.
func PlacedOf(pod *corev1.Pod, node string) *Placed {
	asked, load := RequestsOf(pod)
	terms, _ := termsOf(pod)
	out := &Placed{
		UID: pod.UID, Namespace: pod.Namespace, Name: pod.Name, Node: node, Priority: helpers.PodPriority(pod), Requests: asked, Load: load,
		Ports: PortsOf(pod), labels: pod.Labels, terms: terms, terminating: pod.DeletionTimestamp != nil,
	}
	out.Claims, out.Disks = usesOf(pod)
	out.Started = pod.CreationTimestamp.UnixNano()
	if pod.Status.StartTime != nil {
		out.Started = pod.Status.StartTime.UnixNano()
	}
	if out.terminating {
		for i := range pod.Status.Conditions {
			if c := &pod.Status.Conditions[i]; c.Type == corev1.DisruptionTarget {
				out.Preempted = c.Status == corev1.ConditionTrue && c.Reason == corev1.PodReasonPreemptionByScheduler
			}
		}
	}
	return out
}

// PlacedAs is PlacedOf for a pod whose class has been digested already.
func (p *Pod) PlacedAs(pod *corev1.Pod, node string) *Placed {
	return &Placed{
		UID: pod.UID, Namespace: pod.Namespace, Name: pod.Name, Node: node, Priority: p.Priority, Started: pod.CreationTimestamp.UnixNano(),
		Requests: p.Requests, Load: p.Load, Ports: p.Ports, Claims: p.Claims, Disks: p.Disks, labels: pod.Labels, terms: p.Terms, terminating: pod.DeletionTimestamp != nil,
	}
}
