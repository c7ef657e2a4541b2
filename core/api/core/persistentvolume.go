package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// PersistentVolumes is all that the server, the printer and the docs know of PersistentVolume.
var PersistentVolumes = api.Kind[corev1.PersistentVolume]{
	Version: "v1", Name: "PersistentVolume", Plural: "persistentvolumes", Short: []string{"pv"},
	Subresources:   api.Status,
	StatusMetadata: true,
	Default:        defaultPersistentVolume,
	Prepare:        prepareVolume,
	Validate:       validatePersistentVolume,
	ValidateStatus: func(_, _ *corev1.PersistentVolume) field.ErrorList { return nil },
	Columns: []api.Column[corev1.PersistentVolume]{
		api.NameColumn[corev1.PersistentVolume](),
		{Name: "Capacity", Description: "The size of the volume.", Cell: func(v *corev1.PersistentVolume) any { return volumeCapacity(v) }},
		{Name: "Access Modes", Description: "How the volume can be mounted.", Cell: func(v *corev1.PersistentVolume) any { return shortModes(v.Spec.AccessModes) }},
		{Name: "Reclaim Policy", Description: "What becomes of the volume when its claim is gone.", Cell: func(v *corev1.PersistentVolume) any { return string(v.Spec.PersistentVolumeReclaimPolicy) }},
		{Name: "Status", Description: "The phase of the volume.", Cell: func(v *corev1.PersistentVolume) any { return volumePhase(v) }},
		{Name: "Claim", Description: "The claim that it is bound to.", Cell: func(v *corev1.PersistentVolume) any { return volumeClaim(v) }},
		{Name: "StorageClass", Description: "The class of the volume.", Cell: func(v *corev1.PersistentVolume) any { return volumeClass(v) }},
		{Name: "VolumeAttributesClass", Description: "The attributes of the volume.", Cell: func(v *corev1.PersistentVolume) any { return orUnset(v.Spec.VolumeAttributesClassName) }},
		{Name: "Reason", Description: "Why the volume is in its phase.", Cell: func(v *corev1.PersistentVolume) any { return v.Status.Reason }},
		api.AgeColumn[corev1.PersistentVolume](),
		{Name: "VolumeMode", Priority: 1, Description: "Block or Filesystem.", Cell: func(v *corev1.PersistentVolume) any { return orUnset(v.Spec.VolumeMode) }},
	},
}

func defaultPersistentVolume(v *corev1.PersistentVolume) {
	setDefault(&v.Status.Phase, corev1.VolumePending)
	setDefault(&v.Spec.PersistentVolumeReclaimPolicy, corev1.PersistentVolumeReclaimRetain)
	setDefaultPointer(&v.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	roundUp(v.Spec.Capacity)
	if h := v.Spec.HostPath; h != nil {
		setDefaultPointer(&h.Type, corev1.HostPathUnset)
	}
	if i := v.Spec.ISCSI; i != nil {
		setDefault(&i.ISCSIInterface, "default")
	}
}

// prepareVolume gives a new volume its phase, and notes when a phase began.
func prepareVolume(v, old *corev1.PersistentVolume) {
	if old == nil {
		v.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending}
	}
	if old == nil || old.Status.Phase != v.Status.Phase {
		v.Status.LastPhaseTransitionTime = new(metav1.Now())
	}
}

func volumeCapacity(v *corev1.PersistentVolume) string {
	q := v.Spec.Capacity[corev1.ResourceStorage]
	return q.String()
}

func volumePhase(v *corev1.PersistentVolume) string {
	if v.DeletionTimestamp != nil {
		return "Terminating"
	}
	return string(v.Status.Phase)
}

func volumeClaim(v *corev1.PersistentVolume) string {
	if v.Spec.ClaimRef == nil {
		return ""
	}
	return v.Spec.ClaimRef.Namespace + "/" + v.Spec.ClaimRef.Name
}

func volumeClass(v *corev1.PersistentVolume) string {
	if class, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	return v.Spec.StorageClassName
}

func validatePersistentVolume(v, old *corev1.PersistentVolume) field.ErrorList {
	p, spec := field.NewPath("spec"), &v.Spec
	var errs field.ErrorList
	if len(spec.AccessModes) == 0 {
		errs = append(errs, field.Required(p.Child("accessModes"), ""))
	}
	errs = append(errs, validateAccessModes(spec.AccessModes, p.Child("accessModes"))...)
	errs = append(errs, validateVolumeCapacity(spec.Capacity, p.Child("capacity"))...)
	errs = append(errs, oneOf(spec.PersistentVolumeReclaimPolicy, p.Child("persistentVolumeReclaimPolicy"),
		corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)...)
	errs = append(errs, validateVolumeSource(spec, p)...)
	if spec.StorageClassName != "" {
		errs = append(errs, api.DNSSubdomain(spec.StorageClassName, p.Child("storageClassName"))...)
	}
	errs = append(errs, optionalOneOf(spec.VolumeMode, p.Child("volumeMode"), corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	if a := spec.NodeAffinity; a != nil && a.Required != nil {
		errs = append(errs, ValidateNodeSelector(a.Required, p.Child("nodeAffinity", "required"))...)
	}
	if old == nil {
		return errs
	}
	if !equality.Semantic.DeepEqual(spec.PersistentVolumeSource, old.Spec.PersistentVolumeSource) {
		errs = append(errs, field.Forbidden(p.Child("persistentvolumesource"), fmt.Sprintf(
			"spec.persistentvolumesource is immutable after creation\n%v", diff.Diff(old.Spec.PersistentVolumeSource, spec.PersistentVolumeSource))))
	}
	errs = append(errs, validation.ValidateImmutableField(spec.VolumeMode, old.Spec.VolumeMode, p.Child("volumeMode"))...)
	if old.Spec.NodeAffinity != nil {
		errs = append(errs, validation.ValidateImmutableField(spec.NodeAffinity, old.Spec.NodeAffinity, p.Child("nodeAffinity"))...)
	}
	return errs
}

// ValidateInlineVolume checks the volume that a VolumeAttachment carries in itself: what makes it a CSI volume, and nothing of
// what is between a volume and its claim.
func ValidateInlineVolume(spec *corev1.PersistentVolumeSpec, p *field.Path) field.ErrorList {
	const inline = "may not be specified in the context of inline volumes"
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"claimRef", spec.ClaimRef != nil},
		{"capacity", len(spec.Capacity) > 0},
		{"persistentVolumeReclaimPolicy", spec.PersistentVolumeReclaimPolicy != ""},
		{"nodeAffinity", spec.NodeAffinity != nil},
		{"storageClassName", spec.StorageClassName != ""},
		{"volumeMode", spec.VolumeMode != nil},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(p.Child(f.name), inline))
		}
	}
	if spec.CSI == nil {
		errs = append(errs, field.Required(p.Child("csi"), "has to be specified in the context of inline volumes"))
	}
	if len(spec.AccessModes) == 0 {
		errs = append(errs, field.Required(p.Child("accessModes"), ""))
	}
	errs = append(errs, validateAccessModes(spec.AccessModes, p.Child("accessModes"))...)
	return append(errs, validateVolumeSource(spec, p)...)
}

func validateVolumeCapacity(list corev1.ResourceList, p *field.Path) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(p, "")}
	}
	q, ok := list[corev1.ResourceStorage]
	if !ok || len(list) > 1 {
		return field.ErrorList{field.NotSupported(p, list, []corev1.ResourceName{corev1.ResourceStorage})}
	}
	if q.Sign() <= 0 {
		return field.ErrorList{field.Invalid(p.Key(string(corev1.ResourceStorage)), q.String(), "must be greater than zero")}
	}
	return nil
}

// validateVolumeSource needs exactly one source.
func validateVolumeSource(spec *corev1.PersistentVolumeSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	types := setSources(&spec.PersistentVolumeSource)
	if len(types) == 0 {
		return field.ErrorList{field.Required(p, "must specify a volume type")}
	}
	for _, name := range types[1:] {
		errs = append(errs, field.Forbidden(p.Child(name), "may not specify more than 1 volume type"))
	}
	switch s := &spec.PersistentVolumeSource; {
	case s.HostPath != nil:
		errs = append(errs, validateHostPath(s.HostPath, p.Child("hostPath"))...)
		if s.HostPath.Path == "/" && spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
			errs = append(errs, field.Forbidden(p.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
		}
	case s.NFS != nil:
		errs = append(errs, required(s.NFS.Server, p.Child("nfs", "server"))...)
		errs = append(errs, required(s.NFS.Path, p.Child("nfs", "path"))...)
	case s.Local != nil:
		errs = append(errs, required(s.Local.Path, p.Child("local", "path"))...)
		errs = append(errs, noBacksteps(s.Local.Path, p.Child("local", "path"))...)
		if spec.NodeAffinity == nil || spec.NodeAffinity.Required == nil {
			errs = append(errs, field.Required(p.Child("nodeAffinity"), "Local volume requires node affinity"))
		}
	case s.CSI != nil:
		errs = append(errs, validateObjectName(s.CSI.Driver, p.Child("csi", "driver"))...)
		errs = append(errs, required(s.CSI.VolumeHandle, p.Child("csi", "volumeHandle"))...)
	}
	return errs
}
