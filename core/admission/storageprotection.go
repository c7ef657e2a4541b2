package admission

import (
	"context"
	"slices"

	"github.com/gantryio/gantry/core/api"
)

// StorageProtection gives new claims, volumes and classes of attributes a finalizer, which their controllers take away when
// nobody uses them any longer.
type StorageProtection struct{}

var _ Mutator = StorageProtection{}

var protected = map[string]string{
	"PersistentVolumeClaim": "kubernetes.io/pvc-protection",
	"PersistentVolume":      "kubernetes.io/pv-protection",
	"VolumeAttributesClass": "kubernetes.io/vac-protection",
}

// Name implements [Plugin].
func (StorageProtection) Name() string { return "StorageObjectInUseProtection" }

// About implements [Selective].
func (StorageProtection) About(r *api.Resource) bool {
	return storageGroup(r) && protected[r.Kind] != ""
}

// Admit implements [Mutator].
func (StorageProtection) Admit(_ context.Context, a *Attributes) error {
	if a.Operation != Create || a.Subresource != "" {
		return nil
	}
	if finalizer := protected[a.Resource.Kind]; finalizer != "" && storageGroup(a.Resource) {
		if had := a.Object.GetFinalizers(); !slices.Contains(had, finalizer) {
			a.Object.SetFinalizers(append(had, finalizer))
		}
	}
	return nil
}

func storageGroup(r *api.Resource) bool { return r.Group == "" || r.Group == "storage.k8s.io" }
