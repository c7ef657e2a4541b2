package fairness

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/flowcontrol"
)

// Objects are all FlowSchemas and PriorityLevelConfigurations. They are shared and never changed.
type Objects struct {
	Schemas []*flowcontrolv1.FlowSchema
	Levels  []*flowcontrolv1.PriorityLevelConfiguration
}

// Repairs are the writes that make the objects what every cluster has.
type Repairs struct {
	Create, Update, Delete []api.Object
	// Status are schemas with their condition Dangling as it should be.
	Status []*flowcontrolv1.FlowSchema
}

// Repair compares what is there with what every cluster has. The mandatory objects always are as they should be, the suggested ones
// unless somebody has changed them and their annotation does not say that they are kept up to date all the same. Those that
// are kept up to date but no longer suggested go away. See
// https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#maintenance-of-the-mandatory-and-suggested-configuration-objects.
func Repair(have Objects, now metav1.Time) Repairs {
	var out Repairs
	mend(&out, have.Levels, flowcontrol.MandatoryLevels, true)
	mend(&out, have.Levels, flowcontrol.SuggestedLevels, false)
	mend(&out, have.Schemas, flowcontrol.MandatorySchemas, true)
	mend(&out, have.Schemas, flowcontrol.SuggestedSchemas, false)
	outdated(&out, have.Schemas, flowcontrol.MandatorySchemas, flowcontrol.SuggestedSchemas)
	outdated(&out, have.Levels, flowcontrol.MandatoryLevels, flowcontrol.SuggestedLevels)
	for _, s := range have.Schemas {
		if told := withDangling(s, have.Levels, now); told != nil {
			out.Status = append(out.Status, told)
		}
	}
	return out
}

func find[T api.Object](list []T, name string) (T, bool) {
	for _, o := range list {
		if o.GetName() == name {
			return o, true
		}
	}
	var none T
	return none, false
}

// kept is what the annotation of an object says; ok is false when it says nothing.
func kept(o api.Object) (value, ok bool) {
	value, err := strconv.ParseBool(o.GetAnnotations()[flowcontrolv1.AutoUpdateAnnotationKey])
	return value, err == nil
}

func mend[T api.Object](out *Repairs, have, want []T, mandatory bool) {
	for _, w := range want {
		h, there := find(have, w.GetName())
		if !there {
			out.Create = append(out.Create, w.DeepCopyObject().(api.Object))
			continue
		}
		told, ok := kept(h)
		// Without a word about it, what nobody has changed yet is kept up to date.
		update := mandatory || ok && told || !ok && h.GetGeneration() == 1
		next := h.DeepCopyObject().(api.Object)
		if update {
			setSpec(next, w)
		}
		if !ok || told != update {
			notes := next.GetAnnotations()
			if notes == nil {
				notes = map[string]string{}
			}
			notes[flowcontrolv1.AutoUpdateAnnotationKey] = strconv.FormatBool(update)
			next.SetAnnotations(notes)
		}
		if !equality.Semantic.DeepEqual(any(h), any(next)) {
			out.Update = append(out.Update, next)
		}
	}
}

// setSpec gives an object the spec of another. What the level "exempt" reserves for itself is its administrator's business.
func setSpec(o, from api.Object) {
	switch o := o.(type) {
	case *flowcontrolv1.FlowSchema:
		o.Spec = *from.(*flowcontrolv1.FlowSchema).Spec.DeepCopy()
	case *flowcontrolv1.PriorityLevelConfiguration:
		exempt := o.Spec.Exempt
		o.Spec = *from.(*flowcontrolv1.PriorityLevelConfiguration).Spec.DeepCopy()
		if o.Spec.Exempt != nil && exempt != nil {
			o.Spec.Exempt = exempt
		}
	default:
		panic("no object of flow control: " + reflect.TypeOf(o).String())
	}
}

func outdated[T api.Object](out *Repairs, have []T, wanted ...[]T) {
	for _, h := range have {
		update, ok := kept(h)
		named := slices.ContainsFunc(wanted, func(list []T) bool { _, there := find(list, h.GetName()); return there })
		if ok && update && !named {
			out.Delete = append(out.Delete, h)
		}
	}
}

// withDangling returns the schema with its condition Dangling as it should be, nil when it is so already.
func withDangling(s *flowcontrolv1.FlowSchema, levels []*flowcontrolv1.PriorityLevelConfiguration, now metav1.Time) *flowcontrolv1.FlowSchema {
	name := s.Spec.PriorityLevelConfiguration.Name
	want := flowcontrolv1.FlowSchemaCondition{
		Type: flowcontrolv1.FlowSchemaConditionDangling, Status: flowcontrolv1.ConditionFalse, Reason: "Found", LastTransitionTime: now,
		Message: fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q and it exists", name),
	}
	if _, there := find(levels, name); !there {
		want.Status, want.Reason = flowcontrolv1.ConditionTrue, "NotFound"
		want.Message = fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q but there is no such object", name)
	}
	out := s.DeepCopy()
	for i := range out.Status.Conditions {
		c := &out.Status.Conditions[i]
		if c.Type != want.Type {
			continue
		}
		if c.Status == want.Status && c.Reason == want.Reason && c.Message == want.Message {
			return nil
		}
		*c = want
		return out
	}
	out.Status.Conditions = append(out.Status.Conditions, want)
	return out
}
