package filter

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/storage/volume"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// VolumeBinding keeps a pod to the nodes where its volumes can be had, and finds volumes for those of its claims that wait
// for a pod.
type VolumeBinding struct{}

var (
	_ Filter  = VolumeBinding{}
	_ Blocker = VolumeBinding{}
)

var (
	noVolume   = Reason{Text: "node(s) didn't find available persistent volumes to bind", Final: true}
	offVolume  = Reason{Text: "node(s) had volume node affinity conflict", Final: true}
	noSpace    = Reason{Text: "node(s) did not have enough free storage", Final: true}
	lostVolume = Reason{Text: "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)", Final: true}
)

const unbound = "pod has unbound immediate PersistentVolumeClaims"

// Volumes is what has to be done for a pod's claims before it can run on a node.
type Volumes struct {
	Bind []Binding
	// Provision are the claims for which a volume has to be made.
	Provision []*corev1.PersistentVolumeClaim
}

// Binding is a volume for a claim.
type Binding struct {
	Volume *corev1.PersistentVolume
	Claim  *corev1.PersistentVolumeClaim
}

// Name implements Filter.
func (VolumeBinding) Name() string { return "VolumeBinding" }

// Block implements Blocker.
func (VolumeBinding) Block(p *snapshot.Pod) string {
	for _, u := range p.Claims {
		c := p.Volumes.Claim(p.Namespace, u.Name)
		switch {
		case c == nil && u.Ephemeral:
			return fmt.Sprintf("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", u.Name)
		case c == nil:
			return claimMissing(u.Name)
		case c.Object.Status.Phase == corev1.ClaimLost:
			return fmt.Sprintf("persistentvolumeclaim %q bound to non-existent persistentvolume %q", u.Name, c.Object.Spec.VolumeName)
		case c.Object.DeletionTimestamp != nil:
			return fmt.Sprintf("persistentvolumeclaim %q is being deleted", u.Name)
		case u.Ephemeral && !metav1.IsControlledBy(c.Object, p.Object):
			return fmt.Sprintf("PVC %s/%s was not created for pod %s/%s (pod is not owner)", p.Namespace, u.Name, p.Namespace, p.Object.Name)
		}
	}
	for _, u := range p.Claims {
		c := p.Volumes.Claim(p.Namespace, u.Name)
		if !c.Bound() && (c.Object.Spec.VolumeName != "" || !p.Volumes.Delayed(c)) {
			return unbound
		}
	}
	return ""
}

// Check implements Filter.
func (VolumeBinding) Check(p *snapshot.Pod, n *snapshot.Node) []Reason {
	if len(p.Claims) == 0 {
		return nil
	}
	_, why := FindVolumes(p, n)
	return why
}

// FindVolumes finds what the pod's claims would be bound to if it ran on the node, or why it cannot.
func FindVolumes(p *snapshot.Pod, n *snapshot.Node) (Volumes, []Reason) {
	var why []Reason
	var open []*snapshot.Claim
	offNode, lost := false, false
	for _, u := range p.Claims {
		c := p.Volumes.Claim(p.Namespace, u.Name)
		switch {
		case c == nil:
			return Volumes{}, []Reason{noVolume}
		case !c.Bound():
			open = append(open, c)
		case offNode || lost: // the first of the claims says it
		case p.Volumes.Volume(c.Object.Spec.VolumeName) == nil:
			lost = true
		case !p.Volumes.Volume(c.Object.Spec.VolumeName).FitsOn(n.Object):
			offNode = true
		}
	}
	if offNode {
		why = append(why, offVolume)
	}
	out, more := findOpen(p.Volumes, open, n.Object)
	why = append(why, more...)
	if lost {
		why = append(why, lostVolume)
	}
	return out, why
}

// findOpen finds volumes for claims that have none, the smallest claim first.
func findOpen(v *snapshot.Volumes, open []*snapshot.Claim, node *corev1.Node) (Volumes, []Reason) {
	var out Volumes
	var provision []*snapshot.Claim
	if len(open) == 0 {
		return out, nil
	}
	for _, c := range open {
		if at := c.SelectedNode(); at != "" && at != node.Name {
			return Volumes{}, []Reason{noVolume}
		}
	}
	slices.SortStableFunc(open, func(a, b *snapshot.Claim) int {
		x, y := a.Object.Spec.Resources.Requests[corev1.ResourceStorage], b.Object.Spec.Resources.Requests[corev1.ResourceStorage]
		return x.Cmp(y)
	})
	for _, c := range open {
		if c.SelectedNode() != "" {
			provision = append(provision, c)
			continue
		}
		taken := func(o *snapshot.Volume) bool {
			return slices.ContainsFunc(out.Bind, func(b Binding) bool { return b.Volume == o.Object })
		}
		if o := match(v, c.Object, node, taken); o != nil {
			out.Bind = append(out.Bind, Binding{o.Object, c.Object})
		} else {
			provision = append(provision, c)
		}
	}
	for _, c := range provision {
		if why, ok := canProvision(v, c.Object, node); !ok {
			return Volumes{}, []Reason{why}
		}
		out.Provision = append(out.Provision, c.Object)
	}
	return out, nil
}

// match finds the volume that names the claim, or else the smallest that suits it; nil when there is none for the node.
func match(v *snapshot.Volumes, claim *corev1.PersistentVolumeClaim, node *corev1.Node, taken func(*snapshot.Volume) bool) *snapshot.Volume {
	for _, o := range v.BoundTo(claim) {
		if !taken(o) && o.Suits(claim) {
			if o.FitsOn(node) {
				return o
			}
			return nil
		}
	}
	var selector labels.Selector
	if claim.Spec.Selector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(claim.Spec.Selector); err != nil {
			return nil
		}
	}
	good := func(o *snapshot.Volume) bool {
		return o.Suits(claim) && (selector == nil || selector.Matches(labels.Set(o.Object.Labels))) &&
			volume.CheckAccessModes(claim, o.Object) && !taken(o) && o.FitsOn(node)
	}
	here, others := v.Class(volume.GetPersistentVolumeClaimClass(claim)).Free(node)
	var best *snapshot.Volume
	for _, list := range [][]*snapshot.Volume{here, others} {
		if i := slices.IndexFunc(list, good); i >= 0 && (best == nil || snapshot.BySize(list[i], best) < 0) {
			best = list[i]
		}
	}
	return best
}

// canProvision tells whether a volume for the claim can be made where the node is.
func canProvision(v *snapshot.Volumes, claim *corev1.PersistentVolumeClaim, node *corev1.Node) (Reason, bool) {
	class := v.Class(volume.GetPersistentVolumeClaimClass(claim))
	o := class.Object
	if o == nil || o.Provisioner == "" || o.Provisioner == volume.NotSupportedProvisioner || !inTopology(o.AllowedTopologies, node.Labels) {
		return noVolume, false
	}
	size, sized := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	driver := v.Driver(o.Provisioner)
	if !sized || driver == nil || !isTrue(driver.Spec.StorageCapacity) {
		return Reason{}, true
	}
	for _, c := range class.Capacities {
		if hasRoom(c, size.Value()) && reaches(c, node.Labels) {
			return Reason{}, true
		}
	}
	return noSpace, false
}

func hasRoom(c *storagev1.CSIStorageCapacity, size int64) bool {
	limit := c.Capacity
	if c.MaximumVolumeSize != nil {
		limit = c.MaximumVolumeSize
	}
	return limit != nil && limit.Value() >= size
}

func reaches(c *storagev1.CSIStorageCapacity, set labels.Set) bool {
	if c.NodeTopology == nil {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(c.NodeTopology)
	return err == nil && selector.Matches(set)
}

// inTopology tells whether the labels match one of the terms; no terms match all.
func inTopology(terms []corev1.TopologySelectorTerm, set map[string]string) bool {
	if len(terms) == 0 {
		return true
	}
	return slices.ContainsFunc(terms, func(t corev1.TopologySelectorTerm) bool {
		return len(t.MatchLabelExpressions) > 0 && !slices.ContainsFunc(t.MatchLabelExpressions, func(r corev1.TopologySelectorLabelRequirement) bool {
			value, ok := set[r.Key]
			return !ok || !slices.Contains(r.Values, value)
		})
	})
}
