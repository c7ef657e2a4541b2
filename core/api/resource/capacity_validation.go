package resource

import (
	"fmt"
	"math"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxValidValues is how many values a policy may list.
const maxValidValues = 10

func validateCapacities(d *resourcev1.Device, p *field.Path) field.ErrorList {
	shared := d.AllowMultipleAllocations != nil && *d.AllowMultipleAllocations
	var errs field.ErrorList
	for name, c := range d.Capacity {
		errs = append(errs, validateQualifiedName(name, p)...)
		at := p.Key(shorten(string(name))).Child("requestPolicy")
		switch {
		case c.RequestPolicy == nil:
		case shared:
			errs = append(errs, validatePolicy(c.RequestPolicy, c.Value, at)...)
		default:
			errs = append(errs, field.Forbidden(at, "allowMultipleAllocations must be true"))
		}
	}
	return errs
}

// validatePolicy checks which amounts of a capacity can be asked for.
func validatePolicy(r *resourcev1.CapacityRequestPolicy, capacity resource.Quantity, p *field.Path) field.ErrorList {
	switch {
	case len(r.ValidValues) > 0 && r.ValidRange != nil:
		return field.ErrorList{field.Forbidden(p, `exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time`)}
	case len(r.ValidValues) > 0 && r.Default == nil:
		return field.ErrorList{field.Required(p.Child("default"), "required when validValues is defined")}
	case len(r.ValidValues) > 0:
		return validateValues(r.ValidValues, *r.Default, capacity, p.Child("validValues"))
	case r.ValidRange != nil && r.Default == nil:
		return field.ErrorList{field.Required(p.Child("default"), "required when validRange is defined")}
	case r.ValidRange != nil:
		return validateRange(r.ValidRange, *r.Default, capacity, p.Child("validRange"))
	}
	return nil
}

func validateValues(list []resource.Quantity, standard, capacity resource.Quantity, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := 1; i < len(list); i++ {
		if list[i-1].Cmp(list[i]) > 0 {
			errs = append(errs, field.Invalid(p.Index(i), list[i].String(), "values must be sorted in ascending order"))
		}
	}
	found := false
	if len(list) > maxValidValues {
		errs = append(errs, field.TooMany(p, len(list), maxValidValues))
		list = nil
	}
	seen := map[string]bool{}
	for i, value := range list {
		if value.Cmp(capacity) > 0 {
			errs = append(errs, field.Invalid(p.Index(i), value.String(), fmt.Sprintf("option is larger than capacity value: %s", capacity.String())))
		}
		found = found || value.Cmp(standard) == 0
		key := value.AsDec().String()
		if seen[key] {
			errs = append(errs, field.Duplicate(p.Index(i), key))
		}
		seen[key] = true
	}
	if !found {
		errs = append(errs, field.Invalid(p, standard.String(), "default value is not valid according to the requestPolicy"))
	}
	return errs
}

// bound is one of the numbers of a range.
type bound struct {
	name  string
	value *resource.Quantity
}

func validateRange(r *resourcev1.CapacityRequestPolicyRange, standard, capacity resource.Quantity, p *field.Path) field.ErrorList {
	if r.Min == nil {
		return field.ErrorList{field.Required(p.Child("min"), "required when validRange is defined")}
	}
	errs := validateBounds(r, standard, capacity, p)
	numbers := []bound{{"default", &standard}, {"min", r.Min}, {"max", r.Max}, {"step", r.Step}}
	milli := false
	for _, n := range numbers {
		milli = milli || n.value != nil && fractional(*n.value)
	}
	if milli {
		if wrong := tooFine(numbers, p); len(wrong) > 0 {
			return append(errs, wrong...)
		}
	}
	if r.Step == nil {
		return errs
	}
	if r.Step.Sign() <= 0 {
		return append(errs, field.Invalid(p.Child("step"), r.Step.String(), "must be greater than zero"))
	}
	first := r.Min.DeepCopy()
	first.Add(*r.Step)
	if first.Cmp(capacity) > 0 {
		errs = append(errs, field.Invalid(p.Child("step"), r.Step.String(), fmt.Sprintf("one step %s is larger than capacity value: %s", first.String(), capacity.String())))
	}
	if !milli {
		if wrong := tooLarge(numbers, p); len(wrong) > 0 {
			return append(errs, wrong...)
		}
	}
	errs = append(errs, onStep(standard, r, milli, p.Child("step"))...)
	if r.Max != nil {
		errs = append(errs, onStep(*r.Max, r, milli, p.Child("step"))...)
	}
	return errs
}

func validateBounds(r *resourcev1.CapacityRequestPolicyRange, standard, capacity resource.Quantity, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	refuse := func(name string, value *resource.Quantity, format string, limit *resource.Quantity) {
		errs = append(errs, field.Invalid(p.Child(name), value.String(), fmt.Sprintf(format, limit.String())))
	}
	if r.Min.Cmp(capacity) > 0 {
		refuse("min", r.Min, "min is larger than capacity value: %s", &capacity)
	}
	if standard.Cmp(*r.Min) < 0 {
		refuse("default", &standard, "default is less than min: %s", r.Min)
	}
	if r.Max == nil {
		return errs
	}
	if r.Min.Cmp(*r.Max) > 0 {
		refuse("max", r.Min, "min is larger than max: %s", r.Max)
	}
	if r.Max.Cmp(capacity) > 0 {
		refuse("max", r.Max, "max is larger than capacity value: %s", &capacity)
	}
	if standard.Cmp(*r.Max) > 0 {
		refuse("default", &standard, "default is more than max: %s", r.Max)
	}
	return errs
}

func fractional(q resource.Quantity) bool {
	whole := q.DeepCopy()
	return !whole.RoundUp(0)
}

// tooFine finds numbers with which thousandths are not enough to compute.
func tooFine(numbers []bound, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, n := range numbers {
		if n.value == nil {
			continue
		}
		if rounded := resource.NewMilliQuantity(n.value.MilliValue(), n.value.Format); n.value.Cmp(*rounded) != 0 {
			errs = append(errs, field.Invalid(p.Child(n.name), n.value.String(), "value cannot be represented as a milli value"))
		}
	}
	return errs
}

// tooLarge finds numbers that an int64 does not hold, with which the remainder of a step would be wrong.
func tooLarge(numbers []bound, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, n := range numbers {
		switch {
		case n.value == nil:
		case n.value.Sign() < 0:
			errs = append(errs, field.Invalid(p.Child(n.name), n.value.String(), validation.IsNegativeErrorMsg))
		case n.value.CmpInt64(math.MaxInt64) > 0:
			errs = append(errs, field.Invalid(p.Child(n.name), n.value.String(), "must not be larger than 9223372036854775807"))
		}
	}
	return errs
}

func onStep(value resource.Quantity, r *resourcev1.CapacityRequestPolicyRange, milli bool, p *field.Path) field.ErrorList {
	number := func(q *resource.Quantity) int64 {
		if milli {
			return q.MilliValue()
		}
		return q.Value()
	}
	if (number(&value)-number(r.Min))%number(r.Step) == 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(p, value.String(), fmt.Sprintf("value is not a multiple of a given step (%s) from (%s)", r.Step.String(), r.Min.String()))}
}
