package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// PodTemplates is all that the server, the printer and the docs know of PodTemplate.
var PodTemplates = api.Kind[corev1.PodTemplate]{
	Version: "v1", Name: "PodTemplate", Plural: "podtemplates", Namespaced: true,
	Generation: true,
	Default:    func(t *corev1.PodTemplate) { DefaultPodTemplate(&t.Template) },
	Validate: func(t, _ *corev1.PodTemplate) field.ErrorList {
		return ValidatePodTemplate(&t.Template, field.NewPath("template"))
	},
	Columns: []api.Column[corev1.PodTemplate]{
		api.NameColumn[corev1.PodTemplate](),
		{Name: "Containers", Description: "Names of each container in the template.", Cell: func(t *corev1.PodTemplate) any { return ContainerNames(&t.Template) }},
		{Name: "Images", Description: "Images referenced by each container in the template.", Cell: func(t *corev1.PodTemplate) any { return ContainerImages(&t.Template) }},
		{Name: "Pod Labels", Description: "The labels of the pods.", Cell: func(t *corev1.PodTemplate) any { return labels.FormatLabels(t.Template.Labels) }},
	},
}
