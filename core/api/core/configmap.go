package core

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// ConfigMaps is all that the server, the printer and the docs know of ConfigMap.
var ConfigMaps = api.Kind[corev1.ConfigMap]{
	Version: "v1", Name: "ConfigMap", Plural: "configmaps", Short: []string{"cm"}, Namespaced: true,
	SharesBody: true,
	Validate:   validateConfigMap,
	Columns: []api.Column[corev1.ConfigMap]{
		api.NameColumn[corev1.ConfigMap](),
		{
			Name: "Data", Description: "Number of keys of data and binaryData.",
			Cell: func(cm *corev1.ConfigMap) any { return int64(len(cm.Data) + len(cm.BinaryData)) },
		},
		api.AgeColumn[corev1.ConfigMap](),
	},
}

func validateConfigMap(cm, old *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	size := 0
	data, binary := field.NewPath("data"), field.NewPath("binaryData")
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		errs = append(errs, validateDataKey(data, key)...)
		if _, twice := cm.BinaryData[key]; twice {
			errs = append(errs, field.Invalid(data.Key(key), key, fmt.Sprintf("duplicate of key present in %s", binary)))
		}
		size += len(cm.Data[key])
	}
	for _, key := range slices.Sorted(maps.Keys(cm.BinaryData)) {
		errs = append(errs, validateDataKey(binary, key)...)
		size += len(cm.BinaryData[key])
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(field.NewPath(""), cm, corev1.MaxSecretSize))
	}
	if old != nil && isTrue(old.Immutable) {
		errs = append(errs, validateStillImmutable(cm.Immutable)...)
		errs = append(errs, validateUnchanged(cm.Data, old.Data, data)...)
		errs = append(errs, validateUnchanged(cm.BinaryData, old.BinaryData, binary)...)
	}
	return errs
}

func validateDataKey(p *field.Path, key string) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range api.ValidateDataKey(key) {
		errs = append(errs, field.Invalid(p.Key(key), key, msg))
	}
	return errs
}

func validateStillImmutable(immutable *bool) field.ErrorList {
	if isTrue(immutable) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("immutable"), "field is immutable when `immutable` is set")}
}

func validateUnchanged(value, old any, p *field.Path) field.ErrorList {
	if equality.Semantic.DeepEqual(value, old) {
		return nil
	}
	return field.ErrorList{field.Forbidden(p, "field is immutable when `immutable` is set")}
}
