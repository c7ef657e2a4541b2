package flowcontrol

import (
	"cmp"
	"fmt"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const defaultPrecedence = 1000

// earlier are the versions whose form in storage is that of v1.
var earlier = []string{flowcontrolv1.GroupName + "/v1beta1", flowcontrolv1.GroupName + "/v1beta2", flowcontrolv1.GroupName + "/v1beta3"}

// FlowSchemas is all that the server, the printer and the docs know of FlowSchema.
var FlowSchemas = api.Kind[flowcontrolv1.FlowSchema]{
	Group: flowcontrolv1.GroupName, Version: "v1", Name: "FlowSchema", Plural: "flowschemas",
	Earlier:      earlier,
	Subresources: api.Status, Generation: true, StatusMetadata: true,
	Default: func(s *flowcontrolv1.FlowSchema) {
		if s.Spec.MatchingPrecedence == 0 {
			s.Spec.MatchingPrecedence = defaultPrecedence
		}
	},
	Validate:       func(s, _ *flowcontrolv1.FlowSchema) field.ErrorList { return validateSchema(s) },
	ValidateStatus: func(s, _ *flowcontrolv1.FlowSchema) field.ErrorList { return validateSchemaStatus(s) },
	Columns: []api.Column[flowcontrolv1.FlowSchema]{
		api.NameColumn[flowcontrolv1.FlowSchema](),
		{Name: "PriorityLevel", Description: "The priority level of the requests that match.", Cell: func(s *flowcontrolv1.FlowSchema) any { return s.Spec.PriorityLevelConfiguration.Name }},
		{Name: "MatchingPrecedence", Description: "Of the schemas that match a request, the one with the lowest number counts.", Cell: func(s *flowcontrolv1.FlowSchema) any { return int64(s.Spec.MatchingPrecedence) }},
		{Name: "DistinguisherMethod", Description: "What tells the schema's flows from each other.", Cell: func(s *flowcontrolv1.FlowSchema) any { return distinguisher(s) }},
		api.AgeColumn[flowcontrolv1.FlowSchema](),
		{Name: "MissingPL", Description: "Whether the priority level does not exist.", Cell: func(s *flowcontrolv1.FlowSchema) any { return missingLevel(s) }},
	},
	TableOrder: func(a, b *flowcontrolv1.FlowSchema) int {
		return cmp.Compare(a.Spec.MatchingPrecedence, b.Spec.MatchingPrecedence)
	},
}

func distinguisher(s *flowcontrolv1.FlowSchema) string {
	if s.Spec.DistinguisherMethod == nil {
		return "<none>"
	}
	return string(s.Spec.DistinguisherMethod.Type)
}

func missingLevel(s *flowcontrolv1.FlowSchema) string {
	for _, c := range s.Status.Conditions {
		if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
			return string(c.Status)
		}
	}
	return "?"
}

func validateSchema(s *flowcontrolv1.FlowSchema) field.ErrorList {
	p := field.NewPath("spec")
	errs := append(validatePrecedence(s, p.Child("matchingPrecedence")), validateSchemaRefs(&s.Spec, p)...)
	for i := range s.Spec.Rules {
		errs = append(errs, validateRules(&s.Spec.Rules[i], p.Child("rules").Index(i))...)
	}
	if want := mandatorySchema(s.Name); want != nil && !equality.Semantic.DeepEqual(want.Spec, s.Spec) {
		errs = append(errs, field.Invalid(p, s.Spec, fmt.Sprintf("spec of '%s' must equal the fixed value", s.Name)))
	}
	return errs
}

func validatePrecedence(s *flowcontrolv1.FlowSchema, p *field.Path) field.ErrorList {
	n, most := s.Spec.MatchingPrecedence, flowcontrolv1.FlowSchemaMaxMatchingPrecedence
	switch {
	case n <= 0:
		return field.ErrorList{field.Invalid(p, n, "must be a positive value")}
	case n > most:
		return field.ErrorList{field.Invalid(p, n, fmt.Sprintf("must not be greater than %v", most))}
	case n == 1 && s.Name != flowcontrolv1.FlowSchemaNameExempt:
		return field.ErrorList{field.Invalid(p, n, "only the schema named 'exempt' may have matchingPrecedence 1")}
	}
	return nil
}

func validateSchemaRefs(spec *flowcontrolv1.FlowSchemaSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if d := spec.DistinguisherMethod; d != nil {
		byNamespace, byUser := flowcontrolv1.FlowDistinguisherMethodByNamespaceType, flowcontrolv1.FlowDistinguisherMethodByUserType
		if d.Type != byNamespace && d.Type != byUser {
			errs = append(errs, field.NotSupported(p.Child("distinguisherMethod", "type"), d.Type, []flowcontrolv1.FlowDistinguisherMethodType{byNamespace, byUser}))
		}
	}
	at, name := p.Child("priorityLevelConfiguration", "name"), spec.PriorityLevelConfiguration.Name
	if name == "" {
		return append(errs, field.Required(at, "must reference a priority level"))
	}
	for _, msg := range api.ValidateSubdomain(name, false) {
		errs = append(errs, field.Invalid(at, name, msg))
	}
	return errs
}

func validateSchemaStatus(s *flowcontrolv1.FlowSchema) field.ErrorList {
	types := make([]string, len(s.Status.Conditions))
	for i, c := range s.Status.Conditions {
		types[i] = string(c.Type)
	}
	return validateConditions(types)
}

// validateConditions checks the types of a status' conditions.
func validateConditions(types []string) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, t := range types {
		at := field.NewPath("status", "conditions").Index(i).Child("type")
		if seen[t] {
			errs = append(errs, field.Duplicate(at, t))
		}
		if seen[t] = true; t == "" {
			errs = append(errs, field.Required(at, ""))
		}
	}
	return errs
}
