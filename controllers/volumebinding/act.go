package volumebinding

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/volume"
)

// bind writes that volume and claim belong together: the volume first, so that whatever happens in between is carried on
// with from there.
func (c *Controller) bind(ctx context.Context, v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) error {
	update, changed, err := volume.GetBindVolumeToClaim(v, claim)
	if err != nil {
		return err
	}
	if changed {
		if err := c.Client.Update(ctx, update); err != nil {
			return fmt.Errorf("bind volume %s: %w", v.Name, err)
		}
		v = update
	}
	if err := c.setPhase(ctx, v, corev1.VolumeBound, ""); err != nil {
		return err
	}
	if claim, err = c.bindClaim(ctx, claim, v); err != nil {
		return err
	}
	return c.setStatus(ctx, claim, boundStatus(claim, v))
}

func (c *Controller) bindClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim, v *corev1.PersistentVolume) (*corev1.PersistentVolumeClaim, error) {
	update := claim.DeepCopy()
	if update.Spec.VolumeName != v.Name {
		update.Spec.VolumeName = v.Name
		metav1.SetMetaDataAnnotation(&update.ObjectMeta, volume.AnnBoundByController, "yes")
	}
	if !metav1.HasAnnotation(update.ObjectMeta, volume.AnnBindCompleted) {
		metav1.SetMetaDataAnnotation(&update.ObjectMeta, volume.AnnBindCompleted, "yes")
	}
	if equality.Semantic.DeepEqual(update, claim) {
		return claim, nil
	}
	if err := c.Client.Update(ctx, update); err != nil {
		return nil, fmt.Errorf("bind claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return update, nil
}

// boundStatus is the status of a claim with its volume. The size of one that is bound already belongs to who lets it grow.
func boundStatus(claim *corev1.PersistentVolumeClaim, v *corev1.PersistentVolume) *corev1.PersistentVolumeClaimStatus {
	out := claim.Status.DeepCopy()
	if out.Phase != corev1.ClaimBound || out.Capacity == nil {
		out.Capacity = v.Spec.Capacity
	}
	if out.Phase != corev1.ClaimBound {
		out.CurrentVolumeAttributesClassName = v.Spec.VolumeAttributesClassName
	}
	out.Phase, out.AccessModes = corev1.ClaimBound, v.Spec.AccessModes
	return out
}

// unboundStatus is the status of a claim without a volume.
func unboundStatus(claim *corev1.PersistentVolumeClaim, phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaimStatus {
	out := claim.Status.DeepCopy()
	out.Phase, out.AccessModes, out.Capacity = phase, nil, nil
	return out
}

func (c *Controller) setStatus(ctx context.Context, claim *corev1.PersistentVolumeClaim, status *corev1.PersistentVolumeClaimStatus) error {
	if equality.Semantic.DeepEqual(&claim.Status, status) {
		return nil
	}
	update := claim.DeepCopy()
	update.Status = *status
	if err := c.Client.Status().Update(ctx, update); err != nil {
		return fmt.Errorf("set the status of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

func (c *Controller) setPhase(ctx context.Context, v *corev1.PersistentVolume, phase corev1.PersistentVolumePhase, message string) error {
	if v.Status.Phase == phase {
		return nil
	}
	update := v.DeepCopy()
	update.Status.Phase, update.Status.Message = phase, message
	if err := c.Client.Status().Update(ctx, update); err != nil {
		return fmt.Errorf("set the phase of volume %s: %w", v.Name, err)
	}
	return nil
}

// annotate asks a provisioner for a volume, or gives the claim the default class.
func (c *Controller) annotate(ctx context.Context, claim *corev1.PersistentVolumeClaim, p *claimPlan) (*corev1.PersistentVolumeClaim, error) {
	update := claim.DeepCopy()
	if p.class != "" {
		update.Spec.StorageClassName = new(p.class)
	}
	if p.provisioner != "" {
		metav1.SetMetaDataAnnotation(&update.ObjectMeta, volume.AnnBetaStorageProvisioner, p.provisioner)
		metav1.SetMetaDataAnnotation(&update.ObjectMeta, volume.AnnStorageProvisioner, p.provisioner)
	}
	if equality.Semantic.DeepEqual(update, claim) {
		return claim, nil
	}
	if err := c.Client.Update(ctx, update); err != nil {
		return nil, fmt.Errorf("update claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return update, nil
}

// unbind takes a volume back: all of the reference when the controller made it, else what ties it to just this claim.
func (c *Controller) unbind(ctx context.Context, v *corev1.PersistentVolume) (*corev1.PersistentVolume, error) {
	update := v.DeepCopy()
	if metav1.HasAnnotation(v.ObjectMeta, volume.AnnBoundByController) {
		update.Spec.ClaimRef = nil
		delete(update.Annotations, volume.AnnBoundByController)
	} else {
		update.Spec.ClaimRef.UID = ""
	}
	if err := c.Client.Update(ctx, update); err != nil {
		return nil, fmt.Errorf("unbind volume %s: %w", v.Name, err)
	}
	return update, nil
}
