package snapshot

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// Cluster is all nodes and the pods on them. Its methods are not safe for concurrent use.
type Cluster struct {
	// Nodes has a nil for each node that went; a new node takes the first such place.
	Nodes []*Node
	// TermsVersion changes when a term comes that no placed pod had, KeysVersion when a label of pods is
	// looked at for the first time, Epoch when all that was derived has to be derived anew.
	TermsVersion, KeysVersion, Epoch int64
	// Volumes is what is known of claims and volumes.
	Volumes *Volumes

	byName map[string]*Node
	pods   map[types.UID]*Placed
	// waiting are pods of nodes that are not known (yet).
	waiting    map[string]map[types.UID]*Placed
	nominated  map[types.UID]*Placed
	free       []int
	journal    journal
	versions   int64
	shapes     map[string]*Shape
	terms      map[string]*Term
	selected   map[string]bool
	namespaces map[string]labels.Set
	// namespacesMatter tells that some term selects namespaces by their labels.
	namespacesMatter bool
	images           map[string]int // how many nodes have an image
}

// NewCluster returns one without nodes.
func NewCluster() *Cluster {
	c := &Cluster{
		byName: map[string]*Node{}, pods: map[types.UID]*Placed{}, waiting: map[string]map[types.UID]*Placed{},
		nominated: map[types.UID]*Placed{}, shapes: map[string]*Shape{}, terms: map[string]*Term{}, selected: map[string]bool{},
		namespaces: map[string]labels.Set{}, images: map[string]int{},
	}
	c.Volumes = newVolumes(c)
	return c
}

// Len is the number of nodes.
func (c *Cluster) Len() int { return len(c.byName) }

// Pods is the number of pods, on unknown nodes too.
func (c *Cluster) Pods() int { return len(c.pods) }

// Node finds a node, nil when there is none of the name.
func (c *Cluster) Node(name string) *Node { return c.byName[name] }

// Holders is how many nodes have an image.
func (c *Cluster) Holders(image string) int { return c.images[image] }

// SetNode adds or changes a node and returns it.
func (c *Cluster) SetNode(obj *corev1.Node) *Node {
	n := c.byName[obj.Name]
	if n == nil {
		n = newNode()
		if k := len(c.free); k > 0 {
			n.Index, c.free = c.free[k-1], c.free[:k-1]
			c.Nodes[n.Index] = n
		} else {
			n.Index = len(c.Nodes)
			c.Nodes = append(c.Nodes, n)
		}
		c.byName[obj.Name] = n
		for _, p := range c.waiting[obj.Name] {
			c.put(n, p, 1)
		}
		delete(c.waiting, obj.Name)
		for _, p := range c.nominated {
			if p.Node == obj.Name {
				n.Nominated = append(n.Nominated, p)
			}
		}
	}
	c.countImages(n, -1)
	n.set(obj)
	c.countImages(n, 1)
	c.versions++
	n.Version = c.versions
	c.note(n)
	return n
}

func (c *Cluster) countImages(n *Node, sign int) {
	for name := range n.Images {
		if c.images[name] += sign; c.images[name] == 0 {
			delete(c.images, name)
		}
	}
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
	for _, p := range n.Attached {
		c.Volumes.use(p, -1)
	}
	c.countImages(n, -1)
	delete(c.byName, name)
	c.Nodes[n.Index] = nil
	c.free = append(c.free, n.Index)
	c.note(n)
}

// SetNamespace tells the labels of a namespace.
func (c *Cluster) SetNamespace(name string, set labels.Set) {
	if have, ok := c.namespaces[name]; ok && maps.Equal(have, set) {
		return
	}
	c.namespaces[name] = set
	if c.namespacesMatter {
		c.Epoch++
	}
}

// NamespaceLabels are the labels of a namespace.
func (c *Cluster) NamespaceLabels(name string) labels.Set { return c.namespaces[name] }

// Place puts a pod on its node, in place of what is known of the pod. It returns the node when it is
// known and anything changed.
func (c *Cluster) Place(p *Placed) *Node {
	if have := c.pods[p.UID]; have != nil {
		if have.Node == p.Node && have.same(p) {
			have.Started, have.Preempted = p.Started, p.Preempted
			return nil
		}
		defer c.release(have.shape) // after its successor has taken what they share
		c.take(have)
	}
	p.shape = c.shape(p.Namespace, p.labels, p.terminating, p.terms)
	c.pods[p.UID] = p
	n := c.byName[p.Node]
	if n == nil {
		if c.waiting[p.Node] == nil {
			c.waiting[p.Node] = map[types.UID]*Placed{}
		}
		c.waiting[p.Node][p.UID] = p
		return nil
	}
	c.put(n, p, 1)
	c.note(n)
	return n
}

// same compares what of a placed pod can change.
func (p *Placed) same(o *Placed) bool {
	return p.terminating == o.terminating && p.Priority == o.Priority && p.Requests.equal(&o.Requests) && p.Load.equal(&o.Load) && maps.Equal(p.labels, o.labels)
}

// Remove takes a pod away and returns its node, nil when the pod or its node was not known.
func (c *Cluster) Remove(uid types.UID) *Node {
	p := c.pods[uid]
	if p == nil {
		return nil
	}
	defer c.release(p.shape)
	return c.take(p)
}

func (c *Cluster) take(p *Placed) *Node {
	delete(c.pods, p.UID)
	n := c.byName[p.Node]
	if n == nil {
		delete(c.waiting[p.Node], p.UID)
		if len(c.waiting[p.Node]) == 0 {
			delete(c.waiting, p.Node)
		}
		return nil
	}
	c.put(n, p, -1)
	c.note(n)
	return n
}

// Placed tells where a pod is, "" for nowhere.
func (c *Cluster) Placed(uid types.UID) string {
	if p := c.pods[uid]; p != nil {
		return p.Node
	}
	return ""
}

// Nominate notes that room is being made for a pod on a node; "" for nowhere any longer.
func (c *Cluster) Nominate(p *Placed) {
	if have := c.nominated[p.UID]; have != nil {
		if have.Node == p.Node {
			return
		}
		delete(c.nominated, p.UID)
		if n := c.byName[have.Node]; n != nil {
			n.Nominated = slices.DeleteFunc(n.Nominated, func(o *Placed) bool { return o == have })
			c.note(n)
		}
		c.release(have.shape)
	}
	if p.Node == "" {
		return
	}
	p.shape = c.shape(p.Namespace, p.labels, p.terminating, p.terms)
	c.nominated[p.UID] = p
	if n := c.byName[p.Node]; n != nil {
		n.Nominated = append(n.Nominated, p)
		c.note(n)
	}
}

// Nominated tells where room is being made for a pod.
func (c *Cluster) Nominated(uid types.UID) string {
	if p := c.nominated[uid]; p != nil {
		return p.Node
	}
	return ""
}

// Since returns the indexes of the nodes that changed since the cursor, with repetitions, and the cursor
// of now; false when that is no longer known and all nodes count as changed.
func (c *Cluster) Since(cursor int64) ([]int, int64, bool) { return c.journal.since(cursor) }

func (c *Cluster) note(n *Node) {
	c.journal.note(n.Index)
	n.Changed = c.Now()
}

// Now is the cursor of now.
func (c *Cluster) Now() int64 { return c.journal.base + int64(len(c.journal.tail)) }

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
