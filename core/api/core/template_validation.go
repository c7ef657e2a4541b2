package core

import (
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateTemplateMetadata checks the metadata of what is made for a pod: labels and annotations, and nothing else.
func ValidateTemplateMetadata(m *metav1.ObjectMeta, p *field.Path) field.ErrorList {
	errs := validation.ValidateAnnotations(m.Annotations, p.Child("annotations"))
	errs = append(errs, metavalidation.ValidateLabels(m.Labels, p.Child("labels"))...)
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name != "Annotations" && name != "Labels" && !v.Field(i).IsZero() {
			errs = append(errs, field.Forbidden(p.Child(strings.ToLower(name[:1])+name[1:]), "cannot be set"))
		}
	}
	return errs
}
