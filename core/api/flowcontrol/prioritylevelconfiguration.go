package flowcontrol

import (
	"fmt"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	flowcontrolv1beta3 "k8s.io/api/flowcontrol/v1beta3"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/util/shufflesharding"

	"github.com/gantryio/gantry/core/api"
)

const (
	defaultShares      = 30
	defaultHand        = 8
	defaultQueues      = 64
	defaultQueueLength = 50
	maxQueues          = 10_000_000
)

// PriorityLevelConfigurations is all that the server, the printer and the docs know of PriorityLevelConfiguration.
var PriorityLevelConfigurations = api.Kind[flowcontrolv1.PriorityLevelConfiguration]{
	Group: flowcontrolv1.GroupName, Version: "v1", Name: "PriorityLevelConfiguration", Plural: "prioritylevelconfigurations",
	Earlier:      earlier,
	Subresources: api.Status, Generation: true, StatusMetadata: true,
	Default:        defaultLevel,
	Validate:       func(l, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList { return validateLevel(l) },
	ValidateStatus: func(l, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList { return validateLevelStatus(l) },
	Columns: []api.Column[flowcontrolv1.PriorityLevelConfiguration]{
		api.NameColumn[flowcontrolv1.PriorityLevelConfiguration](),
		{Name: "Type", Description: "Whether requests of the level are limited.", Cell: func(l *flowcontrolv1.PriorityLevelConfiguration) any { return string(l.Spec.Type) }},
		{Name: "NominalConcurrencyShares", Description: "The level's share of the server's capacity.", Cell: func(l *flowcontrolv1.PriorityLevelConfiguration) any { return shares(l) }},
		queuingColumn("Queues", "How many queues the level has.", func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.Queues }),
		queuingColumn("HandSize", "How many of the queues a flow may use.", func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.HandSize }),
		queuingColumn("QueueLengthLimit", "How many requests may wait in one queue.", func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.QueueLengthLimit }),
		api.AgeColumn[flowcontrolv1.PriorityLevelConfiguration](),
	},
}

func shares(l *flowcontrolv1.PriorityLevelConfiguration) any {
	if l.Spec.Limited == nil || l.Spec.Limited.NominalConcurrencyShares == nil {
		return "<none>"
	}
	return int64(*l.Spec.Limited.NominalConcurrencyShares)
}

func queuingColumn(name, description string, value func(*flowcontrolv1.QueuingConfiguration) int32) api.Column[flowcontrolv1.PriorityLevelConfiguration] {
	return api.Column[flowcontrolv1.PriorityLevelConfiguration]{Name: name, Description: description, Cell: func(l *flowcontrolv1.PriorityLevelConfiguration) any {
		if l.Spec.Limited == nil || l.Spec.Limited.LimitResponse.Queuing == nil {
			return "<none>"
		}
		return int64(value(l.Spec.Limited.LimitResponse.Queuing))
	}}
}

func defaultLevel(l *flowcontrolv1.PriorityLevelConfiguration) {
	orElse := func(p **int32, v int32) {
		if *p == nil {
			*p = &v
		}
	}
	if e := l.Spec.Exempt; e != nil {
		orElse(&e.NominalConcurrencyShares, 0)
		orElse(&e.LendablePercent, 0)
	}
	limited := l.Spec.Limited
	if limited == nil {
		return
	}
	orElse(&limited.NominalConcurrencyShares, defaultShares)
	orElse(&limited.LendablePercent, 0)
	if q := limited.LimitResponse.Queuing; q != nil {
		for p, v := range map[*int32]int32{&q.HandSize: defaultHand, &q.Queues: defaultQueues, &q.QueueLengthLimit: defaultQueueLength} {
			if *p == 0 {
				*p = v
			}
		}
	}
}

func validateLevel(l *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	var errs field.ErrorList
	// In v1beta3, where it belongs, a share of zero means the default.
	const preserveZero = flowcontrolv1beta3.PriorityLevelPreserveZeroConcurrencySharesKey
	if _, there := l.Annotations[preserveZero]; there {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations"), fmt.Sprintf("annotation '%s' is forbidden", preserveZero)))
	}
	p := field.NewPath("spec")
	errs = append(errs, validateLevelSpec(l, p)...)
	want := mandatoryLevel(l.Name)
	if want == nil {
		return errs
	}
	have, except := l.Spec, ""
	if l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt {
		// What it reserves for itself may be set.
		have.Exempt, except = want.Spec.Exempt, " except the 'spec.exempt' field"
	}
	if !equality.Semantic.DeepEqual(want.Spec, have) {
		errs = append(errs, field.Invalid(p, l.Spec, fmt.Sprintf("spec of '%s'%s must equal the fixed value", l.Name, except)))
	}
	return errs
}

func validateLevelSpec(l *flowcontrolv1.PriorityLevelConfiguration, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	spec := &l.Spec
	exempt, limited := flowcontrolv1.PriorityLevelEnablementExempt, flowcontrolv1.PriorityLevelEnablementLimited
	if (l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt) != (spec.Type == exempt) {
		errs = append(errs, field.Invalid(p.Child("type"), spec.Type, "must be 'Exempt' if and only if `name` is 'exempt'"))
	}
	switch spec.Type {
	case exempt:
		if spec.Limited != nil {
			errs = append(errs, field.Forbidden(p.Child("limited"), "must be nil if the type is not Limited"))
		}
		if e := spec.Exempt; e != nil {
			errs = append(errs, validateShares(e.NominalConcurrencyShares, e.LendablePercent, p.Child("exempt"))...)
		}
	case limited:
		if spec.Exempt != nil {
			errs = append(errs, field.Forbidden(p.Child("exempt"), "must be nil if the type is Limited"))
		}
		if spec.Limited == nil {
			return append(errs, field.Required(p.Child("limited"), "must not be empty when type is Limited"))
		}
		errs = append(errs, validateLimited(spec.Limited, p.Child("limited"))...)
	case "":
		errs = append(errs, field.Required(p.Child("type"), ""))
	default:
		errs = append(errs, field.NotSupported(p.Child("type"), spec.Type, []flowcontrolv1.PriorityLevelEnablement{exempt, limited}))
	}
	return errs
}

func validateShares(shares, lendable *int32, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if shares != nil && *shares < 0 {
		errs = append(errs, field.Invalid(p.Child("nominalConcurrencyShares"), *shares, "must be a non-negative integer"))
	}
	if lendable != nil && (*lendable < 0 || *lendable > 100) {
		errs = append(errs, field.Invalid(p.Child("lendablePercent"), *lendable, "must be between 0 and 100, inclusive"))
	}
	return errs
}

func validateLimited(l *flowcontrolv1.LimitedPriorityLevelConfiguration, p *field.Path) field.ErrorList {
	errs := validateShares(l.NominalConcurrencyShares, l.LendablePercent, p)
	if n := l.BorrowingLimitPercent; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(p.Child("borrowingLimitPercent"), *n, "if specified, must be a non-negative integer"))
	}
	p = p.Child("limitResponse")
	r := l.LimitResponse
	switch r.Type {
	case flowcontrolv1.LimitResponseTypeReject:
		if r.Queuing != nil {
			errs = append(errs, field.Forbidden(p.Child("queuing"), "must be nil if limited.limitResponse.type is not Limited"))
		}
	case flowcontrolv1.LimitResponseTypeQueue:
		if r.Queuing == nil {
			return append(errs, field.Required(p.Child("queuing"), "must not be empty if limited.limitResponse.type is Limited"))
		}
		errs = append(errs, validateQueuing(r.Queuing, p.Child("queuing"))...)
	case "":
		errs = append(errs, field.Required(p.Child("type"), ""))
	default:
		errs = append(errs, field.NotSupported(p.Child("type"), r.Type, []flowcontrolv1.LimitResponseType{flowcontrolv1.LimitResponseTypeQueue, flowcontrolv1.LimitResponseTypeReject}))
	}
	return errs
}

func validateQueuing(q *flowcontrolv1.QueuingConfiguration, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if q.QueueLengthLimit <= 0 {
		errs = append(errs, field.Invalid(p.Child("queueLengthLimit"), q.QueueLengthLimit, "must be positive"))
	}
	switch {
	case q.Queues <= 0:
		errs = append(errs, field.Invalid(p.Child("queues"), q.Queues, "must be positive"))
	case q.Queues > maxQueues:
		errs = append(errs, field.Invalid(p.Child("queues"), q.Queues, fmt.Sprintf("must not be greater than %d", maxQueues)))
	}
	hand := p.Child("handSize")
	switch {
	case q.HandSize <= 0:
		errs = append(errs, field.Invalid(hand, q.HandSize, "must be positive"))
	case q.HandSize > q.Queues:
		errs = append(errs, field.Invalid(hand, q.HandSize, fmt.Sprintf("should not be greater than queues (%d)", q.Queues)))
	case shufflesharding.RequiredEntropyBits(int(q.Queues), int(q.HandSize)) > shufflesharding.MaxHashBits:
		errs = append(errs, field.Invalid(hand, q.HandSize, fmt.Sprintf("required entropy bits of deckSize %d and handSize %d should not be greater than %d",
			q.Queues, q.HandSize, shufflesharding.MaxHashBits)))
	}
	return errs
}

func validateLevelStatus(l *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	types := make([]string, len(l.Status.Conditions))
	for i, c := range l.Status.Conditions {
		types[i] = string(c.Type)
	}
	return validateConditions(types)
}
