package admissionregistration

import (
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

var mutatingOperations = []admissionv1.OperationType{admissionv1.OperationAll, admissionv1.Connect, admissionv1.Create, admissionv1.Update}

func defaultMatch(m *admissionv1.MatchResources) {
	if m == nil {
		return
	}
	setDefault(&m.MatchPolicy, admissionv1.Equivalent)
	setDefault(&m.NamespaceSelector, metav1.LabelSelector{})
	setDefault(&m.ObjectSelector, metav1.LabelSelector{})
	for _, list := range [][]admissionv1.NamedRuleWithOperations{m.ResourceRules, m.ExcludeResourceRules} {
		for i := range list {
			setDefault(&list[i].Scope, admissionv1.AllScopes)
		}
	}
}

func validateMatch(m *admissionv1.MatchResources, p *field.Path) field.ErrorList {
	if m == nil {
		return nil
	}
	var errs field.ErrorList
	if m.MatchPolicy == nil {
		errs = append(errs, field.Required(p.Child("matchPolicy"), ""))
	}
	errs = append(errs, oneOf(p.Child("matchPolicy"), m.MatchPolicy, admissionv1.Equivalent, admissionv1.Exact)...)
	if m.NamespaceSelector == nil {
		errs = append(errs, field.Required(p.Child("namespaceSelector"), ""))
	}
	errs = append(errs, validateSelector(m.NamespaceSelector, false, p.Child("namespaceSelector"))...)
	if m.ObjectSelector == nil {
		errs = append(errs, field.Required(p.Child("objectSelector"), ""))
	}
	errs = append(errs, validateSelector(m.ObjectSelector, false, p.Child("objectSelector"))...)
	errs = append(errs, validateNamedRules(m.ResourceRules, p.Child("resourceRules"))...)
	return append(errs, validateNamedRules(m.ExcludeResourceRules, p.Child("excludeResourceRules"))...)
}

func validateNamedRules(rules []admissionv1.NamedRuleWithOperations, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range rules {
		names := p.Index(i).Child("resourceNames")
		for j, name := range rules[i].ResourceNames {
			errs = append(errs, api.Invalid(names.Index(j), name, path.IsValidPathSegmentName(name))...)
			if slices.Contains(rules[i].ResourceNames[:j], name) {
				errs = append(errs, field.Duplicate(names.Index(j), name))
			}
		}
		errs = append(errs, validateRule(&rules[i].RuleWithOperations, p.Index(i))...)
	}
	return errs
}

// validateConstraints checks what a policy applies to.
func validateConstraints(m *admissionv1.MatchResources, p *field.Path) field.ErrorList {
	if m == nil {
		return field.ErrorList{field.Required(p, "")}
	}
	errs := validateMatch(m, p)
	if len(m.ResourceRules) == 0 {
		errs = append(errs, field.Required(p.Child("resourceRules"), ""))
	}
	return errs
}

// validateMutable refuses operations without an object that could be changed.
func validateMutable(m *admissionv1.MatchResources, p *field.Path) field.ErrorList {
	if m == nil {
		return nil
	}
	var errs field.ErrorList
	for i := range m.ResourceRules {
		for j := range m.ResourceRules[i].Operations {
			errs = append(errs, oneOf(p.Child("resourceRules", "operations"), &m.ResourceRules[i].Operations[j], mutatingOperations...)...)
		}
	}
	return errs
}

func validateParamKind(k *admissionv1.ParamKind, p *field.Path) field.ErrorList {
	if k == nil {
		return nil
	}
	errs := validateParamVersion(k.APIVersion, p.Child("apiVersion"))
	if k.Kind == "" {
		return append(errs, field.Required(p.Child("kind"), ""))
	}
	if msgs := utilvalidation.IsDNS1035Label(strings.ToLower(k.Kind)); len(msgs) > 0 {
		errs = append(errs, field.Invalid(p.Child("kind"), k.Kind, "may have mixed case, but should otherwise match: "+strings.Join(msgs, ",")))
	}
	return errs
}

func validateParamVersion(text string, p *field.Path) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	group, version, err := parseGroupVersion(text)
	if err != nil {
		return field.ErrorList{field.Invalid(p, text, err.Error())}
	}
	var errs field.ErrorList
	if group != "" {
		if msgs := utilvalidation.IsDNS1123Subdomain(group); len(msgs) > 0 {
			errs = append(errs, field.Invalid(p, group, strings.Join(msgs, ",")))
		}
	}
	if version == "" {
		return append(errs, field.Invalid(p, text, "version must be specified"))
	}
	if msgs := utilvalidation.IsDNS1035Label(version); len(msgs) > 0 {
		errs = append(errs, field.Invalid(p, version, strings.Join(msgs, ",")))
	}
	return errs
}

func validateParamRef(r *admissionv1.ParamRef, p *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	const both = "name and selector are mutually exclusive"
	var errs field.ErrorList
	if r.Name != "" {
		errs = append(errs, api.Invalid(p.Child("name"), r.Name, path.IsValidPathSegmentName(r.Name))...)
	}
	errs = append(errs, validateSelector(r.Selector, false, p.Child("selector"))...)
	switch {
	case r.Name != "" && r.Selector != nil:
		errs = append(errs, field.Forbidden(p.Child("name"), both), field.Forbidden(p.Child("selector"), both))
	case r.Name == "" && r.Selector == nil:
		errs = append(errs, field.Required(p, "one of name or selector must be specified"))
	}
	if r.ParameterNotFoundAction == nil || *r.ParameterNotFoundAction == "" {
		return append(errs, field.Required(p.Child("parameterNotFoundAction"), ""))
	}
	return append(errs, oneOf(p.Child("parameterNotFoundAction"), r.ParameterNotFoundAction, admissionv1.AllowAction, admissionv1.DenyAction)...)
}

func validatePolicyName(name string, p *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return api.Invalid(p, name, api.ValidateSubdomain(name, false))
}

func paramKindCell(k *admissionv1.ParamKind) string {
	if k == nil {
		return "<unset>"
	}
	return k.APIVersion + "/" + k.Kind
}

func paramRefCell(r *admissionv1.ParamRef) string {
	switch {
	case r == nil || r.Name == "" && r.Selector == nil:
		return "<unset>"
	case r.Name == "":
		return r.Selector.String()
	case r.Namespace == "":
		return "*/" + r.Name // the parameter may as well have no namespace
	}
	return r.Namespace + "/" + r.Name
}
