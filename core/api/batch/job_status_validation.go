package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateJobStatus holds whoever manages a job to what readers of its status rely on. A rule applies when
// what it is about changes, so that a status that broke it before can still be written.
func validateJobStatus(j, old *batchv1.Job) field.ErrorList {
	p := field.NewPath("status")
	errs := validateJobCounts(&j.Status, p)
	errs = append(errs, validateUncounted(j.Status.UncountedTerminatedPods, p.Child("uncountedTerminatedPods"))...)
	if old == nil {
		old = &batchv1.Job{}
	}
	errs = append(errs, validateConditionPairs(j, old, p.Child("conditions"))...)
	errs = append(errs, validateConditionChanges(j, old, p.Child("conditions"))...)
	errs = append(errs, validateTimes(j, old, p)...)
	errs = append(errs, validateFinished(j, old, p)...)
	errs = append(errs, validateIndexLists(j, old, p)...)
	return append(errs, validateCountChanges(j, old, p)...)
}

func validateJobCounts(s *batchv1.JobStatus, p *field.Path) field.ErrorList {
	errs := validation.ValidateNonnegativeField(int64(s.Active), p.Child("active"))
	errs = append(errs, validation.ValidateNonnegativeField(int64(s.Succeeded), p.Child("succeeded"))...)
	errs = append(errs, validation.ValidateNonnegativeField(int64(s.Failed), p.Child("failed"))...)
	errs = append(errs, optionalNonNegative(s.Ready, p.Child("ready"))...)
	return append(errs, optionalNonNegative(s.Terminating, p.Child("terminating"))...)
}

func validateUncounted(u *batchv1.UncountedTerminatedPods, p *field.Path) field.ErrorList {
	if u == nil {
		return nil
	}
	var errs field.ErrorList
	seen := sets.New[types.UID]()
	check := func(list []types.UID, p *field.Path) {
		for i, uid := range list {
			switch {
			case uid == "":
				errs = append(errs, field.Invalid(p.Index(i), uid, "must not be empty"))
			case seen.Has(uid):
				errs = append(errs, field.Duplicate(p.Index(i), uid))
			}
			seen.Insert(uid)
		}
	}
	check(u.Succeeded, p.Child("succeeded"))
	check(u.Failed, p.Child("failed"))
	return errs
}

// turned tells that a condition became true or ceased to be.
func turned(j, old *batchv1.Job, kinds ...batchv1.JobConditionType) bool {
	for _, kind := range kinds {
		if is(j, kind) != is(old, kind) {
			return true
		}
	}
	return false
}

func validateConditionPairs(j, old *batchv1.Job, p *field.Path) field.ErrorList {
	const complete, failed, target, met = batchv1.JobComplete, batchv1.JobFailed, batchv1.JobFailureTarget, batchv1.JobSuccessCriteriaMet
	var errs field.ErrorList
	refuse := func(wrong bool, msg string) {
		if wrong {
			errs = append(errs, field.Invalid(p, field.OmitValueType{}, msg))
		}
	}
	refuse(turned(j, old, complete, failed) && is(j, complete) && is(j, failed), "cannot set Complete=True and Failed=true conditions")
	refuse(turned(j, old, complete, target) && is(j, complete) && is(j, target), "cannot set Complete=True and FailureTarget=true conditions")
	refuse((turned(j, old, failed) || !same(j.Status.FailedIndexes, old.Status.FailedIndexes)) && is(j, failed) && !is(j, target),
		"cannot set Failed=True condition without the FailureTarget=true condition")
	refuse(turned(j, old, complete, met) && is(j, complete) && !is(j, met), "cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
	refuse(is(j, met) && is(j, failed), "cannot set SuccessCriteriaMet=True and Failed=true conditions")
	refuse(is(j, met) && is(j, target), "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
	refuse(j.Spec.SuccessPolicy != nil && is(j, complete) && !is(j, met), "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True")
	return errs
}

func validateConditionChanges(j, old *batchv1.Job, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, kind := range []batchv1.JobConditionType{batchv1.JobFailed, batchv1.JobComplete, batchv1.JobFailureTarget} {
		if is(old, kind) && !is(j, kind) {
			errs = append(errs, field.Invalid(p, field.OmitValueType{}, fmt.Sprintf("cannot disable the terminal %s=True condition", kind)))
		}
	}
	before, now := is(old, batchv1.JobSuccessCriteriaMet), is(j, batchv1.JobSuccessCriteriaMet)
	if before && !now {
		errs = append(errs, field.Invalid(p, field.OmitValueType{}, "cannot disable the SuccessCriteriaMet=True condition"))
	}
	if is(old, batchv1.JobComplete) && !before && now {
		errs = append(errs, field.Invalid(p, field.OmitValueType{}, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"))
	}
	return errs
}

// sameTime compares times as they are stored, in whole seconds.
func sameTime(a, b *metav1.Time) bool {
	return (a == nil) == (b == nil) && (a == nil || a.Unix() == b.Unix())
}

func validateTimes(j, old *batchv1.Job, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	start, end := j.Status.StartTime, j.Status.CompletionTime
	started, ended := !sameTime(start, old.Status.StartTime), !sameTime(end, old.Status.CompletionTime)
	if completed := turned(j, old, batchv1.JobComplete) || ended; completed && (end != nil) != is(j, batchv1.JobComplete) {
		if end != nil {
			errs = append(errs, field.Invalid(p.Child("completionTime"), end, "cannot set completionTime when there is no Complete=True condition"))
		} else {
			errs = append(errs, field.Required(p.Child("completionTime"), "completionTime is required for Complete jobs"))
		}
	}
	if (started || ended) && start != nil && end != nil && end.Unix() < start.Unix() {
		errs = append(errs, field.Invalid(p.Child("completionTime"), end, "must be equal to or after `startTime`"))
	}
	if ended && end != nil && old.Status.CompletionTime != nil {
		errs = append(errs, field.Invalid(p.Child("completionTime"), end, "field is immutable"))
	}
	resumed := is(old, batchv1.JobSuspended) && hasCondition(j, batchv1.JobSuspended, corev1.ConditionFalse)
	if started && !resumed && old.Status.StartTime != nil && !valueOf(j.Spec.Suspend) {
		errs = append(errs, field.Invalid(p.Child("startTime"), start, "field is immutable for unsuspended job once set"))
	}
	neverStarted := valueOf(j.Spec.Suspend) && j.Spec.Completions != nil && *j.Spec.Completions == 0
	if (finished(j) != finished(old) || started) && !neverStarted && start == nil && finished(j) {
		errs = append(errs, field.Required(p.Child("startTime"), "startTime is required for finished job"))
	}
	return errs
}

func validateFinished(j, old *batchv1.Job, p *field.Path) field.ErrorList {
	if !finished(j) {
		return nil
	}
	var errs field.ErrorList
	turned := !finished(old)
	now, was := &j.Status, &old.Status
	if (turned || now.Active != was.Active) && now.Active > 0 {
		errs = append(errs, field.Invalid(p.Child("active"), now.Active, "active>0 is invalid for finished job"))
	}
	if (turned || !same(now.Terminating, was.Terminating)) && valueOf(now.Terminating) > 0 {
		errs = append(errs, field.Invalid(p.Child("terminating"), now.Terminating, "terminating>0 is invalid for finished job"))
	}
	u := now.UncountedTerminatedPods
	if (turned || !equality.Semantic.DeepEqual(u, was.UncountedTerminatedPods)) && u != nil && len(u.Succeeded)+len(u.Failed) > 0 {
		errs = append(errs, field.Invalid(p.Child("uncountedTerminatedPods"), u, "must be empty for finished job"))
	}
	return errs
}

func validateIndexLists(j, old *batchv1.Job, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	done, failed := j.Status.CompletedIndexes, valueOf(j.Status.FailedIndexes)
	doneChanged, failedChanged := done != old.Status.CompletedIndexes, !same(j.Status.FailedIndexes, old.Status.FailedIndexes)
	n := valueOf(j.Spec.Completions)
	doneList, err := parseIndexes(done, n)
	if doneChanged && j.Spec.Completions != nil && err != nil {
		errs = append(errs, field.Invalid(p.Child("completedIndexes"), done, "error parsing completedIndexes: "+err.Error()))
	}
	if doneChanged && done != "" && !indexed(&j.Spec) {
		errs = append(errs, field.Invalid(p.Child("completedIndexes"), done, "cannot set non-empty completedIndexes when non-indexed completion mode"))
	}
	failedList, err := parseIndexes(failed, n)
	at := p.Child("failedIndexes")
	if failedChanged && j.Spec.Completions != nil && j.Spec.BackoffLimitPerIndex != nil && err != nil {
		errs = append(errs, field.Invalid(at, failed, "error parsing failedIndexes: "+err.Error()))
	}
	if failedChanged && j.Spec.BackoffLimitPerIndex == nil && j.Status.FailedIndexes != nil {
		errs = append(errs, field.Invalid(at, failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null"))
	}
	if index, both := overlap(doneList, failedList); both && (doneChanged || failedChanged) {
		errs = append(errs, field.Invalid(at, failed, fmt.Sprintf("failedIndexes and completedIndexes overlap at index: %d", index)))
	}
	return errs
}

func validateCountChanges(j, old *batchv1.Job, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	now, was := &j.Status, &old.Status
	elastic := indexed(&j.Spec) && same(j.Spec.Completions, j.Spec.Parallelism)
	if now.Failed < was.Failed {
		errs = append(errs, field.Invalid(p.Child("failed"), now.Failed, "cannot decrease the failed counter"))
	}
	if now.Succeeded < was.Succeeded && !elastic {
		errs = append(errs, field.Invalid(p.Child("succeeded"), now.Succeeded, "cannot decrease the succeeded counter"))
	}
	if (!same(now.Ready, was.Ready) || now.Active != was.Active) && valueOf(now.Ready) > now.Active {
		errs = append(errs, field.Invalid(p.Child("ready"), *now.Ready, "cannot set more ready pods than active"))
	}
	return errs
}
