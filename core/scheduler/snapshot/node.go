package snapshot

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
)

var nonMissing = corev1.ResourceList{
	corev1.ResourceCPU:    *resource.NewMilliQuantity(defaultMilliCPU, resource.DecimalSI),
	corev1.ResourceMemory: *resource.NewQuantity(defaultMemory, resource.BinarySI),
}

// Node is a node and what its pods take of it.
type Node struct {
	Object      *corev1.Node
	Index       int // its place in Cluster.Nodes
	Allocatable Resources
	MaxPods     int64
	Images      map[string]int64

	Requested Resources
	Load      Resources
	Pods      map[types.UID]*Placed
	Ports     map[Port]int
	Owners    map[string]int // pods by owner
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
	n.Requested.add(&p.Requests, int64(sign))
	n.Load.add(&p.Load, int64(sign))
	for _, port := range p.Ports {
		if n.Ports[port] += sign; n.Ports[port] == 0 {
			delete(n.Ports, port)
		}
	}
	if p.Owner != "" {
		if n.Owners[p.Owner] += sign; n.Owners[p.Owner] == 0 {
			delete(n.Owners, p.Owner)
		}
	}
	if sign > 0 {
		n.Pods[p.UID] = p
	} else {
		delete(n.Pods, p.UID)
	}
}

// Cluster is all nodes and the pods on them. Its methods are not safe for concurrent use.
type Cluster struct {
	// Nodes has a nil for each node that went; a new node takes the first such place.
	Nodes  []*Node
	byName map[string]*Node
	pods   map[types.UID]*Placed
	// waiting are pods of nodes that are not known (yet).
	waiting map[string]map[types.UID]*Placed
	free    []int
	journal journal
}

// NewCluster returns one without nodes.
func NewCluster() *Cluster {
	return &Cluster{byName: map[string]*Node{}, pods: map[types.UID]*Placed{}, waiting: map[string]map[types.UID]*Placed{}}
}

// Len is the number of nodes.
func (c *Cluster) Len() int { return len(c.byName) }

// SetNode adds or changes a node and returns it.
func (c *Cluster) SetNode(obj *corev1.Node) *Node {
	n := c.byName[obj.Name]
	if n == nil {
		n = &Node{Pods: map[types.UID]*Placed{}, Ports: map[Port]int{}, Owners: map[string]int{}}
		if k := len(c.free); k > 0 {
			n.Index, c.free = c.free[k-1], c.free[:k-1]
			c.Nodes[n.Index] = n
		} else {
			n.Index = len(c.Nodes)
			c.Nodes = append(c.Nodes, n)
		}
		c.byName[obj.Name] = n
		for _, p := range c.waiting[obj.Name] {
			n.place(p, 1)
		}
		delete(c.waiting, obj.Name)
	}
	n.set(obj)
	c.journal.note(n.Index)
	return n
}

// DropNode removes a node; its pods are remembered in case that it returns.
func (c *Cluster) DropNode(name string) {
	n := c.byName[name]
	if n == nil {
		return
	}
	if len(n.Pods) > 0 {
		c.waiting[name] = n.Pods
	}
	delete(c.byName, name)
	c.Nodes[n.Index] = nil
	c.free = append(c.free, n.Index)
	c.journal.note(n.Index)
}

// Place puts a pod on its node, in place of what is known of the pod. It returns the node when it is
// known and anything changed.
func (c *Cluster) Place(p *Placed) *Node {
	if have := c.pods[p.UID]; have != nil {
		if have.Node == p.Node && same(have, p) {
			return nil
		}
		c.Remove(p.UID)
	}
	c.pods[p.UID] = p
	n := c.byName[p.Node]
	if n == nil {
		if c.waiting[p.Node] == nil {
			c.waiting[p.Node] = map[types.UID]*Placed{}
		}
		c.waiting[p.Node][p.UID] = p
		return nil
	}
	n.place(p, 1)
	c.journal.note(n.Index)
	return n
}

// same compares what of a placed pod can change.
func same(a, b *Placed) bool {
	x, y := a.Requests, b.Requests
	if x.MilliCPU != y.MilliCPU || x.Memory != y.Memory || x.Ephemeral != y.Ephemeral || len(x.Other) != len(y.Other) || a.Owner != b.Owner {
		return false
	}
	for name, n := range x.Other {
		if y.Other[name] != n {
			return false
		}
	}
	return a.Load.MilliCPU == b.Load.MilliCPU && a.Load.Memory == b.Load.Memory
}

// Remove takes a pod away and returns its node, nil when the pod or its node was not known.
func (c *Cluster) Remove(uid types.UID) *Node {
	p := c.pods[uid]
	if p == nil {
		return nil
	}
	delete(c.pods, uid)
	n := c.byName[p.Node]
	if n == nil {
		delete(c.waiting[p.Node], uid)
		if len(c.waiting[p.Node]) == 0 {
			delete(c.waiting, p.Node)
		}
		return nil
	}
	n.place(p, -1)
	c.journal.note(n.Index)
	return n
}

// Placed tells where a pod is, "" for nowhere.
func (c *Cluster) Placed(uid types.UID) string {
	if p := c.pods[uid]; p != nil {
		return p.Node
	}
	return ""
}

// Since returns the indexes of the nodes that changed since the cursor, with repetitions, and the cursor
// of now; false when that is no longer known and all nodes count as changed.
func (c *Cluster) Since(cursor int64) ([]int, int64, bool) { return c.journal.since(cursor) }

// journal is the end of the list of all changes.
type journal struct {
	base int64 // how many changes came before tail[0]
	tail []int
}

const journalLength = 1 << 14

func (j *journal) note(i int) {
	j.tail = append(j.tail, i)
	if len(j.tail) >= 2*journalLength {
		j.base += journalLength
		j.tail = append(j.tail[:0], j.tail[journalLength:]...)
	}
}

func (j *journal) since(cursor int64) ([]int, int64, bool) {
	now := j.base + int64(len(j.tail))
	if cursor < j.base {
		return nil, now, false
	}
	return j.tail[cursor-j.base:], now, true
}
