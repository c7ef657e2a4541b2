package admission

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/storage"
)

var storageClasses = storagev1.SchemeGroupVersion.WithResource("storageclasses")

// claimOf is the claim that is written, nil when it is something else or a subresource.
func claimOf(a *Attributes) *corev1.PersistentVolumeClaim {
	if a.Subresource != "" {
		return nil
	}
	claim, _ := a.Object.(*corev1.PersistentVolumeClaim)
	return claim
}

// DefaultStorageClass gives new claims that name no class the default one.
type DefaultStorageClass struct{ Objects Reader }

var _ Mutator = DefaultStorageClass{}

// Name implements [Plugin].
func (DefaultStorageClass) Name() string { return "DefaultStorageClass" }

// About implements [Selective].
func (DefaultStorageClass) About(r *api.Resource) bool { return isOf(r, "", "PersistentVolumeClaim") }

// Admit implements [Mutator].
func (p DefaultStorageClass) Admit(ctx context.Context, a *Attributes) error {
	claim := claimOf(a)
	if claim == nil || a.Operation != Create || claim.Spec.StorageClassName != nil {
		return nil
	}
	if _, named := claim.Annotations[corev1.BetaStorageClassAnnotation]; named {
		return nil
	}
	classes, err := list[storagev1.StorageClass](ctx, p.Objects, storageClasses)
	if err != nil {
		return err
	}
	if class := storage.Preferred(classes); class != nil {
		claim.Spec.StorageClassName = new(class.Name)
	}
	return nil
}

var (
	errUnbound = errors.New("Only bound persistent volume claims can be expanded") //nolint:staticcheck // Kubernetes' words
	errFixed   = errors.New("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize")
)

// ClaimResize lets only those claims grow that are bound and whose class allows it.
type ClaimResize struct{ Objects Reader }

var _ Validator = ClaimResize{}

// Name implements [Plugin].
func (ClaimResize) Name() string { return "PersistentVolumeClaimResize" }

// About implements [Selective].
func (ClaimResize) About(r *api.Resource) bool { return isOf(r, "", "PersistentVolumeClaim") }

// Validate implements [Validator].
func (p ClaimResize) Validate(ctx context.Context, a *Attributes) error {
	claim := claimOf(a)
	old, ok := a.Old.(*corev1.PersistentVolumeClaim)
	if claim == nil || !ok {
		return nil
	}
	want, had := claim.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage]
	if want.Cmp(had) <= 0 {
		return nil
	}
	if old.Status.Phase != corev1.ClaimBound {
		return apierrors.NewForbidden(a.Resource.GroupResource(), a.Name, errUnbound)
	}
	name := claimClass(claim)
	if name == "" || claimClass(old) == "" {
		return apierrors.NewForbidden(a.Resource.GroupResource(), a.Name, errFixed)
	}
	class, err := get[storagev1.StorageClass](ctx, p.Objects, storageClasses, "", name)
	if err != nil {
		return err
	}
	if class == nil || class.AllowVolumeExpansion == nil || !*class.AllowVolumeExpansion {
		return apierrors.NewForbidden(a.Resource.GroupResource(), a.Name, errFixed)
	}
	return nil
}

func claimClass(c *corev1.PersistentVolumeClaim) string {
	if class, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	if c.Spec.StorageClassName == nil {
		return ""
	}
	return *c.Spec.StorageClassName
}
