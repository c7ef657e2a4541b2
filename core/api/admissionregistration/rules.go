package admissionregistration

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var operations = []admissionv1.OperationType{
	admissionv1.OperationAll, admissionv1.Connect, admissionv1.Create, admissionv1.Delete, admissionv1.Update,
}

func defaultRules(rules []admissionv1.RuleWithOperations) {
	for i := range rules {
		setDefault(&rules[i].Scope, admissionv1.AllScopes)
	}
}

func validateRules(rules []admissionv1.RuleWithOperations, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range rules {
		errs = append(errs, validateRule(&rules[i], p.Index(i))...)
	}
	return errs
}

func validateRule(r *admissionv1.RuleWithOperations, p *field.Path) field.ErrorList {
	errs := validateWords(r.Operations, "operations", p.Child("operations"))
	for i := range r.Operations {
		errs = append(errs, oneOf(p.Child("operations").Index(i), &r.Operations[i], operations...)...)
	}
	errs = append(errs, validateWords(r.APIGroups, "API groups", p.Child("apiGroups"))...)
	errs = append(errs, validateWords(r.APIVersions, "API versions", p.Child("apiVersions"))...)
	for i, version := range r.APIVersions {
		if version == "" {
			errs = append(errs, field.Required(p.Child("apiVersions").Index(i), ""))
		}
	}
	errs = append(errs, validateResources(r.Resources, p.Child("resources"))...)
	return append(errs, oneOf(p.Child("scope"), r.Scope, admissionv1.AllScopes, admissionv1.ClusterScope, admissionv1.NamespacedScope)...)
}

// validateWords wants at least one word, and nothing beside a star.
func validateWords[T ~string](words []T, what string, p *field.Path) field.ErrorList {
	if len(words) == 0 {
		return field.ErrorList{field.Required(p, "")}
	}
	if len(words) > 1 && slices.Contains(words, "*") {
		return field.ErrorList{field.Invalid(p, words, "if '*' is present, must not specify other "+what)}
	}
	return nil
}

// validateResources refuses lists in which one entry covers another.
func validateResources(resources []string, p *field.Path) field.ErrorList {
	if len(resources) == 0 {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	allSubsOf, allWithSub := map[string]bool{}, map[string]bool{}
	plain := false
	for i, name := range resources {
		if name == "" {
			errs = append(errs, field.Required(p.Index(i), ""))
			continue
		}
		resource, sub, has := strings.Cut(name, "/")
		if !has {
			plain = plain || name != "*"
			continue
		}
		if allSubsOf[resource] {
			errs = append(errs, field.Invalid(p.Index(i), name, fmt.Sprintf("if '%s/*' is present, must not specify %s", resource, name)))
		}
		if allWithSub[sub] {
			errs = append(errs, field.Invalid(p.Index(i), name, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, name)))
		}
		allSubsOf[resource] = allSubsOf[resource] || sub == "*"
		allWithSub[sub] = allWithSub[sub] || resource == "*"
	}
	if len(resources) > 1 && slices.Contains(resources, "*/*") {
		errs = append(errs, field.Invalid(p, resources, "if '*/*' is present, must not specify other resources"))
	}
	if plain && slices.Contains(resources, "*") {
		errs = append(errs, field.Invalid(p, resources, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}
