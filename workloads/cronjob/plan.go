package cronjob

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// plan is what to do about one CronJob. When the status is behind what the jobs show, writing it is all that
// is done: what comes after depends on it.
type plan struct {
	status *batchv1.CronJobStatus
	// remove are finished jobs beyond the history limits.
	remove []*batchv1.Job
	// replace are jobs that must go before the next begins.
	replace []corev1.ObjectReference
	// create is the job of the run that is due, runAt the time of that run.
	create *batchv1.Job
	runAt  time.Time
	events []event
	// wakeAfter is when the next run is due, 0 for never.
	wakeAfter time.Duration
}

type event struct{ kind, reason, message string }

func (p *plan) say(kind, reason, format string, args ...any) {
	p.events = append(p.events, event{kind, reason, fmt.Sprintf(format, args...)})
}

// decide compares a CronJob with the jobs that it controls.
func decide(c *batchv1.CronJob, jobs []*batchv1.Job, now time.Time) plan {
	var p plan
	if status := p.keepBooks(c, jobs); !equality.Semantic.DeepEqual(status, c.Status) {
		p.status = &status
		return p
	}
	p.remove = append(beyond(jobs, batchv1.JobComplete, c.Spec.SuccessfulJobsHistoryLimit), beyond(jobs, batchv1.JobFailed, c.Spec.FailedJobsHistoryLimit)...)
	if c.DeletionTimestamp == nil {
		p.schedule(c, now)
	}
	return p
}

// keepBooks brings the status up to date with the jobs. Jobs of this controller that it does not mention
// were made just before a crash.
func (p *plan) keepBooks(c *batchv1.CronJob, jobs []*batchv1.Job) batchv1.CronJobStatus {
	s := *c.Status.DeepCopy()
	there := map[types.UID]bool{}
	for _, j := range jobs {
		there[j.UID] = true
		active := slices.ContainsFunc(s.Active, func(ref corev1.ObjectReference) bool { return ref.UID == j.UID })
		end := conditionOf(j)
		at, made := runOf(c, j)
		if made && (s.LastScheduleTime == nil || at.After(s.LastScheduleTime.Time)) {
			s.LastScheduleTime = new(metav1.NewTime(at))
		}
		switch {
		case end == nil && !active && j.DeletionTimestamp != nil:
		case end == nil && !active && made:
			s.Active = append(s.Active, refOf(j))
		case end == nil && !active:
			p.say(corev1.EventTypeWarning, "UnexpectedJob", "Saw a job that the controller did not create or forgot: %s", j.Name)
		case end != nil && active:
			s.Active = without(s.Active, j.UID)
			p.say(corev1.EventTypeNormal, "SawCompletedJob", "Saw completed job: %s, condition: %v", j.Name, end.Type)
		}
		if done := j.Status.CompletionTime; end != nil && end.Type == batchv1.JobComplete && done != nil {
			at := metav1.NewTime(done.Truncate(time.Second)) // as it is stored
			if s.LastSuccessfulTime == nil || at.After(s.LastSuccessfulTime.Time) {
				s.LastSuccessfulTime = &at
			}
		}
	}
	for _, ref := range slices.Clone(s.Active) {
		if !there[ref.UID] {
			s.Active = without(s.Active, ref.UID)
			p.say(corev1.EventTypeNormal, "MissingJob", "Active job went missing: %v", ref.Name)
		}
	}
	return s
}

// schedule decides whether a run is due, and when the next one is.
func (p *plan) schedule(c *batchv1.CronJob, now time.Time) {
	if zone := c.Spec.TimeZone; zone != nil {
		if _, err := time.LoadLocation(*zone); err != nil {
			p.say(corev1.EventTypeWarning, "UnknownTimeZone", "invalid timeZone: %q: %s", *zone, err)
			return
		}
	}
	if c.Spec.Suspend != nil && *c.Spec.Suspend {
		return
	}
	if zoned(c) {
		p.say(corev1.EventTypeWarning, "UnsupportedSchedule", "CRON_TZ or TZ used in schedule %q is not officially supported, "+
			"see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details", c.Spec.Schedule)
	}
	s, err := parse(c)
	if err != nil {
		p.say(corev1.EventTypeWarning, "UnparseableSchedule", "unparseable schedule: %q : %s", c.Spec.Schedule, err)
		return
	}
	d, err := dueAt(c, s, now, true)
	if err != nil {
		p.say(corev1.EventTypeWarning, "InvalidSchedule", "invalid schedule: %s : %s", c.Spec.Schedule, err)
		return
	}
	p.wakeAfter = untilNext(c, s, now)
	if d.last.IsZero() {
		return
	}
	if d.missed > manyMissed {
		p.say(corev1.EventTypeWarning, "TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
	}
	p.run(c, d.last, now)
}

func (p *plan) run(c *batchv1.CronJob, at, now time.Time) {
	if seconds := c.Spec.StartingDeadlineSeconds; seconds != nil && at.Add(time.Duration(*seconds)*time.Second).Before(now) {
		p.say(corev1.EventTypeWarning, "MissSchedule", "Missed scheduled time to start a job: %s", at.UTC().Format(time.RFC1123Z))
		return
	}
	name := nameAt(c, at)
	if last := c.Status.LastScheduleTime; last != nil && last.Time.Equal(at) ||
		slices.ContainsFunc(c.Status.Active, func(ref corev1.ObjectReference) bool { return ref.Name == name }) {
		return
	}
	switch {
	case len(c.Status.Active) == 0:
	case c.Spec.ConcurrencyPolicy == batchv1.ForbidConcurrent:
		p.say(corev1.EventTypeNormal, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid")
		return
	case c.Spec.ConcurrencyPolicy == batchv1.ReplaceConcurrent:
		p.replace = c.Status.Active
	}
	p.create, p.runAt = newJob(c, at), at
}

func newJob(c *batchv1.CronJob, at time.Time) *batchv1.Job {
	t := c.Spec.JobTemplate.DeepCopy()
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace, Name: nameAt(c, at), Labels: t.Labels, Annotations: maps.Clone(t.Annotations),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c, kind)},
		},
		Spec: t.Spec,
	}
	if j.Annotations == nil {
		j.Annotations = map[string]string{}
	}
	zone := time.UTC
	if c.Spec.TimeZone != nil {
		if l, err := time.LoadLocation(*c.Spec.TimeZone); err == nil {
			zone = l
		}
	}
	j.Annotations[batchv1.CronJobScheduledTimestampAnnotation] = at.In(zone).Format(time.RFC3339)
	return j
}

// started is the status after a run's job was made and those that it replaces were deleted.
func started(c *batchv1.CronJob, j *batchv1.Job, at time.Time, replaced []corev1.ObjectReference) batchv1.CronJobStatus {
	s := *c.Status.DeepCopy()
	for _, ref := range replaced {
		s.Active = without(s.Active, ref.UID)
	}
	if conditionOf(j) == nil {
		s.Active = append(s.Active, refOf(j))
	}
	s.LastScheduleTime = new(metav1.NewTime(at))
	return s
}

// runOf is the run that this controller made a job for, false for jobs that somebody else made.
func runOf(c *batchv1.CronJob, j *batchv1.Job) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, j.Annotations[batchv1.CronJobScheduledTimestampAnnotation])
	return at, err == nil && j.Name == nameAt(c, at)
}

func refOf(j *batchv1.Job) corev1.ObjectReference {
	return corev1.ObjectReference{
		APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job", Namespace: j.Namespace, Name: j.Name, UID: j.UID, ResourceVersion: j.ResourceVersion,
	}
}

func without(list []corev1.ObjectReference, uid types.UID) []corev1.ObjectReference {
	out := slices.DeleteFunc(slices.Clone(list), func(ref corev1.ObjectReference) bool { return ref.UID == uid })
	if len(out) == 0 {
		return nil
	}
	return out
}

// conditionOf is the condition by which the job ended, nil while it has not.
func conditionOf(j *batchv1.Job) *batchv1.JobCondition {
	for i := range j.Status.Conditions {
		if c := &j.Status.Conditions[i]; (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// beyond are the jobs that ended so but for the latest, as many as the limit keeps.
func beyond(jobs []*batchv1.Job, end batchv1.JobConditionType, limit *int32) []*batchv1.Job {
	if limit == nil {
		return nil
	}
	var out []*batchv1.Job
	for _, j := range jobs {
		if c := conditionOf(j); c != nil && c.Type == end && j.DeletionTimestamp == nil {
			out = append(out, j)
		}
	}
	slices.SortFunc(out, func(a, b *batchv1.Job) int {
		x, y := a.Status.StartTime, b.Status.StartTime
		switch {
		case x == nil && y == nil:
			return cmp.Compare(a.Name, b.Name)
		case x == nil:
			return 1
		case y == nil:
			return -1
		}
		return cmp.Or(x.Compare(y.Time), cmp.Compare(a.Name, b.Name))
	})
	return out[:max(0, len(out)-int(*limit))]
}
