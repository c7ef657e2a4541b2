package place

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/storage/volume"
)

// storage is what the reference knows of volumes: nothing but the objects, claims by namespace and name.
type storage struct {
	claims         map[string]*corev1.PersistentVolumeClaim
	volumes        map[string]*corev1.PersistentVolume
	storageClasses map[string]*storagev1.StorageClass
	drivers        map[string]*storagev1.CSIDriver
	csiNodes       map[string]*storagev1.CSINode
	capacities     map[string]*storagev1.CSIStorageCapacity
	attached       map[string]*storagev1.VolumeAttachment
}

// refClaims are the names of a pod's claims, each once, and those among them that are made for the pod.
func refClaims(p *corev1.Pod) (names []string, own map[string]bool) {
	own = map[string]bool{}
	for _, v := range p.Spec.Volumes {
		name := ""
		switch {
		case v.PersistentVolumeClaim != nil:
			name = v.PersistentVolumeClaim.ClaimName
		case v.Ephemeral != nil:
			name = p.Name + "-" + v.Name
			own[name] = true
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, own
}

func refFull(c *corev1.PersistentVolumeClaim) bool {
	return c.Spec.VolumeName != "" && c.Annotations[volume.AnnBindCompleted] != ""
}

func (w *world) delayed(c *corev1.PersistentVolumeClaim) bool {
	class := w.storageClasses[*c.Spec.StorageClassName]
	return class != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// blocked says why the pod can run nowhere.
func (w *world) blocked(p *corev1.Pod) string {
	names, own := refClaims(p)
	for _, name := range names {
		if !own[name] && w.claims[p.Namespace+"/"+name] == nil {
			return fmt.Sprintf("persistentvolumeclaim %q not found", name)
		}
	}
	for _, name := range names {
		switch c := w.claims[p.Namespace+"/"+name]; {
		case c == nil:
			return fmt.Sprintf("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", name)
		case c.Status.Phase == corev1.ClaimLost:
			return fmt.Sprintf("persistentvolumeclaim %q bound to non-existent persistentvolume %q", name, c.Spec.VolumeName)
		case c.DeletionTimestamp != nil:
			return fmt.Sprintf("persistentvolumeclaim %q is being deleted", name)
		}
	}
	for _, name := range names {
		if c := w.claims[p.Namespace+"/"+name]; !refFull(c) && (c.Spec.VolumeName != "" || !w.delayed(c)) {
			return "pod has unbound immediate PersistentVolumeClaims"
		}
	}
	for _, name := range names {
		if c := w.claims[p.Namespace+"/"+name]; c.Spec.VolumeName != "" && w.volumes[c.Spec.VolumeName] == nil {
			return fmt.Sprintf("persistentvolume %q not found", c.Spec.VolumeName)
		}
	}
	return ""
}

// whyVolumes says why the pod's volumes keep it off a node. It is not blocked.
func (w *world) whyVolumes(p *corev1.Pod, n *corev1.Node) string {
	for _, v := range p.Spec.Volumes {
		for _, o := range w.on(n.Name) {
			for _, v2 := range o.Spec.Volumes {
				if a, b := v.GCEPersistentDisk, v2.GCEPersistentDisk; a != nil && b != nil && a.PDName == b.PDName && (!a.ReadOnly || !b.ReadOnly) {
					return "node(s) had no available disk"
				}
			}
		}
	}
	names, _ := refClaims(p)
	for _, name := range names {
		c := w.claims[p.Namespace+"/"+name]
		for _, o := range w.pods {
			others, _ := refClaims(o)
			if c.Spec.AccessModes[0] == corev1.ReadWriteOncePod && w.nodes[o.Spec.NodeName] != nil && o.Namespace == p.Namespace && slices.Contains(others, name) {
				return "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
			}
		}
	}
	if why := w.whyLimits(p, n); why != "" {
		return why
	}
	if _, _, why := w.findVolumes(p, n); why != "" {
		return why
	}
	return w.whyZone(p, n)
}

func (w *world) whyZone(p *corev1.Pod, n *corev1.Node) string {
	names, _ := refClaims(p)
	for _, name := range names {
		pv := w.volumes[w.claims[p.Namespace+"/"+name].Spec.VolumeName]
		if pv == nil {
			continue
		}
		at, zoned := n.Labels[zone]
		if zoned && pv.Labels[zone] != "" && !slices.Contains(map[string][]string{"0": {"0"}, "1__2": {"1", "2"}}[pv.Labels[zone]], at) {
			return "node(s) had no available volume zone"
		}
	}
	return ""
}

// taken is what a claim counts as: its driver, and what makes it one of that driver's volumes.
func (w *world) taken(c *corev1.PersistentVolumeClaim) (driver, id string) {
	if c == nil {
		return "", ""
	}
	if pv := w.volumes[c.Spec.VolumeName]; pv != nil {
		if pv.Spec.CSI == nil {
			return "", ""
		}
		return pv.Spec.CSI.Driver, pv.Spec.CSI.VolumeHandle
	}
	if class := w.storageClasses[*c.Spec.StorageClassName]; class != nil {
		return class.Provisioner, "claim " + c.Namespace + "/" + c.Name
	}
	return "", ""
}

func (w *world) whyLimits(p *corev1.Pod, n *corev1.Node) string {
	count := func(pods []*corev1.Pod) map[string]map[string]bool {
		out := map[string]map[string]bool{}
		for _, o := range pods {
			names, _ := refClaims(o)
			for _, name := range names {
				if driver, id := w.taken(w.claims[o.Namespace+"/"+name]); driver != "" {
					if out[driver] == nil {
						out[driver] = map[string]bool{}
					}
					out[driver][id] = true
				}
			}
		}
		return out
	}
	limits := map[string]*int32{}
	if node := w.csiNodes[n.Name]; node != nil {
		for _, d := range node.Spec.Drivers {
			limits[d.Name] = d.Allocatable.Count
		}
	}
	have, want := count(w.on(n.Name)), count([]*corev1.Pod{p})
	names, _ := refClaims(p)
	for _, name := range names {
		driver, _ := w.taken(w.claims[p.Namespace+"/"+name])
		_, there := limits[driver]
		if d := w.drivers[driver]; d != nil && *d.Spec.PreventPodSchedulingIfMissing && !there {
			return driver + " CSI driver is not installed on the node"
		}
	}
	for _, a := range w.attached {
		pv := w.volumes[*a.Spec.Source.PersistentVolumeName]
		if a.Spec.NodeName == n.Name && pv != nil && pv.Spec.CSI != nil {
			if have[a.Spec.Attacher] == nil {
				have[a.Spec.Attacher] = map[string]bool{}
			}
			have[a.Spec.Attacher][pv.Spec.CSI.VolumeHandle] = true
		}
	}
	for driver, ids := range want {
		more := false
		all := maps.Clone(have[driver])
		if all == nil {
			all = map[string]bool{}
		}
		for id := range ids {
			more = more || !all[id]
			all[id] = true
		}
		if limit := limits[driver]; more && limit != nil && len(all) > int(*limit) {
			return "node(s) exceed max volume count"
		}
	}
	return ""
}

// findVolumes returns the volumes for the pod's open claims on a node, and the claims to provision, or why it cannot run there.
func (w *world) findVolumes(p *corev1.Pod, n *corev1.Node) (bind map[string]string, provision []string, why string) {
	names, _ := refClaims(p)
	var open []*corev1.PersistentVolumeClaim
	for _, name := range names {
		c := w.claims[p.Namespace+"/"+name]
		if refFull(c) {
			if volume.CheckNodeAffinity(w.volumes[c.Spec.VolumeName], n.Labels) != nil {
				return nil, nil, "node(s) had volume node affinity conflict"
			}
			continue
		}
		open = append(open, c)
	}
	slices.SortStableFunc(open, func(a, b *corev1.PersistentVolumeClaim) int {
		return a.Spec.Resources.Requests.Storage().Cmp(*b.Spec.Resources.Requests.Storage())
	})
	var list []*corev1.PersistentVolume
	for _, name := range slices.Sorted(maps.Keys(w.volumes)) {
		list = append(list, w.volumes[name])
	}
	bind, none := map[string]string{}, "node(s) didn't find available persistent volumes to bind"
	chosen := map[string]*corev1.PersistentVolume{}
	var rest []*corev1.PersistentVolumeClaim
	for _, c := range open {
		if at := c.Annotations[volume.AnnSelectedNode]; at != "" {
			if at != n.Name {
				return nil, nil, none
			}
			rest = append(rest, c)
			continue
		}
		ofClass := slices.DeleteFunc(slices.Clone(list), func(v *corev1.PersistentVolume) bool { return v.Spec.StorageClassName != *c.Spec.StorageClassName })
		pv, err := volume.FindMatchingVolume(c, ofClass, n, chosen, true, true)
		if err != nil {
			panic(err)
		}
		if pv == nil {
			rest = append(rest, c)
			continue
		}
		chosen[pv.Name], bind[c.Name] = pv, pv.Name
	}
	for _, c := range rest {
		if why := w.whyNotProvisioned(c, n); why != "" {
			return nil, nil, why
		}
		provision = append(provision, c.Name)
	}
	return bind, provision, ""
}

func (w *world) whyNotProvisioned(c *corev1.PersistentVolumeClaim, n *corev1.Node) string {
	class := w.storageClasses[*c.Spec.StorageClassName]
	reachable := len(class.AllowedTopologies) == 0
	for _, t := range class.AllowedTopologies {
		reachable = reachable || slices.Contains(t.MatchLabelExpressions[0].Values, n.Labels[zone])
	}
	if class.Provisioner == volume.NotSupportedProvisioner || !reachable {
		return "node(s) didn't find available persistent volumes to bind"
	}
	if d := w.drivers[class.Provisioner]; d == nil || !*d.Spec.StorageCapacity {
		return ""
	}
	for _, room := range w.capacities {
		s, err := metav1.LabelSelectorAsSelector(room.NodeTopology)
		if err == nil && room.StorageClassName == class.Name && room.Capacity.Cmp(*c.Spec.Resources.Requests.Storage()) >= 0 && s.Matches(labels.Set(n.Labels)) {
			return ""
		}
	}
	return "node(s) did not have enough free storage"
}
