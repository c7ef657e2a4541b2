package flowcontrol

import (
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var verbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"}

func validateRules(r *flowcontrolv1.PolicyRulesWithSubjects, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range r.Subjects {
		errs = append(errs, validateSubject(&r.Subjects[i], p.Child("subjects").Index(i))...)
	}
	if len(r.Subjects) == 0 {
		errs = append(errs, field.Required(p.Child("subjects"), "subjects must contain at least one value"))
	}
	if len(r.ResourceRules) == 0 && len(r.NonResourceRules) == 0 {
		errs = append(errs, field.Required(p, "at least one of resourceRules and nonResourceRules has to be non-empty"))
	}
	for i := range r.ResourceRules {
		errs = append(errs, validateResourceRule(&r.ResourceRules[i], p.Child("resourceRules").Index(i))...)
	}
	for i := range r.NonResourceRules {
		errs = append(errs, validatePathRule(&r.NonResourceRules[i], p.Child("nonResourceRules").Index(i))...)
	}
	return errs
}

func validateSubject(s *flowcontrolv1.Subject, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	// Of the three only the one that the kind names may be there.
	only := func(kind flowcontrolv1.SubjectKind, name string, there bool) bool {
		if s.Kind != kind {
			if there {
				errs = append(errs, field.Forbidden(p.Child(name), name+" is forbidden when subject kind is not '"+string(kind)+"'"))
			}
			return false
		}
		if !there {
			errs = append(errs, field.Required(p.Child(name), name+" is required when subject kind is '"+string(kind)+"'"))
		}
		return there
	}
	kinds := []flowcontrolv1.SubjectKind{flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount, flowcontrolv1.SubjectKindUser}
	if !slices.Contains(kinds, s.Kind) {
		return field.ErrorList{field.NotSupported(p.Child("kind"), s.Kind, kinds)}
	}
	if only(flowcontrolv1.SubjectKindServiceAccount, "serviceAccount", s.ServiceAccount != nil) {
		errs = append(errs, validateAccount(s.ServiceAccount, p.Child("serviceAccount"))...)
	}
	if only(flowcontrolv1.SubjectKindUser, "user", s.User != nil) && s.User.Name == "" {
		errs = append(errs, field.Required(p.Child("user", "name"), ""))
	}
	if only(flowcontrolv1.SubjectKindGroup, "group", s.Group != nil) && s.Group.Name == "" {
		errs = append(errs, field.Required(p.Child("group", "name"), ""))
	}
	return errs
}

func validateAccount(a *flowcontrolv1.ServiceAccountSubject, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if a.Name == "" {
		errs = append(errs, field.Required(p.Child("name"), ""))
	} else if a.Name != flowcontrolv1.NameAll {
		for _, msg := range validation.ValidateServiceAccountName(a.Name, false) {
			errs = append(errs, field.Invalid(p.Child("name"), a.Name, msg))
		}
	}
	if a.Namespace == "" {
		return append(errs, field.Required(p.Child("namespace"), "must specify namespace for service account"))
	}
	for _, msg := range validation.ValidateNamespaceName(a.Namespace, false) {
		errs = append(errs, field.Invalid(p.Child("namespace"), a.Namespace, msg))
	}
	return errs
}

func validateVerbs(list []string, p *field.Path) field.ErrorList {
	known := func(v string) bool { return slices.Contains(verbs, v) }
	switch {
	case len(list) == 0:
		return field.ErrorList{field.Required(p, "verbs must contain at least one value")}
	case slices.Contains(list, flowcontrolv1.VerbAll):
		return alone(list, p, "verbs")
	case slices.ContainsFunc(list, func(v string) bool { return !known(v) }):
		return field.ErrorList{field.NotSupported(p, list, verbs)}
	}
	return nil
}

// alone refuses a list in which the asterisk is not the only entry.
func alone(list []string, p *field.Path, what string) field.ErrorList {
	if len(list) > 1 && slices.Contains(list, "*") {
		return field.ErrorList{field.Invalid(p, list, "if '*' is present, must not specify other "+what)}
	}
	return nil
}

func validateResourceRule(r *flowcontrolv1.ResourcePolicyRule, p *field.Path) field.ErrorList {
	errs := validateVerbs(r.Verbs, p.Child("verbs"))
	if len(r.APIGroups) == 0 {
		errs = append(errs, field.Required(p.Child("apiGroups"), "resource rules must supply at least one api group"))
	}
	errs = append(errs, alone(r.APIGroups, p.Child("apiGroups"), "api groups")...)
	if len(r.Resources) == 0 {
		errs = append(errs, field.Required(p.Child("resources"), "resource rules must supply at least one resource"))
	}
	errs = append(errs, alone(r.Resources, p.Child("resources"), "resources")...)
	p = p.Child("namespaces")
	switch {
	case len(r.Namespaces) == 0 && !r.ClusterScope:
		errs = append(errs, field.Required(p, "resource rules that are not cluster scoped must supply at least one namespace"))
	case slices.Contains(r.Namespaces, flowcontrolv1.NamespaceEvery):
		errs = append(errs, alone(r.Namespaces, p, "namespaces")...)
	default:
		for i, ns := range r.Namespaces {
			for _, msg := range validation.ValidateNamespaceName(ns, false) {
				errs = append(errs, field.Invalid(p.Index(i), ns, "each member of this list must be '*' or a DNS-1123 label; "+msg))
			}
		}
	}
	return errs
}

func validatePathRule(r *flowcontrolv1.NonResourcePolicyRule, p *field.Path) field.ErrorList {
	errs := validateVerbs(r.Verbs, p.Child("verbs"))
	p = p.Child("nonResourceURLs")
	switch {
	case len(r.NonResourceURLs) == 0:
		errs = append(errs, field.Required(p, "nonResourceURLs must contain at least one value"))
	case slices.Contains(r.NonResourceURLs, flowcontrolv1.NonResourceAll):
		errs = append(errs, alone(r.NonResourceURLs, p, "non-resource URLs")...)
	default:
		for i, path := range r.NonResourceURLs {
			if msg := pathProblem(path); msg != "" {
				errs = append(errs, field.Invalid(p.Index(i), path, msg))
			}
		}
	}
	return errs
}

// pathProblem says what is wrong with a path, which may end in /* but have no other asterisk.
func pathProblem(path string) string {
	switch {
	case path == "":
		return "must not be empty"
	case path[0] != '/':
		return "must start with slash"
	case strings.Contains(path, " "):
		return "must not contain white-space"
	case strings.Contains(path, "//"):
		return "must not contain double slash"
	case strings.Contains(strings.TrimSuffix(path, "/*"), "*"):
		return "wildcard can only do suffix matching"
	}
	return ""
}
