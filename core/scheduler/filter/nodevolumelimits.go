package filter

import (
	"fmt"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// NodeVolumeLimits keeps a pod off nodes that would have more of a CSI driver's volumes than it can have there, and off
// nodes without the driver when that wants it so.
type NodeVolumeLimits struct{}

var _ Filter = NodeVolumeLimits{}

var tooManyVolumes = []Reason{{Text: "node(s) exceed max volume count"}}

// Name implements Filter.
func (NodeVolumeLimits) Name() string { return "NodeVolumeLimits" }

// Check implements Filter.
func (NodeVolumeLimits) Check(p *snapshot.Pod, n *snapshot.Node) []Reason {
	if len(p.Claims) == 0 {
		return nil
	}
	node := p.Volumes.CSINode(n.Object.Name)
	wanted := map[snapshot.Handle]bool{}
	for _, u := range p.Claims {
		c := p.Volumes.Claim(p.Namespace, u.Name)
		if c == nil {
			continue
		}
		h, ok := p.Volumes.HandleOf(c)
		if !ok {
			continue
		}
		if d := p.Volumes.Driver(h.Driver); d != nil && isTrue(d.Spec.PreventPodSchedulingIfMissing) && driverOn(node, h.Driver) == nil {
			return final(fmt.Sprintf("%s CSI driver is not installed on the node", h.Driver))
		}
		wanted[h] = true
	}
	if len(wanted) == 0 || !limited(node) {
		return nil
	}
	have := p.Volumes.Attached(n.Object.Name)
	for _, o := range n.Attached {
		for _, u := range o.Claims {
			if c := p.Volumes.Claim(o.Namespace, u.Name); c != nil {
				if h, ok := p.Volumes.HandleOf(c); ok {
					have[h] = true
				}
			}
		}
	}
	count, grows := map[string]int32{}, map[string]bool{}
	for h := range have {
		count[h.Driver]++
	}
	for h := range wanted {
		if !have[h] {
			count[h.Driver]++
			grows[h.Driver] = true
		}
	}
	for driver := range grows {
		if d := driverOn(node, driver); d != nil && d.Allocatable != nil && d.Allocatable.Count != nil && count[driver] > *d.Allocatable.Count {
			return tooManyVolumes
		}
	}
	return nil
}

func isTrue(b *bool) bool { return b != nil && *b }

func driverOn(node *storagev1.CSINode, name string) *storagev1.CSINodeDriver {
	if node == nil {
		return nil
	}
	for i := range node.Spec.Drivers {
		if node.Spec.Drivers[i].Name == name {
			return &node.Spec.Drivers[i]
		}
	}
	return nil
}

func limited(node *storagev1.CSINode) bool {
	if node == nil {
		return false
	}
	for i := range node.Spec.Drivers {
		if a := node.Spec.Drivers[i].Allocatable; a != nil && a.Count != nil {
			return true
		}
	}
	return false
}
