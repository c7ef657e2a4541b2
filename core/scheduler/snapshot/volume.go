package snapshot

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/component-helpers/storage/volume"
)

// Volume is a PersistentVolume.
type Volume struct {
	Object *corev1.PersistentVolume
	// Zones are the labels that tell where it is, which nodes have to have too.
	Zones []Zone
	// assumed is the claim that it will be bound to, as far as the object does not say so yet.
	assumed  *corev1.PersistentVolumeClaim
	size     int64
	affinity *nodeaffinity.LazyErrorNodeSelector
	hosts    []string // the only values of the host's label that it can be used with, nil for any
	version  int64
}

// Zone is one of a volume's labels and the values that suit it.
type Zone struct {
	Key    string
	Values sets.Set[string]
}

var zoneLabels = []string{
	corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion, corev1.LabelTopologyZone, corev1.LabelTopologyRegion,
}

// ZoneLabels are the labels that VolumeZone looks at.
func ZoneLabels() []string { return zoneLabels }

func newVolume(o *corev1.PersistentVolume) *Volume {
	out := &Volume{Object: o}
	size := o.Spec.Capacity[corev1.ResourceStorage]
	out.size = size.Value()
	for _, key := range zoneLabels {
		if value, ok := o.Labels[key]; ok {
			values := strings.Split(value, "__")
			for i := range values {
				values[i] = strings.TrimSpace(values[i])
			}
			if !slices.Contains(values, "") {
				out.Zones = append(out.Zones, Zone{key, sets.New(values...)})
			}
		}
	}
	if a := o.Spec.NodeAffinity; a != nil && a.Required != nil {
		out.affinity = nodeaffinity.NewLazyErrorNodeSelector(a.Required)
		out.hosts = hostsOf(a.Required)
	}
	return out
}

// hostsOf are the hosts of a volume that asks for nothing else, as local volumes do.
func hostsOf(s *corev1.NodeSelector) []string {
	if len(s.NodeSelectorTerms) != 1 || len(s.NodeSelectorTerms[0].MatchFields) > 0 || len(s.NodeSelectorTerms[0].MatchExpressions) != 1 {
		return nil
	}
	e := s.NodeSelectorTerms[0].MatchExpressions[0]
	if e.Key != corev1.LabelHostname || e.Operator != corev1.NodeSelectorOpIn {
		return nil
	}
	return e.Values
}

// FitsOn tells whether the volume can be used on a node. Only the node's labels count.
func (o *Volume) FitsOn(node *corev1.Node) bool {
	if o.affinity == nil {
		return true
	}
	stub := corev1.Node{}
	stub.Labels = node.Labels
	ok, err := o.affinity.Match(&stub)
	return ok && err == nil
}

// BoundTo tells that the volume names the claim, or will.
func (o *Volume) BoundTo(claim *corev1.PersistentVolumeClaim) bool {
	if o.Object.Spec.ClaimRef == nil && o.assumed != nil {
		return o.assumed.UID == claim.UID
	}
	return volume.IsVolumeBoundToClaim(o.Object, claim)
}

func (o *Volume) claim() (types.NamespacedName, bool) {
	if ref := o.Object.Spec.ClaimRef; ref != nil {
		return types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, true
	}
	if o.assumed != nil {
		return keyOf(o.assumed), true
	}
	return types.NamespacedName{}, false
}

// Suits tells whether the volume is large enough for a claim and of the wanted kind, and is to stay.
func (o *Volume) Suits(claim *corev1.PersistentVolumeClaim) bool {
	want := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	return o.size >= want.Value() && o.Object.DeletionTimestamp == nil &&
		!volume.CheckVolumeModeMismatches(&claim.Spec, &o.Object.Spec) &&
		text(claim.Spec.VolumeAttributesClassName) == text(o.Object.Spec.VolumeAttributesClassName)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// SetVolume adds or changes a volume.
func (v *Volumes) SetVolume(o *corev1.PersistentVolume) {
	var assumed *corev1.PersistentVolumeClaim
	if have := v.volumes[o.Name]; have != nil {
		if have.Object.UID == o.UID && o.Spec.ClaimRef == nil {
			assumed = have.assumed
		}
		v.unlink(have)
	}
	now := newVolume(o)
	now.assumed = assumed
	v.volumes[o.Name] = now
	v.link(now)
}

// DropVolume removes a volume.
func (v *Volumes) DropVolume(name string) {
	if have := v.volumes[name]; have != nil {
		v.unlink(have)
		delete(v.volumes, name)
	}
}

func (v *Volumes) link(o *Volume) {
	class := v.Class(volume.GetPersistentVolumeClass(o.Object))
	class.volumes[o.Object.Name] = o
	class.free, class.version, o.version = nil, v.next(), v.version
	if key, ok := o.claim(); ok {
		if v.bound[key] == nil {
			v.bound[key] = map[string]*Volume{}
		}
		v.bound[key][o.Object.Name] = o
	}
	v.noteVolume(o.Object.Name)
}

func (v *Volumes) unlink(o *Volume) {
	class := v.Class(volume.GetPersistentVolumeClass(o.Object))
	delete(class.volumes, o.Object.Name)
	class.free, class.version = nil, v.next()
	if key, ok := o.claim(); ok {
		if delete(v.bound[key], o.Object.Name); len(v.bound[key]) == 0 {
			delete(v.bound, key)
		}
	}
	v.noteVolume(o.Object.Name)
}

// BoundTo lists the volumes of a class that name a claim, in order of their names.
func (v *Volumes) BoundTo(claim *corev1.PersistentVolumeClaim) []*Volume {
	var out []*Volume
	class := volume.GetPersistentVolumeClaimClass(claim)
	for _, o := range v.bound[keyOf(claim)] {
		if o.BoundTo(claim) && volume.GetPersistentVolumeClass(o.Object) == class {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *Volume) int { return cmp.Compare(a.Object.Name, b.Object.Name) })
	return out
}

// freeVolumes are the volumes of a class that no claim has, the smallest first: those of one host, and the others.
type freeVolumes struct {
	hosts  map[string][]*Volume
	others []*Volume
}

// Free lists the volumes of the class that no claim has and that may fit on the node, in two lists, the smallest first.
func (c *StorageClass) Free(node *corev1.Node) (here, others []*Volume) {
	if c.free == nil {
		c.free = &freeVolumes{hosts: map[string][]*Volume{}}
		for _, o := range c.volumes {
			if _, taken := o.claim(); taken || o.Object.Status.Phase != corev1.VolumeAvailable {
				continue
			}
			if o.hosts == nil {
				c.free.others = append(c.free.others, o)
			}
			for _, host := range o.hosts {
				c.free.hosts[host] = append(c.free.hosts[host], o)
			}
		}
		slices.SortFunc(c.free.others, BySize)
		for _, list := range c.free.hosts {
			slices.SortFunc(list, BySize)
		}
	}
	return c.free.hosts[node.Labels[corev1.LabelHostname]], c.free.others
}

// BySize orders volumes, the smallest first; the name makes the order total.
func BySize(a, b *Volume) int {
	return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.Object.Name, b.Object.Name))
}

// AssumeVolume counts a volume as the claim's before that is written; nil takes that back.
func (v *Volumes) AssumeVolume(name string, claim *corev1.PersistentVolumeClaim) {
	o := v.volumes[name]
	if o == nil || o.Object.Spec.ClaimRef != nil || o.assumed == nil && claim == nil {
		return
	}
	v.unlink(o)
	o.assumed = claim
	v.link(o)
}

// AssumeNode counts a claim as being provisioned for a node before that is written; "" takes that back.
func (v *Volumes) AssumeNode(claim types.NamespacedName, node string) {
	if c := v.claims[claim]; c != nil && c.assumed != node {
		c.assumed, c.version = node, v.next()
	}
}
