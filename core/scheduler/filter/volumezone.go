package filter

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// VolumeZone keeps a pod to the zones and regions that the labels of its volumes name.
type VolumeZone struct{}

var (
	_ Filter  = VolumeZone{}
	_ Blocker = VolumeZone{}
)

var otherZone = final("node(s) had no available volume zone")

// Name implements Filter.
func (VolumeZone) Name() string { return "VolumeZone" }

// Block implements Blocker.
func (VolumeZone) Block(p *snapshot.Pod) string {
	for _, u := range p.Claims {
		if u.Ephemeral {
			continue
		}
		c := p.Volumes.Claim(p.Namespace, u.Name)
		switch {
		case c == nil:
			return claimMissing(u.Name)
		case c.Object.Spec.VolumeName != "" && p.Volumes.Volume(c.Object.Spec.VolumeName) == nil:
			return fmt.Sprintf("persistentvolume %q not found", c.Object.Spec.VolumeName)
		case c.Object.Spec.VolumeName == "" && !p.Volumes.Delayed(c):
			return "PersistentVolume had no name"
		}
	}
	return ""
}

// Check implements Filter.
func (VolumeZone) Check(p *snapshot.Pod, n *snapshot.Node) []Reason {
	if len(p.Claims) == 0 {
		return nil
	}
	labels := n.Object.Labels
	if !slices.ContainsFunc(snapshot.ZoneLabels(), func(key string) bool { _, ok := labels[key]; return ok }) {
		return nil // the cluster knows no zones
	}
	for _, u := range p.Claims {
		c := p.Volumes.Claim(p.Namespace, u.Name)
		if u.Ephemeral || c == nil || c.Object.Spec.VolumeName == "" {
			continue
		}
		o := p.Volumes.Volume(c.Object.Spec.VolumeName)
		if o == nil {
			continue
		}
		for _, z := range o.Zones {
			value, ok := labels[z.Key]
			if !ok {
				value, ok = labels[stable(z.Key)]
			}
			if !ok || !z.Values.Has(value) {
				return otherZone
			}
		}
	}
	return nil
}

// stable is the label that has replaced a beta one.
func stable(key string) string {
	switch key {
	case corev1.LabelFailureDomainBetaZone:
		return corev1.LabelTopologyZone
	case corev1.LabelFailureDomainBetaRegion:
		return corev1.LabelTopologyRegion
	}
	return key
}
