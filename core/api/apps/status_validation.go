package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// count is a number of a status, with the numbers that it cannot exceed.
type count struct {
	name  string
	value int32
	most  []*count
}

func (c *count) check(p *field.Path) field.ErrorList {
	errs := nonNegative(c.value, p.Child(c.name))
	for _, m := range c.most {
		if c.value > m.value {
			errs = append(errs, field.Invalid(p.Child(c.name), c.value, "cannot be greater than "+m.title()))
		}
	}
	return errs
}

func (c *count) title() string {
	if c.name == "replicas" {
		return "status.replicas"
	}
	return c.name
}

func checkCounts(p *field.Path, counts ...*count) field.ErrorList {
	var errs field.ErrorList
	for _, c := range counts {
		errs = append(errs, c.check(p)...)
	}
	return errs
}

func validateDeploymentStatus(d, old *appsv1.Deployment) field.ErrorList {
	s, p := &d.Status, field.NewPath("status")
	all := &count{name: "replicas", value: s.Replicas}
	ready := &count{name: "readyReplicas", value: s.ReadyReplicas, most: []*count{all}}
	errs := checkCounts(p, all, ready,
		&count{name: "updatedReplicas", value: s.UpdatedReplicas, most: []*count{all}},
		&count{name: "availableReplicas", value: s.AvailableReplicas, most: []*count{all, ready}},
		&count{name: "unavailableReplicas", value: s.UnavailableReplicas})
	if s.ObservedGeneration < 0 {
		errs = append(errs, field.Invalid(p.Child("observedGeneration"), s.ObservedGeneration, "must be greater than or equal to 0"))
	}
	var before *int32
	if old != nil {
		before = old.Status.CollisionCount
	}
	return append(errs, validateCollisions(s.CollisionCount, before, p.Child("collisionCount"))...)
}

// validateCollisions lets the counter, which keeps names apart, only grow.
func validateCollisions(now, old *int32, p *field.Path) field.ErrorList {
	if now != nil && *now < 0 {
		return nonNegative(*now, p)
	}
	if old == nil {
		return nil
	}
	if now == nil || *now < *old {
		return field.ErrorList{field.Invalid(p, now, "cannot be decremented")}
	}
	return nil
}

func validateReplicaSetStatus(rs, _ *appsv1.ReplicaSet) field.ErrorList {
	s, p := &rs.Status, field.NewPath("status")
	all := &count{name: "replicas", value: s.Replicas}
	ready := &count{name: "readyReplicas", value: s.ReadyReplicas, most: []*count{all}}
	errs := checkCounts(p, all, ready,
		&count{name: "fullyLabeledReplicas", value: s.FullyLabeledReplicas, most: []*count{all}},
		&count{name: "availableReplicas", value: s.AvailableReplicas, most: []*count{all, ready}})
	if s.ObservedGeneration < 0 {
		errs = append(errs, field.Invalid(p.Child("observedGeneration"), s.ObservedGeneration, "must be greater than or equal to 0"))
	}
	return errs
}

func validateStatefulSetStatus(set, old *appsv1.StatefulSet) field.ErrorList {
	s, p := &set.Status, field.NewPath("status")
	all := &count{name: "replicas", value: s.Replicas}
	ready := &count{name: "readyReplicas", value: s.ReadyReplicas, most: []*count{all}}
	errs := checkCounts(p, all, ready,
		&count{name: "currentReplicas", value: s.CurrentReplicas, most: []*count{all}},
		&count{name: "updatedReplicas", value: s.UpdatedReplicas, most: []*count{all}},
		&count{name: "availableReplicas", value: s.AvailableReplicas, most: []*count{all, ready}})
	errs = append(errs, validation.ValidateNonnegativeField(s.ObservedGeneration, p.Child("observedGeneration"))...)
	var before *int32
	if old != nil {
		before = old.Status.CollisionCount
	}
	return append(errs, validateCollisions(s.CollisionCount, before, p.Child("collisionCount"))...)
}

func validateDaemonSetStatus(d, old *appsv1.DaemonSet) field.ErrorList {
	s, p := &d.Status, field.NewPath("status")
	errs := checkCounts(p,
		&count{name: "currentNumberScheduled", value: s.CurrentNumberScheduled},
		&count{name: "numberMisscheduled", value: s.NumberMisscheduled},
		&count{name: "desiredNumberScheduled", value: s.DesiredNumberScheduled},
		&count{name: "numberReady", value: s.NumberReady},
		&count{name: "updatedNumberScheduled", value: s.UpdatedNumberScheduled},
		&count{name: "numberAvailable", value: s.NumberAvailable},
		&count{name: "numberUnavailable", value: s.NumberUnavailable})
	errs = append(errs, validation.ValidateNonnegativeField(s.ObservedGeneration, p.Child("observedGeneration"))...)
	var before *int32
	if old != nil {
		before = old.Status.CollisionCount
	}
	return append(errs, validateCollisions(s.CollisionCount, before, p.Child("collisionCount"))...)
}
