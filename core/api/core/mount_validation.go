package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// volumeSet finds the volumes of a pod by name.
type volumeSet map[string]corev1.VolumeSource

func validateMounts(c *corev1.Container, volumes volumeSet, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	paths, devices := sets.New[string](), sets.New[string]()
	for _, d := range c.VolumeDevices {
		devices.Insert(d.DevicePath)
	}
	for i := range c.VolumeMounts {
		m, at := &c.VolumeMounts[i], p.Child("volumeMounts").Index(i)
		errs = append(errs, validateMountName(m.Name, volumes, at)...)
		if m.MountPath == "" {
			errs = append(errs, field.Required(at.Child("mountPath"), ""))
		}
		if paths.Has(m.MountPath) {
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must be unique"))
		}
		if devices.Has(m.MountPath) {
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices"))
		}
		paths.Insert(m.MountPath)
		errs = append(errs, validateSubPath(m, at)...)
		errs = append(errs, validatePropagation(c, m, at)...)
	}
	return append(errs, validateDevices(c, volumes, paths, p.Child("volumeDevices"))...)
}

func validateMountName(name string, volumes volumeSet, p *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p.Child("name"), "")}
	}
	if _, ok := volumes[name]; !ok {
		return field.ErrorList{field.NotFound(p.Child("name"), name)}
	}
	return nil
}

func validateSubPath(m *corev1.VolumeMount, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.SubPath != "" {
		errs = append(errs, descendingPath(m.SubPath, p.Child("subPath"))...)
	}
	if m.SubPathExpr == "" {
		return errs
	}
	if m.SubPath != "" {
		errs = append(errs, field.Invalid(p.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
	}
	return append(errs, descendingPath(m.SubPathExpr, p.Child("subPathExpr"))...)
}

func validatePropagation(c *corev1.Container, m *corev1.VolumeMount, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := p.Child("mountPropagation")
	if m.MountPropagation != nil {
		errs = append(errs, optionalOneOf(m.MountPropagation, at,
			corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)...)
		privileged := c.SecurityContext != nil && isTrue(c.SecurityContext.Privileged)
		if *m.MountPropagation == corev1.MountPropagationBidirectional && !privileged {
			errs = append(errs, field.Forbidden(at, "Bidirectional mount propagation is available only to privileged containers"))
		}
	}
	r := m.RecursiveReadOnly
	if r == nil {
		return errs
	}
	at = p.Child("recursiveReadOnly")
	errs = append(errs, optionalOneOf(r, at, corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyIfPossible, corev1.RecursiveReadOnlyEnabled)...)
	if *r == corev1.RecursiveReadOnlyDisabled {
		return errs
	}
	if !m.ReadOnly {
		errs = append(errs, field.Forbidden(at, "may only be specified when readOnly is true"))
	}
	if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationNone {
		errs = append(errs, field.Forbidden(at, "may only be specified when mountPropagation is None or not specified"))
	}
	return errs
}

func validateDevices(c *corev1.Container, volumes volumeSet, mounts sets.Set[string], p *field.Path) field.ErrorList {
	var errs field.ErrorList
	names, paths, mounted := sets.New[string](), sets.New[string](), sets.New[string]()
	for _, m := range c.VolumeMounts {
		mounted.Insert(m.Name)
	}
	for i, d := range c.VolumeDevices {
		at := p.Index(i)
		errs = append(errs, validateMountName(d.Name, volumes, at)...)
		if source, ok := volumes[d.Name]; ok && source.PersistentVolumeClaim == nil && source.Ephemeral == nil {
			errs = append(errs, field.Invalid(at.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
		}
		switch {
		case d.DevicePath == "":
			errs = append(errs, field.Required(at.Child("devicePath"), ""))
		case paths.Has(d.DevicePath):
			errs = append(errs, field.Invalid(at.Child("devicePath"), d.DevicePath, "must be unique"))
		case mounts.Has(d.DevicePath):
			errs = append(errs, field.Invalid(at.Child("devicePath"), d.DevicePath, "must not already exist as a path in volumeMounts"))
		}
		errs = append(errs, noBacksteps(d.DevicePath, at.Child("devicePath"))...)
		if names.Has(d.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), d.Name, "must be unique"))
		}
		if mounted.Has(d.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), d.Name, "must not already exist in volumeMounts"))
		}
		names.Insert(d.Name)
		paths.Insert(d.DevicePath)
	}
	return errs
}
