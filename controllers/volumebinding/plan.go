package volumebinding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/component-helpers/storage/volume"
)

// note is an event that is told of an object.
type note struct{ kind, reason, message string }

// claimPlan is what is to be done for a claim.
type claimPlan struct {
	// bind is the volume that the claim gets, or has and that is made sure of.
	bind *corev1.PersistentVolume
	// phase is what the claim's status is to say when it is not bound.
	phase corev1.PersistentVolumeClaimPhase
	// class is the default class, for a claim that names none.
	class string
	// provisioner is who is to make a volume.
	provisioner string
	note        *note
}

// situation is what is known of a claim.
type situation struct {
	claim   *corev1.PersistentVolumeClaim
	volumes []*corev1.PersistentVolume
	// class is the claim's, nil when there is none of the name; preferred is the name of the default class.
	class     *storagev1.StorageClass
	preferred string
	// waiting is a pod that has the claim and no node yet, "" for none.
	waiting string
}

// planClaim decides for a claim.
func planClaim(s situation) claimPlan {
	if _, done := s.claim.Annotations[volume.AnnBindCompleted]; done {
		return planBound(s)
	}
	if s.claim.Spec.VolumeName != "" {
		return planNamed(s)
	}
	best := bestMatch(s.claim, s.volumes, s.delayed())
	if best != nil {
		return claimPlan{bind: best}
	}
	p := claimPlan{phase: corev1.ClaimPending}
	switch class := volume.GetPersistentVolumeClaimClass(s.claim); {
	case s.delayed() && s.waiting != "":
		p.note = &note{corev1.EventTypeNormal, "WaitForPodScheduled", fmt.Sprintf("waiting for pod %s to be scheduled", s.waiting)}
	case s.delayed():
		p.note = &note{corev1.EventTypeNormal, "WaitForFirstConsumer", "waiting for first consumer to be created before binding"}
	case class != "":
		planProvision(s, class, &p)
	case s.preferred != "" && !volume.PersistentVolumeClaimHasClass(s.claim):
		p.class = s.preferred
	default:
		p.note = &note{corev1.EventTypeNormal, "FailedBinding", "no persistent volumes available for this claim and no storage class is set"}
	}
	return p
}

// delayed tells that the claim waits for a pod to be scheduled.
func (s *situation) delayed() bool {
	return s.class != nil && s.class.VolumeBindingMode != nil && *s.class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer &&
		!volume.IsDelayBindingProvisioning(s.claim)
}

// planProvision leaves the volume to an external provisioner: none is built in.
func planProvision(s situation, name string, p *claimPlan) {
	switch c := s.class; {
	case c == nil:
		p.note = &note{corev1.EventTypeWarning, "ProvisioningFailed", fmt.Sprintf("storageclass.storage.k8s.io %q not found", name)}
	case strings.HasPrefix(c.Provisioner, "kubernetes.io/"):
		p.note = &note{corev1.EventTypeWarning, "ProvisioningFailed", "no volume plugin matched name: " + c.Provisioner}
	default:
		p.provisioner = c.Provisioner
		p.note = &note{corev1.EventTypeNormal, "ExternalProvisioning", fmt.Sprintf("Waiting for a volume to be created either by the external provisioner '%s' or manually by the system administrator. "+
			"If volume creation is delayed, please verify that the provisioner is running and correctly registered.", c.Provisioner)}
	}
}

// planNamed decides for a claim that asks for a volume by name.
func planNamed(s situation) claimPlan {
	p := claimPlan{phase: corev1.ClaimPending}
	v := find(s.volumes, s.claim.Spec.VolumeName)
	switch {
	case v == nil:
	case v.Spec.ClaimRef == nil:
		if why := mismatch(v, s.claim); why != "" {
			p.note = &note{corev1.EventTypeWarning, "VolumeMismatch", fmt.Sprintf("Cannot bind to requested volume %q: %s", v.Name, why)}
			return p
		}
		return claimPlan{bind: v}
	case volume.IsVolumeBoundToClaim(v, s.claim):
		return claimPlan{bind: v}
	default:
		p.note = &note{corev1.EventTypeWarning, "FailedBinding", fmt.Sprintf("volume %q already bound to a different claim.", v.Name)}
	}
	return p
}

// planBound makes sure of a claim that has been bound before.
func planBound(s situation) claimPlan {
	lost := func(reason, message string) claimPlan {
		p := claimPlan{phase: corev1.ClaimLost}
		if s.claim.Status.Phase != corev1.ClaimLost {
			p.note = &note{corev1.EventTypeWarning, reason, message}
		}
		return p
	}
	if s.claim.Spec.VolumeName == "" {
		return lost("ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!")
	}
	v := find(s.volumes, s.claim.Spec.VolumeName)
	switch {
	case v == nil:
		return lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
	case v.Spec.ClaimRef == nil || v.Spec.ClaimRef.UID == s.claim.UID:
		return claimPlan{bind: v}
	}
	return lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
}

func find(volumes []*corev1.PersistentVolume, name string) *corev1.PersistentVolume {
	if i := slices.IndexFunc(volumes, func(v *corev1.PersistentVolume) bool { return v.Name == name }); i >= 0 {
		return volumes[i]
	}
	return nil
}

// bestMatch is the volume that names the claim, or else the one with the fewest access modes besides the wanted ones, and of
// these the smallest. With delayed, volumes that name nobody are left for the scheduler to choose from.
func bestMatch(claim *corev1.PersistentVolumeClaim, volumes []*corev1.PersistentVolume, delayed bool) *corev1.PersistentVolume {
	modes := map[int][]*corev1.PersistentVolume{}
	var counts []int
	for _, v := range volumes {
		if !volume.CheckAccessModes(claim, v) {
			continue
		}
		n := len(v.Spec.AccessModes)
		if modes[n] == nil {
			counts = append(counts, n)
		}
		modes[n] = append(modes[n], v)
	}
	slices.Sort(counts)
	for _, n := range counts {
		list := modes[n]
		slices.SortFunc(list, func(a, b *corev1.PersistentVolume) int {
			return cmp.Or(a.Spec.Capacity.Storage().Cmp(*b.Spec.Capacity.Storage()), strings.Compare(a.Name, b.Name))
		})
		if v, err := volume.FindMatchingVolume(claim, list, nil, nil, delayed, true); err == nil && v != nil {
			return v
		}
	}
	return nil
}

// mismatch says why a claim cannot have the volume that it asks for.
func mismatch(v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) string {
	switch {
	case v.Spec.Capacity.Storage().Cmp(*claim.Spec.Resources.Requests.Storage()) < 0:
		return "requested PV is too small"
	case volume.GetPersistentVolumeClass(v) != volume.GetPersistentVolumeClaimClass(claim):
		return "storageClassName does not match"
	case text(v.Spec.VolumeAttributesClassName) != text(claim.Spec.VolumeAttributesClassName):
		return "volumeAttributesClassName does not match"
	case volume.CheckVolumeModeMismatches(&claim.Spec, &v.Spec):
		return "incompatible volumeMode"
	case !volume.CheckAccessModes(claim, v):
		return "incompatible accessMode"
	}
	return ""
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// volumePlan is what is to be done for a volume.
type volumePlan struct {
	phase   corev1.PersistentVolumePhase
	message string
	// unbind takes the volume back from a claim that has another one.
	unbind bool
	note   *note
}

// planVolume decides for a volume; claim is the one that it names, nil when that is not there.
func planVolume(v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) volumePlan {
	ref := v.Spec.ClaimRef
	switch {
	case ref == nil || ref.UID == "":
		return volumePlan{phase: corev1.VolumeAvailable}
	case claim == nil || claim.UID != ref.UID:
		return release(v)
	case claim.Spec.VolumeName == "":
		return volumePlan{phase: v.Status.Phase} // the claim's own plan binds it
	case claim.Spec.VolumeName == v.Name:
		return volumePlan{phase: corev1.VolumeBound}
	}
	_, provisioned := v.Annotations[volume.AnnDynamicallyProvisioned]
	if provisioned && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
		return release(v) // it was made for the claim, which has another one now
	}
	return volumePlan{phase: corev1.VolumeAvailable, unbind: true}
}

// release says what becomes of a volume whose claim has gone. External provisioners delete what they made; nobody else can.
func release(v *corev1.PersistentVolume) volumePlan {
	if v.Status.Phase == corev1.VolumeFailed {
		return volumePlan{phase: v.Status.Phase, message: v.Status.Message}
	}
	fail := func(reason, message string) volumePlan {
		return volumePlan{phase: corev1.VolumeFailed, message: message, note: &note{corev1.EventTypeWarning, reason, message}}
	}
	by := v.Annotations[volume.AnnDynamicallyProvisioned]
	_, migrated := v.Annotations[volume.AnnMigratedTo]
	switch v.Spec.PersistentVolumeReclaimPolicy {
	case corev1.PersistentVolumeReclaimRecycle:
		return fail("VolumeFailedRecycle", "No recycler plugin found for the volume!")
	case corev1.PersistentVolumeReclaimDelete:
		if external := by != "" && !strings.HasPrefix(by, "kubernetes.io/") || migrated; !external {
			return fail("VolumeFailedDelete", fmt.Sprintf("error getting deleter volume plugin for volume %q: no deletable volume plugin matched", v.Name))
		}
	}
	return volumePlan{phase: corev1.VolumeReleased}
}
