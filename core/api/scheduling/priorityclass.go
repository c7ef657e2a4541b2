// Package scheduling declares the kind of the group scheduling.k8s.io/v1: what the server, the printer
// and the store know of PriorityClass.
package scheduling

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const (
	// HighestUserPriority bounds what is not reserved for the system.
	HighestUserPriority = int32(1_000_000_000)
	// SystemCritical is the priority of what the cluster needs, SystemNodeCritical of what a node needs.
	SystemCritical     = 2 * HighestUserPriority
	SystemNodeCritical = SystemCritical + 1000
	// SystemPrefix starts the names that only the system's own classes have.
	SystemPrefix = "system-"
)

var system = map[string]schedulingv1.PriorityClass{
	"system-node-critical": {
		Value:       SystemNodeCritical,
		Description: "Used for system critical pods that must not be moved from their current node.",
	},
	"system-cluster-critical": {
		Value:       SystemCritical,
		Description: "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
	},
}

// SystemClasses are the classes that a cluster starts with.
func SystemClasses() []schedulingv1.PriorityClass {
	var out []schedulingv1.PriorityClass
	for _, name := range []string{"system-node-critical", "system-cluster-critical"} {
		c := system[name]
		c.Name = name
		defaultPriorityClass(&c)
		out = append(out, c)
	}
	return out
}

// PriorityClasses is all that the server, the printer and the docs know of PriorityClass.
var PriorityClasses = api.Kind[schedulingv1.PriorityClass]{
	Group: "scheduling.k8s.io", Version: "v1", Name: "PriorityClass", Plural: "priorityclasses", Short: []string{"pc"},
	Earlier:    []string{"scheduling.k8s.io/v1beta1"},
	Generation: true,
	Default:    defaultPriorityClass,
	Validate:   validatePriorityClass,
	Columns: []api.Column[schedulingv1.PriorityClass]{
		api.NameColumn[schedulingv1.PriorityClass](),
		{Name: "Value", Description: "The priority; higher wins.", Cell: func(c *schedulingv1.PriorityClass) any { return int64(c.Value) }},
		{Name: "Global-Default", Description: "Whether pods without a class get this one.", Cell: func(c *schedulingv1.PriorityClass) any { return c.GlobalDefault }},
		api.AgeColumn[schedulingv1.PriorityClass](),
		{Name: "PreemptionPolicy", Description: "Whether pods of the class preempt others.", Cell: func(c *schedulingv1.PriorityClass) any { return policy(c) }},
	},
}

func defaultPriorityClass(c *schedulingv1.PriorityClass) {
	if c.PreemptionPolicy == nil {
		c.PreemptionPolicy = new(corev1.PreemptLowerPriority)
	}
}

func policy(c *schedulingv1.PriorityClass) string {
	if c.PreemptionPolicy == nil {
		return ""
	}
	return string(*c.PreemptionPolicy)
}

func validatePriorityClass(c, old *schedulingv1.PriorityClass) field.ErrorList {
	errs := validateReserved(c)
	if p := c.PreemptionPolicy; p != nil {
		allowed := []corev1.PreemptionPolicy{corev1.PreemptLowerPriority, corev1.PreemptNever}
		switch *p {
		case corev1.PreemptLowerPriority, corev1.PreemptNever:
		case "":
			errs = append(errs, field.Required(field.NewPath("preemptionPolicy"), ""))
		default:
			errs = append(errs, field.NotSupported(field.NewPath("preemptionPolicy"), *p, allowed))
		}
	}
	if old == nil {
		return errs
	}
	if c.Value != old.Value {
		errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
	}
	if !equality.Semantic.DeepEqual(c.PreemptionPolicy, old.PreemptionPolicy) {
		errs = append(errs, field.Invalid(field.NewPath("preemptionPolicy"), policy(c), "field is immutable"))
	}
	return errs
}

// validateReserved keeps names and values that belong to the system from other classes.
func validateReserved(c *schedulingv1.PriorityClass) field.ErrorList {
	if strings.HasPrefix(c.Name, SystemPrefix) {
		known, ok := system[c.Name]
		if ok && known.Value == c.Value && !c.GlobalDefault {
			return nil
		}
		return field.ErrorList{field.Forbidden(field.NewPath("metadata", "name"),
			fmt.Sprintf("priority class names with '%s' prefix are reserved for system use only. error: %s", SystemPrefix, reservedError(c)))}
	}
	if c.Value > HighestUserPriority {
		return field.ErrorList{field.Forbidden(field.NewPath("value"),
			fmt.Sprintf("maximum allowed value of a user defined priority is %d", HighestUserPriority))}
	}
	return nil
}

func reservedError(c *schedulingv1.PriorityClass) string {
	known, ok := system[c.Name]
	switch {
	case !ok:
		return fmt.Sprintf("%s is not a known system priority class", c.Name)
	case known.Value != c.Value:
		return fmt.Sprintf("value of %s PriorityClass must be %d", c.Name, known.Value)
	}
	return fmt.Sprintf("globalDefault of %s PriorityClass must be %t", c.Name, known.GlobalDefault)
}
