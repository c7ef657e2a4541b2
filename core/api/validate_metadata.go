package api

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// As with names, nearly all metadata are good. The library is asked about those that are not plainly so.

// ValidateMetadata is [validation.ValidateObjectMetaAccessor], of an object that is created.
func (r *Resource) ValidateMetadata(obj Object) field.ErrorList {
	if r.goodPlace(obj) && goodMetadata(obj) && goodFinalizers(obj.GetFinalizers()) {
		return nil
	}
	return validation.ValidateObjectMetaAccessor(obj, r.Namespaced, r.ValidateName, field.NewPath("metadata"))
}

// ValidateMetadataUpdate is [validation.ValidateObjectMetaAccessorUpdate].
func ValidateMetadataUpdate(obj, old Object) field.ErrorList {
	if keeps(obj, old) && goodMetadata(obj) {
		return nil
	}
	return validation.ValidateObjectMetaAccessorUpdate(obj, old, field.NewPath("metadata"))
}

// goodPlace is about names and namespaces.
func (r *Resource) goodPlace(obj Object) bool {
	prefix, name, namespace := obj.GetGenerateName(), obj.GetName(), obj.GetNamespace()
	if name == "" || len(r.ValidateName(name, false)) > 0 || prefix != "" && len(r.ValidateName(prefix, true)) > 0 {
		return false
	}
	return !r.Namespaced && namespace == "" || r.Namespaced && isLabel(namespace)
}

// keeps tells that an update changes nothing that may not be changed.
func keeps(obj, old Object) bool {
	if obj.GetResourceVersion() == "" || obj.GetGeneration() < old.GetGeneration() || old.GetDeletionTimestamp() != nil && len(obj.GetFinalizers()) > 0 {
		return false
	}
	created, before := obj.GetCreationTimestamp(), old.GetCreationTimestamp()
	grace, graceBefore := obj.GetDeletionGracePeriodSeconds(), old.GetDeletionGracePeriodSeconds()
	return obj.GetName() == old.GetName() && obj.GetNamespace() == old.GetNamespace() && obj.GetUID() == old.GetUID() &&
		created.Equal(&before) && obj.GetDeletionTimestamp().Equal(old.GetDeletionTimestamp()) &&
		(grace == nil && graceBefore == nil || grace != nil && graceBefore != nil && *grace == *graceBefore)
}

// goodMetadata is about what an object may have when it is created and when it is updated.
func goodMetadata(obj Object) bool {
	if obj.GetGeneration() < 0 {
		return false
	}
	for key, value := range obj.GetLabels() {
		if !isLabelKey(key) || !isLabelValue(value) {
			return false
		}
	}
	size := 0
	for key, value := range obj.GetAnnotations() {
		if size += len(key) + len(value); !isLabelKey(key) {
			return false
		}
	}
	return size <= validation.TotalAnnotationSizeLimitB && goodOwners(obj.GetOwnerReferences()) && goodManagers(obj.GetManagedFields())
}

func goodOwners(owners []metav1.OwnerReference) bool {
	controllers := 0
	for i := range owners {
		o := &owners[i]
		if o.Kind == "" || o.Kind == "Event" || o.Name == "" || o.UID == "" {
			return false
		}
		if group, version, found := strings.Cut(o.APIVersion, "/"); group == "" || found && (version == "" || strings.Contains(version, "/")) {
			return false
		}
		if o.Controller != nil && *o.Controller {
			controllers++
		}
	}
	return controllers <= 1
}

func goodFinalizers(finalizers []string) bool {
	for _, f := range finalizers {
		if !isLabelKey(f) || f == metav1.FinalizerOrphanDependents {
			return false
		}
	}
	return true
}

func goodManagers(entries []metav1.ManagedFieldsEntry) bool {
	for i := range entries {
		e := &entries[i]
		if e.Operation != metav1.ManagedFieldsOperationApply && e.Operation != metav1.ManagedFieldsOperationUpdate ||
			e.FieldsType != "" && e.FieldsType != "FieldsV1" ||
			len(e.Manager) > metav1validation.FieldManagerMaxLength || len(e.Subresource) > metav1validation.MaxSubresourceNameLength {
			return false
		}
		for j := range len(e.Manager) {
			if c := e.Manager[j]; c < ' ' || c > '~' {
				return false
			}
		}
	}
	return true
}
