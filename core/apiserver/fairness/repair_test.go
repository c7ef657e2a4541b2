package fairness

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/flowcontrol"
)

// complete is what a repaired cluster has.
func complete(edit func(o *Objects)) Objects {
	now := metav1.Unix(1, 0)
	r := Repair(Objects{}, now)
	var out Objects
	for _, obj := range r.Create {
		obj.SetGeneration(1)
		switch obj := obj.(type) {
		case *flowcontrolv1.FlowSchema:
			out.Schemas = append(out.Schemas, obj)
		case *flowcontrolv1.PriorityLevelConfiguration:
			out.Levels = append(out.Levels, obj)
		}
	}
	for i, s := range out.Schemas {
		out.Schemas[i] = withDangling(s, out.Levels, now)
	}
	if edit != nil {
		edit(&out)
	}
	return out
}

func TestRepair(t *testing.T) {
	level := func(o *Objects, name string) *flowcontrolv1.PriorityLevelConfiguration {
		l, _ := find(o.Levels, name)
		return l
	}
	schema := func(o *Objects, name string) *flowcontrolv1.FlowSchema {
		s, _ := find(o.Schemas, name)
		return s
	}
	note := func(o api.Object, value string) {
		o.SetAnnotations(map[string]string{flowcontrolv1.AutoUpdateAnnotationKey: value})
	}
	type names struct{ Create, Update, Delete, Status []string }
	for _, tc := range []struct {
		name string
		edit func(o *Objects)
		want names
	}{
		{"nothing to do", nil, names{}},
		{"a mandatory level was deleted", func(o *Objects) { o.Levels = o.Levels[1:] }, names{Create: []string{flowcontrol.MandatoryLevels[0].Name}, Status: []string{"catch-all"}}},
		{"a mandatory schema was changed", func(o *Objects) {
			schema(o, "exempt").Spec.MatchingPrecedence = 7
			note(schema(o, "exempt"), "false")
		}, names{Update: []string{"exempt"}}},
		{"a suggested level was changed and is kept", func(o *Objects) { level(o, "system").Spec.Limited.LendablePercent = nil }, names{Update: []string{"system"}}},
		{"a suggested level was changed and is not kept", func(o *Objects) {
			level(o, "system").Spec.Limited.LendablePercent = nil
			note(level(o, "system"), "false")
		}, names{}},
		{"of a changed one is said nothing", func(o *Objects) {
			l := level(o, "system")
			l.Spec.Limited.LendablePercent, l.Generation, l.Annotations = nil, 2, nil
		}, names{Update: []string{"system"}}},
		{"the exempt level reserves something", func(o *Objects) { level(o, "exempt").Spec.Exempt.NominalConcurrencyShares = new(int32(9)) }, names{}},
		{"another one is kept", func(o *Objects) {
			l := &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
			note(l, "true")
			o.Levels = append(o.Levels, l, &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "mine"}})
		}, names{Delete: []string{"old"}}},
		{"a schema has no level", func(o *Objects) {
			schema(o, "global-default").Spec.PriorityLevelConfiguration.Name = "gone"
			note(schema(o, "global-default"), "false")
		}, names{Status: []string{"global-default"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := Repair(complete(tc.edit), metav1.Unix(2, 0))
			got := names{nameAll(r.Create), nameAll(r.Update), nameAll(r.Delete), nameAll(r.Status)}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("repairs (-want +got):\n%s", diff)
			}
		})
	}
}

func nameAll[T api.Object](list []T) []string {
	var out []string
	for _, o := range list {
		out = append(out, o.GetName())
	}
	return out
}

// TestRepairOnce: what has been repaired needs no further repair.
func TestRepairOnce(t *testing.T) {
	have := complete(func(o *Objects) {
		for _, l := range o.Levels {
			l.Annotations, l.Generation = nil, 2
		}
		for _, s := range o.Schemas {
			s.Annotations, s.Status.Conditions = nil, nil
		}
	})
	r := Repair(have, metav1.NewTime(time.Unix(2, 0)))
	for _, obj := range r.Update {
		for i, l := range have.Levels {
			if l.Name == obj.GetName() {
				if next, ok := obj.(*flowcontrolv1.PriorityLevelConfiguration); ok {
					have.Levels[i] = next
				}
			}
		}
	}
	copy(have.Schemas, r.Status)
	for _, obj := range r.Update {
		for _, s := range have.Schemas {
			if _, ok := obj.(*flowcontrolv1.FlowSchema); ok && s.Name == obj.GetName() {
				s.Annotations = obj.GetAnnotations()
			}
		}
	}
	if again := Repair(have, metav1.Unix(3, 0)); len(again.Create)+len(again.Update)+len(again.Delete)+len(again.Status) > 0 {
		t.Errorf("repaired again: create %v, update %v, delete %v, status %v", nameAll(again.Create), nameAll(again.Update), nameAll(again.Delete), nameAll(again.Status))
	}
}
