package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// PersistentVolumeClaims is all that the server, the printer and the docs know of PersistentVolumeClaim.
var PersistentVolumeClaims = api.Kind[corev1.PersistentVolumeClaim]{
	Version: "v1", Name: "PersistentVolumeClaim", Plural: "persistentvolumeclaims", Short: []string{"pvc"}, Namespaced: true,
	Subresources:   api.Status,
	StatusMetadata: true,
	Default:        DefaultPersistentVolumeClaim,
	Prepare:        prepareClaim,
	Validate:       validateClaim,
	ValidateStatus: validateClaimStatus,
	Columns: []api.Column[corev1.PersistentVolumeClaim]{
		api.NameColumn[corev1.PersistentVolumeClaim](),
		{Name: "Status", Description: "The phase of the claim.", Cell: func(c *corev1.PersistentVolumeClaim) any { return claimPhase(c) }},
		{Name: "Volume", Description: "The bound volume.", Cell: func(c *corev1.PersistentVolumeClaim) any { return c.Spec.VolumeName }},
		{Name: "Capacity", Description: "The size of the bound volume.", Cell: func(c *corev1.PersistentVolumeClaim) any { return claimCapacity(c) }},
		{Name: "Access Modes", Description: "How the bound volume can be mounted.", Cell: func(c *corev1.PersistentVolumeClaim) any { return claimModes(c) }},
		{Name: "StorageClass", Description: "The class that is asked for.", Cell: func(c *corev1.PersistentVolumeClaim) any { return claimClass(c) }},
		{Name: "VolumeAttributesClass", Description: "The attributes that are asked for.", Cell: func(c *corev1.PersistentVolumeClaim) any { return orUnset(c.Spec.VolumeAttributesClassName) }},
		api.AgeColumn[corev1.PersistentVolumeClaim](),
		{Name: "VolumeMode", Priority: 1, Description: "Block or Filesystem.", Cell: func(c *corev1.PersistentVolumeClaim) any { return orUnset(c.Spec.VolumeMode) }},
	},
}

// ClaimVolume is the volume of a pod that mounts a claim.
func ClaimVolume(name, claim string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
	}}
}

// DefaultPersistentVolumeClaim also defaults the claim templates of workloads.
func DefaultPersistentVolumeClaim(c *corev1.PersistentVolumeClaim) {
	setDefault(&c.Status.Phase, corev1.ClaimPending)
	setDefaultPointer(&c.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	roundUp(c.Spec.Resources.Requests)
	roundUp(c.Spec.Resources.Limits)
}

// prepareClaim gives a new claim its phase and keeps the two ways to name a data source the same.
func prepareClaim(c, old *corev1.PersistentVolumeClaim) {
	if old == nil {
		c.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
	}
	s := &c.Spec
	switch {
	case s.DataSource != nil && s.DataSourceRef == nil:
		s.DataSourceRef = &corev1.TypedObjectReference{APIGroup: s.DataSource.APIGroup, Kind: s.DataSource.Kind, Name: s.DataSource.Name}
	case s.DataSource == nil && s.DataSourceRef != nil && (s.DataSourceRef.Namespace == nil || *s.DataSourceRef.Namespace == ""):
		s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: s.DataSourceRef.APIGroup, Kind: s.DataSourceRef.Kind, Name: s.DataSourceRef.Name}
	}
}

func claimPhase(c *corev1.PersistentVolumeClaim) string {
	if c.DeletionTimestamp != nil {
		return "Terminating"
	}
	return string(c.Status.Phase)
}

func claimCapacity(c *corev1.PersistentVolumeClaim) string {
	if c.Spec.VolumeName == "" {
		return ""
	}
	q := c.Status.Capacity[corev1.ResourceStorage]
	return q.String()
}

func claimModes(c *corev1.PersistentVolumeClaim) string {
	if c.Spec.VolumeName == "" {
		return ""
	}
	return shortModes(c.Status.AccessModes)
}

func shortModes(modes []corev1.PersistentVolumeAccessMode) string {
	short := []struct {
		mode corev1.PersistentVolumeAccessMode
		text string
	}{{corev1.ReadWriteOnce, "RWO"}, {corev1.ReadOnlyMany, "ROX"}, {corev1.ReadWriteMany, "RWX"}, {corev1.ReadWriteOncePod, "RWOP"}}
	var out []string
	for _, m := range short {
		if slices.Contains(modes, m.mode) {
			out = append(out, m.text)
		}
	}
	return strings.Join(out, ",")
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

func orUnset[T ~string](v *T) string {
	if v == nil {
		return "<unset>"
	}
	return string(*v)
}

func validateClaim(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateClaimSpec(&c.Spec, p)
	if old == nil {
		return errs
	}
	was, now := old.Spec.DeepCopy(), c.Spec.DeepCopy()
	if was.VolumeName == "" {
		was.VolumeName = now.VolumeName // it is given once
	}
	if c.Status.Phase == corev1.ClaimBound {
		setStorage(now, was)
		now.VolumeAttributesClassName = was.VolumeAttributesClassName
	}
	if class, ok := old.Annotations[corev1.BetaStorageClassAnnotation]; ok && was.StorageClassName == nil && now.StorageClassName != nil && *now.StorageClassName == class {
		was.StorageClassName = now.StorageClassName
	}
	if was.StorageClassName == nil && now.StorageClassName != nil && was.VolumeName == "" {
		was.StorageClassName = now.StorageClassName // a default class may come later
	}
	if !equality.Semantic.DeepEqual(was, now) {
		errs = append(errs, field.Forbidden(p, fmt.Sprintf(
			"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n%v", diff.Diff(was, now))))
	}
	return append(errs, validateShrink(c, old, p.Child("resources", "requests", "storage"))...)
}

func setStorage(to, from *corev1.PersistentVolumeClaimSpec) {
	if q, ok := from.Resources.Requests[corev1.ResourceStorage]; ok && to.Resources.Requests != nil {
		to.Resources.Requests[corev1.ResourceStorage] = q
	}
}

// validateShrink lets a failed growth be taken back, but not below the size that the volume has.
func validateShrink(c, old *corev1.PersistentVolumeClaim, p *field.Path) field.ErrorList {
	size, before, has := c.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage], old.Status.Capacity[corev1.ResourceStorage]
	if size.Cmp(before) >= 0 || size.Cmp(has) > 0 {
		return nil
	}
	return field.ErrorList{field.Forbidden(p, "field can not be less than status.capacity")}
}

var accessModes = []corev1.PersistentVolumeAccessMode{
	corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod,
}

func validateClaimSpec(s *corev1.PersistentVolumeClaimSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.AccessModes) == 0 {
		errs = append(errs, field.Required(p.Child("accessModes"), "at least 1 access mode is required"))
	}
	errs = append(errs, metav1validation.ValidateLabelSelector(s.Selector, metav1validation.LabelSelectorValidationOptions{}, p.Child("selector"))...)
	errs = append(errs, validateAccessModes(s.AccessModes, p.Child("accessModes"))...)
	at := p.Child("resources").Key(string(corev1.ResourceStorage))
	if q, ok := s.Resources.Requests[corev1.ResourceStorage]; !ok {
		errs = append(errs, field.Required(at, ""))
	} else if q.Sign() <= 0 {
		errs = append(errs, field.Invalid(at, q.String(), "must be greater than zero"))
	}
	if s.StorageClassName != nil && *s.StorageClassName != "" {
		errs = append(errs, api.DNSSubdomain(*s.StorageClassName, p.Child("storageClassName"))...)
	}
	errs = append(errs, optionalOneOf(s.VolumeMode, p.Child("volumeMode"), corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	if v := s.VolumeAttributesClassName; v != nil && *v != "" {
		errs = append(errs, api.DNSSubdomain(*v, p.Child("volumeAttributesClassName"))...)
	}
	if d := s.DataSource; d != nil {
		errs = append(errs, validateDataSource(d.APIGroup, d.Kind, d.Name, p.Child("dataSource"))...)
	}
	if d := s.DataSourceRef; d != nil {
		errs = append(errs, validateDataSource(d.APIGroup, d.Kind, d.Name, p.Child("dataSourceRef"))...)
	}
	if a, b := s.DataSource, s.DataSourceRef; a != nil && b != nil {
		same := a.Kind == b.Kind && a.Name == b.Name && equality.Semantic.DeepEqual(a.APIGroup, b.APIGroup) && b.Namespace == nil
		if !same {
			errs = append(errs, field.Invalid(p, p.Child("dataSource").String(), "must match dataSourceRef"))
		}
	}
	return errs
}

func validateAccessModes(modes []corev1.PersistentVolumeAccessMode, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, m := range modes {
		if !slices.Contains(accessModes, m) {
			errs = append(errs, field.NotSupported(p, m, accessModes))
		}
	}
	if len(modes) > 1 && slices.Contains(modes, corev1.ReadWriteOncePod) {
		errs = append(errs, field.Forbidden(p, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}

func validateDataSource(group *string, kind, name string, p *field.Path) field.ErrorList {
	errs := append(required(name, p.Child("name")), required(kind, p.Child("kind"))...)
	if (group == nil || *group == "") && kind != "PersistentVolumeClaim" {
		errs = append(errs, field.Invalid(p, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
	}
	if group != nil && *group != "" {
		errs = append(errs, api.DNSSubdomain(*group, p.Child("apiGroup"))...)
	}
	return errs
}

func validateClaimStatus(c, _ *corev1.PersistentVolumeClaim) field.ErrorList {
	var errs field.ErrorList
	for _, name := range sortedNames(c.Status.Capacity) {
		if q := c.Status.Capacity[name]; q.Sign() < 0 {
			errs = append(errs, field.Invalid(field.NewPath("status", "capacity").Key(string(name)), q.String(), validation.IsNegativeErrorMsg))
		}
	}
	return errs
}
