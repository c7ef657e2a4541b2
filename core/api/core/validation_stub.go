package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateNode(n, old *corev1.Node) field.ErrorList             { return nil }
func validateNodeStatus(n, old *corev1.Node) field.ErrorList       { return nil }
func validateService(n, old *corev1.Service) field.ErrorList       { return nil }
func validateServiceStatus(n, old *corev1.Service) field.ErrorList { return nil }
func validatePod(n, old *corev1.Pod) field.ErrorList               { return nil }
func validatePodStatus(n, old *corev1.Pod) field.ErrorList         { return nil }
func warnPod(n, old *corev1.Pod) []string                          { return nil }
func validateEvent(n, old *corev1.Event) field.ErrorList           { return nil }
func validateEndpoints(n, old *corev1.Endpoints) field.ErrorList   { return nil }

func ValidateOverhead(list corev1.ResourceList, p *field.Path) field.ErrorList    { return nil }
func ValidateTolerations(list []corev1.Toleration, p *field.Path) field.ErrorList { return nil }
