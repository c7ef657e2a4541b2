package snapshot

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Node is a node and what its pods take of it.
type Node struct {
	Object  *corev1.Node
	Index   int   // its place in Cluster.Nodes
	Version int64 // changes with Object
	// Changed is the cursor of the last change of the node or its pods.
	Changed     int64
	Allocatable Resources
	MaxPods     int64
	Images      map[string]int64

	Requested Resources
	Load      Resources
	Pods      map[types.UID]*Placed
	Count     int64 // of pods
	Ports     map[Port]int
	Shapes    []Shaped
	// Attached are those of the pods that have volumes of their own.
	Attached []*Placed
	// Nominated are pods for which room is being made here.
	Nominated []*Placed
}

// Shaped is how many pods of a shape there are.
type Shaped struct {
	*Shape
	Count int64
}

func (n *Node) set(obj *corev1.Node) {
	n.Object = obj
	n.Allocatable = resourcesOf(obj.Status.Allocatable)
	pods := obj.Status.Allocatable[corev1.ResourcePods]
	n.MaxPods = pods.Value()
	n.Images = make(map[string]int64, len(obj.Status.Images))
	for _, image := range obj.Status.Images {
		for _, name := range image.Names {
			n.Images[name] = image.SizeBytes
		}
	}
}

func (n *Node) place(p *Placed, sign int) {
	n.Try(p, sign)
	n.Load.add(&p.Load, int64(sign))
	i := slices.IndexFunc(n.Shapes, func(s Shaped) bool { return s.Shape == p.shape })
	if i < 0 {
		i = len(n.Shapes)
		n.Shapes = append(n.Shapes, Shaped{Shape: p.shape})
	}
	if n.Shapes[i].Count += int64(sign); n.Shapes[i].Count == 0 {
		n.Shapes = slices.Delete(n.Shapes, i, i+1)
	}
	if sign > 0 {
		n.Pods[p.UID] = p
	} else {
		delete(n.Pods, p.UID)
	}
}

// Trial is a copy of the node with which filters can be asked what would be; its Pods and Shapes are the
// node's own.
func (n *Node) Trial() *Node {
	out := *n
	out.Requested.Other, out.Ports = maps.Clone(n.Requested.Other), maps.Clone(n.Ports)
	out.Attached = slices.Clone(n.Attached)
	return &out
}

// Try adds (1) or takes away (-1) what a pod takes of a Trial.
func (n *Node) Try(p *Placed, sign int) {
	n.Count += int64(sign)
	n.Requested.add(&p.Requests, int64(sign))
	if p.hasVolumes() {
		if n.Attached = dropAttached(n.Attached, p); sign > 0 {
			n.Attached = append(n.Attached, p)
		}
	}
	for _, port := range p.Ports {
		if n.Ports[port] += sign; n.Ports[port] == 0 {
			delete(n.Ports, port)
		}
	}
}

func newNode() *Node { return &Node{Pods: map[types.UID]*Placed{}, Ports: map[Port]int{}} }
