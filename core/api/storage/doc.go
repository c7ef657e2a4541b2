// Package storage declares the kinds of the group storage.k8s.io/v1: what the server, the printer and the store know of
// StorageClass, CSIDriver, CSINode, VolumeAttachment, CSIStorageCapacity and VolumeAttributesClass.
package storage

import (
	"strings"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const (
	maxParameters     = 512
	maxParametersSize = 256 << 10
)

// validateDriver checks the name of a provisioner or driver.
func validateDriver(name string, p *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p, name)}
	}
	return api.Invalid(p, strings.ToLower(name), utilvalidation.IsQualifiedName(strings.ToLower(name)))
}

// validateParameters bounds what is handed to a driver.
func validateParameters(parameters map[string]string, p *field.Path) field.ErrorList {
	if len(parameters) > maxParameters {
		return field.ErrorList{field.TooLong(p, "", maxParameters)}
	}
	var errs field.ErrorList
	size := 0
	for k, v := range parameters {
		if k == "" {
			errs = append(errs, field.Invalid(p, k, "field can not be empty."))
		}
		size += len(k) + len(v)
	}
	if size > maxParametersSize {
		errs = append(errs, field.TooLong(p, "", maxParametersSize))
	}
	return errs
}

func isTrue(b *bool) bool { return b != nil && *b }
