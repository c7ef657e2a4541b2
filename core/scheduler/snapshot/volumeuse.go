package snapshot

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/ephemeral"
	"k8s.io/component-helpers/storage/volume"
)

// ClaimUse is a claim that a pod uses.
type ClaimUse struct {
	Name string
	// Ephemeral tells that the claim is made for just this pod.
	Ephemeral bool
}

// usesOf lists the claims of a pod, and its disks that are mounted without one and that not every pod can have at once.
func usesOf(pod *corev1.Pod) (claims []ClaimUse, disks []*corev1.VolumeSource) {
	add := func(u ClaimUse) {
		if !slices.Contains(claims, u) {
			claims = append(claims, u)
		}
	}
	for i := range pod.Spec.Volumes {
		switch s := &pod.Spec.Volumes[i]; {
		case s.PersistentVolumeClaim != nil:
			add(ClaimUse{Name: s.PersistentVolumeClaim.ClaimName})
		case s.Ephemeral != nil:
			add(ClaimUse{ephemeral.VolumeClaimName(pod, s), true})
		case disk(&s.VolumeSource):
			disks = append(disks, &s.VolumeSource)
		}
	}
	return claims, disks
}

func disk(s *corev1.VolumeSource) bool {
	return s.GCEPersistentDisk != nil || s.AWSElasticBlockStore != nil || s.ISCSI != nil || s.RBD != nil
}

// HasVolumes tells that the pod has volumes that placing it depends on.
func (p *Pod) HasVolumes() bool { return len(p.Claims) > 0 || len(p.Disks) > 0 }

func (p *Placed) hasVolumes() bool { return len(p.Claims) > 0 || len(p.Disks) > 0 }

// put places a pod (1) or takes it away (-1), and counts it as a user of its claims.
func (c *Cluster) put(n *Node, p *Placed, sign int) {
	n.place(p, sign)
	c.Volumes.use(p, sign)
}

func (v *Volumes) use(p *Placed, sign int) {
	for _, u := range p.Claims {
		key := types.NamespacedName{Namespace: p.Namespace, Name: u.Name}
		if sign > 0 {
			if v.users[key] == nil {
				v.users[key] = map[types.UID]*Placed{}
			}
			v.users[key][p.UID] = p
		} else if delete(v.users[key], p.UID); len(v.users[key]) == 0 {
			delete(v.users, key)
		}
		if c := v.claims[key]; c != nil && c.Object != nil && c.Exclusive() {
			c.version = v.next() // it matters on all nodes whether somebody has it
		}
	}
}

// UsedElsewhere tells whether a pod on another node uses the claim.
func (v *Volumes) UsedElsewhere(namespace, name, node string) bool {
	for _, p := range v.users[types.NamespacedName{Namespace: namespace, Name: name}] {
		if p.Node != node {
			return true
		}
	}
	return false
}

// noteUsers has the nodes looked at anew that have pods with the claim, as far as they have a limit of volumes.
func (v *Volumes) noteUsers(claim types.NamespacedName) {
	for _, p := range v.users[claim] {
		v.noteNode(p.Node)
	}
}

func (v *Volumes) noteClass(name string) {
	for key := range v.users {
		if c := v.claims[key]; c != nil && c.Object != nil && volume.GetPersistentVolumeClaimClass(c.Object) == name {
			v.noteUsers(key)
		}
	}
}

// noteVolume has the nodes looked at anew that have a volume, as far as they have a limit of volumes.
func (v *Volumes) noteVolume(of string) {
	for claim := range v.naming[of] {
		v.noteUsers(claim)
	}
	for name := range v.byVolume[of] {
		v.noteNode(v.attached[name].Spec.NodeName)
	}
}

func (v *Volumes) noteNode(name string) {
	if n := v.cluster.byName[name]; n != nil && v.nodes[name] != nil {
		v.cluster.note(n)
	}
}

// SetCSINode tells the drivers of a node.
func (v *Volumes) SetCSINode(o *storagev1.CSINode) {
	v.nodes[o.Name] = o
	v.noteNode(o.Name)
}

// DropCSINode forgets the drivers of a node.
func (v *Volumes) DropCSINode(name string) {
	v.noteNode(name)
	delete(v.nodes, name)
}

// SetAttachment adds or changes an attachment of a volume to a node.
func (v *Volumes) SetAttachment(o *storagev1.VolumeAttachment) {
	v.DropAttachment(o.Name)
	v.attached[o.Name] = o
	add := func(index map[string]map[string]bool, key string) {
		if index[key] == nil {
			index[key] = map[string]bool{}
		}
		index[key][o.Name] = true
	}
	add(v.byNode, o.Spec.NodeName)
	if name := o.Spec.Source.PersistentVolumeName; name != nil {
		add(v.byVolume, *name)
	}
	v.noteNode(o.Spec.NodeName)
}

// DropAttachment removes an attachment.
func (v *Volumes) DropAttachment(name string) {
	o := v.attached[name]
	if o == nil {
		return
	}
	delete(v.attached, name)
	drop := func(index map[string]map[string]bool, key string) {
		if delete(index[key], name); len(index[key]) == 0 {
			delete(index, key)
		}
	}
	drop(v.byNode, o.Spec.NodeName)
	if of := o.Spec.Source.PersistentVolumeName; of != nil {
		drop(v.byVolume, *of)
	}
	v.noteNode(o.Spec.NodeName)
}

// Attached lists the CSI volumes that are attached to a node: their drivers by their handles.
func (v *Volumes) Attached(node string) map[Handle]bool {
	out := map[Handle]bool{}
	for name := range v.byNode[node] {
		a := v.attached[name]
		if a.Spec.Source.PersistentVolumeName == nil || a.Spec.Attacher == "" {
			continue
		}
		if o := v.volumes[*a.Spec.Source.PersistentVolumeName]; o != nil && o.Object.Spec.CSI != nil {
			out[Handle{a.Spec.Attacher, o.Object.Spec.CSI.VolumeHandle}] = true
		}
	}
	return out
}

// Handle is a CSI volume as its driver knows it. A claim without a volume has one that no volume has.
type Handle struct{ Driver, ID string }

// HandleOf is what a claim takes of a node's limit, false when that is nothing.
func (v *Volumes) HandleOf(c *Claim) (Handle, bool) {
	if o := v.volumes[c.Object.Spec.VolumeName]; o != nil && c.Object.Spec.VolumeName != "" {
		if o.Object.Spec.CSI == nil {
			return Handle{}, false
		}
		return Handle{o.Object.Spec.CSI.Driver, o.Object.Spec.CSI.VolumeHandle}, true
	}
	class := v.Class(volume.GetPersistentVolumeClaimClass(c.Object)).Object
	if class == nil {
		return Handle{}, false
	}
	return Handle{class.Provisioner, "\x00" + c.Object.Namespace + "/" + c.Object.Name}, true
}

// Stamp appends the versions of all that the pod's volumes depend on besides the nodes: the same stamp means the same
// answers.
func (v *Volumes) Stamp(out []int64, p *Pod) []int64 {
	for _, u := range p.Claims {
		c := v.Claim(p.Namespace, u.Name)
		if c == nil {
			out = append(out, -1)
			continue
		}
		out = append(out, c.version)
		name := c.Object.Spec.VolumeName
		if o := v.volumes[name]; name != "" && o != nil {
			out = append(out, o.version)
		} else {
			out = append(out, -1)
		}
		if !c.Bound() || v.volumes[name] == nil {
			out = append(out, v.Class(volume.GetPersistentVolumeClaimClass(c.Object)).version)
		}
	}
	return out
}

// dropAttached removes a pod from a list.
func dropAttached(list []*Placed, p *Placed) []*Placed {
	return slices.DeleteFunc(list, func(o *Placed) bool { return o.UID == p.UID })
}
