package storage

import (
	"math"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

const (
	maxAttachmentMetadata = 256 << 10
	maxErrorMessage       = 1024
)

// VolumeAttachments is all that the server, the printer and the docs know of VolumeAttachment.
var VolumeAttachments = api.Kind[storagev1.VolumeAttachment]{
	Group: "storage.k8s.io", Version: "v1", Name: "VolumeAttachment", Plural: "volumeattachments",
	Earlier:                      []string{"storage.k8s.io/v1alpha1", "storage.k8s.io/v1beta1"},
	Subresources:                 api.Status,
	UnconditionalUpdateForbidden: true,
	Validate:                     validateAttachment,
	ValidateStatus:               validateAttachment,
	Columns: []api.Column[storagev1.VolumeAttachment]{
		api.NameColumn[storagev1.VolumeAttachment](),
		{Name: "Attacher", Format: "name", Description: "Who attaches the volume.", Cell: func(a *storagev1.VolumeAttachment) any { return a.Spec.Attacher }},
		{Name: "PV", Description: "The volume.", Cell: func(a *storagev1.VolumeAttachment) any { return attachedVolume(a) }},
		{Name: "Node", Description: "The node that it is attached to.", Cell: func(a *storagev1.VolumeAttachment) any { return a.Spec.NodeName }},
		{Name: "Attached", Type: "boolean", Description: "Whether it is attached.", Cell: func(a *storagev1.VolumeAttachment) any { return a.Status.Attached }},
		api.AgeColumn[storagev1.VolumeAttachment](),
	},
}

func attachedVolume(a *storagev1.VolumeAttachment) string {
	if a.Spec.Source.PersistentVolumeName == nil {
		return ""
	}
	return *a.Spec.Source.PersistentVolumeName
}

func validateAttachment(a, old *storagev1.VolumeAttachment) field.ErrorList {
	p := field.NewPath("spec")
	var errs field.ErrorList
	if a.Spec.Attacher == "" {
		errs = append(errs, field.Required(p.Child("attacher"), a.Spec.Attacher))
	}
	errs = append(errs, validateSource(&a.Spec.Source, p.Child("source"))...)
	errs = append(errs, api.Invalid(p.Child("nodeName"), a.Spec.NodeName, utilvalidation.IsDNS1123Subdomain(a.Spec.NodeName))...)
	errs = append(errs, validateAttachmentStatus(&a.Status, field.NewPath("status"))...)
	if old != nil {
		if !equality.Semantic.DeepEqual(old.Spec, a.Spec) {
			errs = append(errs, field.Invalid(p, a.Spec, "field is immutable"))
		}
		return errs
	}
	errs = append(errs, validateDriverName(a.Spec.Attacher, p.Child("attacher"))...)
	if name := a.Spec.Source.PersistentVolumeName; name != nil {
		errs = append(errs, api.Invalid(p.Child("source", "persistentVolumeName"), *name, utilvalidation.IsDNS1123Subdomain(*name))...)
	}
	return errs
}

func validateSource(s *storagev1.VolumeAttachmentSource, p *field.Path) field.ErrorList {
	const one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
	switch name, spec := s.PersistentVolumeName, s.InlineVolumeSpec; {
	case name == nil && spec == nil:
		return field.ErrorList{field.Required(p, one)}
	case name != nil && spec != nil:
		return field.ErrorList{field.Forbidden(p, one)}
	case name != nil && *name == "":
		return field.ErrorList{field.Required(p.Child("persistentVolumeName"), "must specify non empty persistentVolumeName")}
	case spec != nil:
		return core.ValidateInlineVolume(spec, p.Child("inlineVolumeSpec"))
	}
	return nil
}

func validateAttachmentStatus(s *storagev1.VolumeAttachmentStatus, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for k, v := range s.AttachmentMetadata {
		size += len(k) + len(v)
	}
	if size > maxAttachmentMetadata {
		errs = append(errs, field.TooLong(p.Child("attachmentMetadata"), "", maxAttachmentMetadata))
	}
	errs = append(errs, validateError(s.AttachError, p.Child("attachError"))...)
	return append(errs, validateError(s.DetachError, p.Child("detachError"))...)
}

func validateError(e *storagev1.VolumeError, p *field.Path) field.ErrorList {
	if e == nil {
		return nil
	}
	var errs field.ErrorList
	if len(e.Message) > maxErrorMessage {
		errs = append(errs, field.TooLong(p.Child("message"), "", maxErrorMessage))
	}
	if e.ErrorCode != nil && *e.ErrorCode < 0 {
		errs = append(errs, field.Invalid(p.Child("errorCode"), *e.ErrorCode, utilvalidation.InclusiveRangeError(0, math.MaxInt32)))
	}
	return errs
}
