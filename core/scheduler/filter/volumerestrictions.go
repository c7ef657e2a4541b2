package filter

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// VolumeRestrictions keeps a pod off nodes where a pod has one of its disks that cannot be mounted twice, and off all nodes
// while another pod has one of its ReadWriteOncePod claims.
type VolumeRestrictions struct{}

var (
	_ Filter  = VolumeRestrictions{}
	_ Blocker = VolumeRestrictions{}
)

var (
	diskTaken  = []Reason{{Text: "node(s) had no available disk"}}
	claimTaken = []Reason{{Text: "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"}}
)

// Name implements Filter.
func (VolumeRestrictions) Name() string { return "VolumeRestrictions" }

// Block implements Blocker.
func (VolumeRestrictions) Block(p *snapshot.Pod) string {
	for _, u := range p.Claims {
		if !u.Ephemeral && p.Volumes.Claim(p.Namespace, u.Name) == nil {
			return claimMissing(u.Name)
		}
	}
	return ""
}

func claimMissing(name string) string { return fmt.Sprintf("persistentvolumeclaim %q not found", name) }

// Check implements Filter.
func (VolumeRestrictions) Check(p *snapshot.Pod, n *snapshot.Node) []Reason {
	for _, d := range p.Disks {
		for _, o := range n.Attached {
			if slices.ContainsFunc(o.Disks, func(other *corev1.VolumeSource) bool { return conflict(d, other) }) {
				return diskTaken
			}
		}
	}
	for _, u := range p.Claims {
		if c := p.Volumes.Claim(p.Namespace, u.Name); u.Ephemeral || c == nil || !c.Exclusive() {
			continue
		}
		if p.Volumes.UsedElsewhere(p.Namespace, u.Name, n.Object.Name) || slices.ContainsFunc(n.Attached, func(o *snapshot.Placed) bool { return uses(o, p.Namespace, u.Name) }) {
			return claimTaken
		}
	}
	return nil
}

func uses(o *snapshot.Placed, namespace, claim string) bool {
	return o.Namespace == namespace && slices.ContainsFunc(o.Claims, func(u snapshot.ClaimUse) bool { return u.Name == claim })
}

// conflict tells whether two disks are the same one, and not both read only where that would do.
func conflict(a, b *corev1.VolumeSource) bool {
	switch {
	case a.GCEPersistentDisk != nil && b.GCEPersistentDisk != nil:
		x, y := a.GCEPersistentDisk, b.GCEPersistentDisk
		return x.PDName == y.PDName && !(x.ReadOnly && y.ReadOnly)
	case a.AWSElasticBlockStore != nil && b.AWSElasticBlockStore != nil:
		return a.AWSElasticBlockStore.VolumeID == b.AWSElasticBlockStore.VolumeID
	case a.ISCSI != nil && b.ISCSI != nil:
		return a.ISCSI.IQN == b.ISCSI.IQN && !(a.ISCSI.ReadOnly && b.ISCSI.ReadOnly)
	case a.RBD != nil && b.RBD != nil:
		x, y := a.RBD, b.RBD
		shared := slices.ContainsFunc(x.CephMonitors, func(m string) bool { return slices.Contains(y.CephMonitors, m) })
		return shared && x.RBDPool == y.RBDPool && x.RBDImage == y.RBDImage && !(x.ReadOnly && y.ReadOnly)
	}
	return false
}
