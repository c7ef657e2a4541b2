package core

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

var (
	// subscripted is a path to one label or annotation: metadata.annotations['key'].
	subscripted = regexp.MustCompile(`^(metadata\.(?:labels|annotations))\['(.*)'\]$`)

	envFields = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	volumeFields = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}

	resourceFields = []string{
		"limits.cpu", "limits.ephemeral-storage", "limits.memory",
		"requests.cpu", "requests.ephemeral-storage", "requests.memory",
	}
	cpuDivisors    = []string{"1m", "1"}
	memoryDivisors = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
)

func validateEnv(list []corev1.EnvVar, volumes volumeSet, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		at := p.Index(i)
		if list[i].Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else {
			errs = append(errs, api.Invalid(at.Child("name"), list[i].Name, utilvalidation.IsRelaxedEnvVarName(list[i].Name))...)
		}
		if list[i].ValueFrom != nil {
			errs = append(errs, validateEnvSource(&list[i], volumes, at.Child("valueFrom"))...)
		}
	}
	return errs
}

func validateEnvSource(e *corev1.EnvVar, volumes volumeSet, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	from, sources := e.ValueFrom, 0
	if from.FieldRef != nil {
		sources++
		errs = append(errs, validateFieldRef(from.FieldRef, envFields, p.Child("fieldRef"))...)
	}
	if from.ResourceFieldRef != nil {
		sources++
		errs = append(errs, validateResourceRef(from.ResourceFieldRef, false, p.Child("resourceFieldRef"))...)
	}
	if r := from.ConfigMapKeyRef; r != nil {
		sources++
		errs = append(errs, validateKeyRef(r.Name, r.Key, p.Child("configMapKeyRef"))...)
	}
	if r := from.SecretKeyRef; r != nil {
		sources++
		errs = append(errs, validateKeyRef(r.Name, r.Key, p.Child("secretKeyRef"))...)
	}
	if r := from.FileKeyRef; r != nil {
		sources++
		errs = append(errs, validateFileRef(r, volumes, p.Child("fileKeyRef"))...)
	}
	switch {
	case sources == 0:
		errs = append(errs, field.Invalid(p, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
	case e.Value != "":
		errs = append(errs, field.Invalid(p, "", "may not be specified when `value` is not empty"))
	case sources > 1:
		errs = append(errs, field.Invalid(p, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func validateKeyRef(name, key string, p *field.Path) field.ErrorList {
	errs := required(name, p.Child("name"))
	if key == "" {
		return append(errs, field.Required(p.Child("key"), ""))
	}
	return append(errs, api.Invalid(p.Child("key"), key, api.ValidateDataKey(key))...)
}

func validateFileRef(r *corev1.FileKeySelector, volumes volumeSet, p *field.Path) field.ErrorList {
	errs := required(r.Key, p.Child("key"))
	if r.Path == "" {
		errs = append(errs, field.Required(p.Child("path"), ""))
	} else {
		errs = append(errs, fileInVolume(r.Path, p.Child("path"))...)
	}
	source, ok := volumes[r.VolumeName]
	switch {
	case r.VolumeName == "":
		errs = append(errs, field.Required(p.Child("volumeName"), ""))
	case !ok:
		errs = append(errs, field.NotFound(p.Child("volumeName"), r.VolumeName))
	case source.EmptyDir == nil:
		errs = append(errs, field.Invalid(p.Child("volumeName"), r.VolumeName, "referenced volume must be of type emptyDir"))
	}
	return errs
}

func validateFieldRef(r *corev1.ObjectFieldSelector, allowed []string, p *field.Path) field.ErrorList {
	at := p.Child("fieldPath")
	switch {
	case r.APIVersion == "":
		return field.ErrorList{field.Required(p.Child("apiVersion"), "")}
	case r.FieldPath == "":
		return field.ErrorList{field.Required(at, "")}
	case r.APIVersion != "v1":
		return field.ErrorList{field.Invalid(at, r.FieldPath, fmt.Sprintf("error converting fieldPath: unsupported pod version: %s", r.APIVersion))}
	}
	if m := subscripted.FindStringSubmatch(r.FieldPath); m != nil {
		key := m[2]
		if m[1] == "metadata.annotations" {
			key = strings.ToLower(key)
		}
		return qualifiedName(key, at)
	}
	if slices.Contains(allowed, r.FieldPath) {
		return nil
	}
	if !slices.Contains(envFields, r.FieldPath) && !slices.Contains(volumeFields, r.FieldPath) {
		return field.ErrorList{field.Invalid(at, r.FieldPath, fmt.Sprintf("error converting fieldPath: field label not supported: %s", r.FieldPath))}
	}
	return field.ErrorList{field.NotSupported(at, r.FieldPath, allowed)}
}

// validateResourceRef needs the name of the container in a volume, which belongs to none.
func validateResourceRef(r *corev1.ResourceFieldSelector, volume bool, p *field.Path) field.ErrorList {
	if volume && r.ContainerName == "" {
		return field.ErrorList{field.Required(p.Child("containerName"), "")}
	}
	if r.Resource == "" {
		return field.ErrorList{field.Required(p.Child("resource"), "")}
	}
	huge := strings.HasPrefix(r.Resource, "limits."+corev1.ResourceHugePagesPrefix) ||
		strings.HasPrefix(r.Resource, "requests."+corev1.ResourceHugePagesPrefix)
	if !huge && !slices.Contains(resourceFields, r.Resource) {
		return field.ErrorList{field.NotSupported(p.Child("resource"), r.Resource, resourceFields)}
	}
	if r.Divisor.IsZero() {
		return nil
	}
	_, kind, _ := strings.Cut(r.Resource, ".")
	allowed, name := memoryDivisors, kind
	if kind == "cpu" {
		allowed = cpuDivisors
	}
	for _, s := range allowed {
		if d := resource.MustParse(s); d.Cmp(r.Divisor) == 0 {
			return nil
		}
	}
	return field.ErrorList{field.Invalid(p.Child("divisor"), r.Resource,
		fmt.Sprintf("only divisor's values %s are supported with the %s resource", strings.Join(allowed, ", "), name))}
}

func validateEnvFrom(list []corev1.EnvFromSource, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		at, sources := p.Index(i), 0
		if list[i].Prefix != "" {
			errs = append(errs, api.Invalid(at.Child("prefix"), list[i].Prefix, utilvalidation.IsRelaxedEnvVarName(list[i].Prefix))...)
		}
		if r := list[i].ConfigMapRef; r != nil {
			sources++
			errs = append(errs, validateObjectName(r.Name, at.Child("configMapRef", "name"))...)
		}
		if r := list[i].SecretRef; r != nil {
			sources++
			errs = append(errs, validateObjectName(r.Name, at.Child("secretRef", "name"))...)
		}
		switch {
		case sources == 0:
			errs = append(errs, field.Invalid(p, "", "must specify one of: `configMapRef` or `secretRef`"))
		case sources > 1:
			errs = append(errs, field.Invalid(p, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}

func validateObjectName(name string, p *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return api.DNSSubdomain(name, p)
}
