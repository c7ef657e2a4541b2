package core

import (
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const modeRange = "must be a number between 0 and 0777 (octal), both inclusive"

// validateVolumes also returns the volumes with a name, for the mounts.
func validateVolumes(list []corev1.Volume, template bool, p *field.Path) (volumeSet, field.ErrorList) {
	var errs field.ErrorList
	all := volumeSet{}
	for i := range list {
		v, at := &list[i], p.Index(i)
		errs = append(errs, validateVolume(&v.VolumeSource, template, at)...)
		wrong := requiredDNSLabel(v.Name, at.Child("name"))
		if _, ok := all[v.Name]; ok && len(wrong) == 0 {
			wrong = field.ErrorList{field.Duplicate(at.Child("name"), v.Name)}
		}
		if len(wrong) == 0 {
			all[v.Name] = v.VolumeSource
		}
		errs = append(errs, wrong...)
	}
	return all, errs
}

func validateVolume(s *corev1.VolumeSource, template bool, p *field.Path) field.ErrorList {
	types := setSources(s)
	if len(types) == 0 {
		return field.ErrorList{field.Required(p, "must specify a volume type")}
	}
	errs := validateVolumeType(s, template, p)
	for _, name := range types[1:] {
		errs = append(errs, field.Forbidden(p.Child(name), "may not specify more than 1 volume type"))
	}
	return errs
}

// setSources lists the JSON names of the non-nil pointers of a struct of sources.
func setSources(s any) []string {
	var out []string
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			out = append(out, jsonName(v.Type().Field(i)))
		}
	}
	return out
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func validateVolumeType(s *corev1.VolumeSource, template bool, p *field.Path) field.ErrorList {
	switch {
	case s.EmptyDir != nil:
		if limit := s.EmptyDir.SizeLimit; limit != nil && limit.Sign() < 0 {
			return field.ErrorList{field.Forbidden(p.Child("emptyDir", "sizeLimit"), "SizeLimit field must be a valid resource quantity")}
		}
	case s.HostPath != nil:
		return validateHostPath(s.HostPath, p.Child("hostPath"))
	case s.Secret != nil:
		at := p.Child("secret")
		errs := required(s.Secret.SecretName, at.Child("secretName"))
		errs = append(errs, validateMode(s.Secret.DefaultMode, at.Child("defaultMode"))...)
		return append(errs, validateItems(s.Secret.Items, at.Child("items"))...)
	case s.ConfigMap != nil:
		at := p.Child("configMap")
		errs := required(s.ConfigMap.Name, at.Child("name"))
		errs = append(errs, validateMode(s.ConfigMap.DefaultMode, at.Child("defaultMode"))...)
		return append(errs, validateItems(s.ConfigMap.Items, at.Child("items"))...)
	case s.DownwardAPI != nil:
		at := p.Child("downwardAPI")
		errs := validateMode(s.DownwardAPI.DefaultMode, at.Child("defaultMode"))
		return append(errs, validateDownward(s.DownwardAPI.Items, at)...)
	case s.Projected != nil:
		return validateProjected(s.Projected, p.Child("projected"))
	case s.PersistentVolumeClaim != nil:
		return required(s.PersistentVolumeClaim.ClaimName, p.Child("persistentVolumeClaim", "claimName"))
	case s.Image != nil:
		if !template {
			return required(s.Image.Reference, p.Child("image", "reference"))
		}
	}
	return validateDriver(s, p)
}

// validateDriver checks the sources that name a storage driver or its server.
func validateDriver(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case s.CSI != nil:
		at := p.Child("csi")
		errs = append(errs, validateObjectName(s.CSI.Driver, at.Child("driver"))...)
		if ref := s.CSI.NodePublishSecretRef; ref != nil {
			errs = append(errs, required(ref.Name, at.Child("nodePublishSecretRef", "name"))...)
		}
	case s.Ephemeral != nil:
		at := p.Child("ephemeral", "volumeClaimTemplate")
		t := s.Ephemeral.VolumeClaimTemplate
		if t == nil {
			return field.ErrorList{field.Required(at, "")}
		}
		errs = append(errs, ValidateTemplateMetadata(&t.ObjectMeta, at.Child("metadata"))...)
		if len(t.Spec.AccessModes) == 0 {
			errs = append(errs, field.Required(at.Child("spec", "accessModes"), "at least 1 access mode is required"))
		}
		if q, ok := t.Spec.Resources.Requests[corev1.ResourceStorage]; !ok || q.Sign() <= 0 {
			errs = append(errs, field.Required(at.Child("spec", "resources").Key(string(corev1.ResourceStorage)), ""))
		}
	case s.NFS != nil:
		at := p.Child("nfs")
		errs = append(errs, required(s.NFS.Server, at.Child("server"))...)
		errs = append(errs, required(s.NFS.Path, at.Child("path"))...)
		if s.NFS.Path != "" && s.NFS.Path[0] != '/' {
			errs = append(errs, field.Invalid(at.Child("path"), s.NFS.Path, "must be an absolute path"))
		}
	case s.ISCSI != nil:
		at := p.Child("iscsi")
		errs = append(errs, required(s.ISCSI.TargetPortal, at.Child("targetPortal"))...)
		errs = append(errs, required(s.ISCSI.IQN, at.Child("iqn"))...)
	case s.GitRepo != nil:
		errs = append(errs, required(s.GitRepo.Repository, p.Child("gitRepo", "repository"))...)
		errs = append(errs, descendingPath(s.GitRepo.Directory, p.Child("gitRepo", "directory"))...)
	case s.FlexVolume != nil:
		errs = append(errs, required(s.FlexVolume.Driver, p.Child("flexVolume", "driver"))...)
	}
	return errs
}

func validateHostPath(h *corev1.HostPathVolumeSource, p *field.Path) field.ErrorList {
	if h.Path == "" {
		return field.ErrorList{field.Required(p.Child("path"), "")}
	}
	errs := noBacksteps(h.Path, p.Child("path"))
	return append(errs, optionalOneOf(h.Type, p.Child("type"),
		corev1.HostPathUnset, corev1.HostPathBlockDev, corev1.HostPathCharDev, corev1.HostPathDirectory,
		corev1.HostPathDirectoryOrCreate, corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)...)
}

func validateMode(mode *int32, p *field.Path) field.ErrorList {
	if mode == nil || *mode >= 0 && *mode <= 0o777 {
		return nil
	}
	return field.ErrorList{field.Invalid(p, *mode, modeRange)}
}

func validateItems(items []corev1.KeyToPath, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		at := p.Index(i)
		errs = append(errs, required(item.Key, at.Child("key"))...)
		errs = append(errs, required(item.Path, at.Child("path"))...)
		errs = append(errs, fileInVolume(item.Path, at.Child("path"))...)
		errs = append(errs, validateMode(item.Mode, at.Child("mode"))...)
	}
	return errs
}

func validateDownward(files []corev1.DownwardAPIVolumeFile, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range files {
		f := &files[i]
		errs = append(errs, required(f.Path, p.Child("path"))...)
		errs = append(errs, fileInVolume(f.Path, p.Child("path"))...)
		switch {
		case f.FieldRef != nil && f.ResourceFieldRef != nil:
			errs = append(errs, field.Invalid(p, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		case f.FieldRef != nil:
			errs = append(errs, validateFieldRef(f.FieldRef, volumeFields, p.Child("fieldRef"))...)
		case f.ResourceFieldRef != nil:
			errs = append(errs, validateResourceRef(f.ResourceFieldRef, true, p.Child("resourceFieldRef"))...)
		default:
			errs = append(errs, field.Required(p, "one of fieldRef and resourceFieldRef is required"))
		}
		errs = append(errs, validateMode(f.Mode, p.Child("mode"))...)
	}
	return errs
}

// pathSet finds two sources of one volume that would write the same file.
type pathSet struct{ seen sets.Set[string] }

func (s pathSet) add(value string, p *field.Path) field.ErrorList {
	if value == "" {
		return nil
	}
	if s.seen.Has(value) {
		return field.ErrorList{field.Invalid(p, value, "conflicting duplicate paths")}
	}
	s.seen.Insert(value)
	return nil
}
