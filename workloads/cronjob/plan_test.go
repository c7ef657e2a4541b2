package cronjob

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/owner"
)

// noon is at a full hour; the CronJobs of these tests run every ten minutes and were made at half past ten.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newCronJob(change func(*batchv1.CronJob)) *batchv1.CronJob {
	c := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tick", UID: "cron", CreationTimestamp: metav1.NewTime(noon.Add(-90 * time.Minute))},
		Spec: batchv1.CronJobSpec{
			Schedule: "*/10 * * * *", TimeZone: new("UTC"), ConcurrencyPolicy: batchv1.AllowConcurrent, Suspend: new(false),
			SuccessfulJobsHistoryLimit: new(int32(3)), FailedJobsHistoryLimit: new(int32(1)),
		},
	}
	if change != nil {
		change(c)
	}
	return c
}

func lastRun(at time.Time) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) { c.Status.LastScheduleTime = new(metav1.NewTime(at)) }
}

func both(fs ...func(*batchv1.CronJob)) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) {
		for _, f := range fs {
			f(c)
		}
	}
}

func active(jobs ...*batchv1.Job) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) {
		for _, j := range jobs {
			c.Status.Active = append(c.Status.Active, refOf(j))
		}
	}
}

func policy(p batchv1.ConcurrencyPolicy) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) { c.Spec.ConcurrencyPolicy = p }
}

func deadline(seconds int64) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) { c.Spec.StartingDeadlineSeconds = &seconds }
}

// jobAt is the job of the run so long before noon.
func jobAt(before time.Duration, changes ...func(*batchv1.Job)) *batchv1.Job {
	at := noon.Add(-before)
	j := newJob(newCronJob(nil), at)
	j.UID, j.Status.StartTime = types.UID(j.Name), new(metav1.NewTime(at))
	for _, f := range changes {
		f(j)
	}
	return j
}

func ended(kind batchv1.JobConditionType) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Status.Conditions = []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue}}
		if kind == batchv1.JobComplete {
			j.Status.CompletionTime = new(metav1.NewTime(j.Status.StartTime.Add(time.Minute)))
		}
	}
}

func manual(j *batchv1.Job) { j.Annotations, j.Name = nil, "by-hand" }

func at(t *metav1.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("15:04")
}

func summary(p plan) []string {
	var out []string
	if s := p.status; s != nil {
		line := fmt.Sprintf("status: last %s, succeeded %s, active", at(s.LastScheduleTime), at(s.LastSuccessfulTime))
		for _, ref := range s.Active {
			line += " " + ref.Name
		}
		out = append(out, line)
	}
	for _, j := range p.remove {
		out = append(out, "remove "+j.Name)
	}
	for _, ref := range p.replace {
		out = append(out, "replace "+ref.Name)
	}
	if p.create != nil {
		out = append(out, "create "+p.create.Name)
	}
	for _, e := range p.events {
		out = append(out, "event "+e.reason)
	}
	if p.wakeAfter != 0 {
		out = append(out, fmt.Sprint("wake ", p.wakeAfter.Truncate(time.Second)))
	}
	return out
}

func TestPlan(t *testing.T) {
	const minute = time.Minute
	name := func(before time.Duration) string { return nameAt(newCronJob(nil), noon.Add(-before)) }
	recent := lastRun(noon.Add(-10 * minute))
	for _, test := range []struct {
		name string
		cron *batchv1.CronJob
		jobs []*batchv1.Job
		now  time.Duration // after noon
		want []string
	}{
		{"a run is due", newCronJob(recent), nil, time.Second, []string{"create " + name(0), "wake 9m59s"}},
		{"none is due", newCronJob(lastRun(noon)), nil, 4 * minute, []string{"wake 6m0s"}},
		{"the latest of those that were missed", newCronJob(nil), nil, minute, []string{"create " + name(0), "wake 9m0s"}},
		{"very many missed", newCronJob(lastRun(noon.Add(-48 * time.Hour))), nil, minute, []string{"create " + name(0), "event TooManyMissedTimes", "wake 9m0s"}},
		{"too late", newCronJob(both(recent, deadline(30))), nil, minute, []string{"wake 9m0s"}},
		{"just in time", newCronJob(both(recent, deadline(90))), nil, minute, []string{"create " + name(0), "wake 9m0s"}},
		{"suspended", newCronJob(both(recent, func(c *batchv1.CronJob) { c.Spec.Suspend = new(true) })), nil, minute, nil},
		{"being deleted", newCronJob(both(recent, func(c *batchv1.CronJob) { c.DeletionTimestamp = new(metav1.NewTime(noon)) })), nil, minute, nil},
		{"unknown zone", newCronJob(both(recent, func(c *batchv1.CronJob) { c.Spec.TimeZone = new("Europe/Atlantis") })), nil, minute, []string{"event UnknownTimeZone"}},
		{"unreadable", newCronJob(both(recent, func(c *batchv1.CronJob) { c.Spec.Schedule = "x" })), nil, minute, []string{"event UnparseableSchedule"}},
		{"a date that never comes", newCronJob(both(recent, func(c *batchv1.CronJob) { c.Spec.Schedule = "0 0 31 2 *" })), nil, minute, []string{"event InvalidSchedule"}},
		{"another zone", newCronJob(both(recent, func(c *batchv1.CronJob) { c.Spec.Schedule, c.Spec.TimeZone = "0 13 * * *", new("Europe/Rome") })), nil, minute, []string{"create " + name(0), "wake 23h59m0s"}},
		{"it runs already", newCronJob(both(lastRun(noon), active(jobAt(0)))), []*batchv1.Job{jobAt(0)}, minute, []string{"wake 9m0s"}},
		{"another one runs", newCronJob(both(recent, active(jobAt(10*minute)))), []*batchv1.Job{jobAt(10 * minute)}, minute, []string{"create " + name(0), "wake 9m0s"}},
		{"another one runs, forbidden", newCronJob(both(recent, policy("Forbid"), active(jobAt(10*minute)))), []*batchv1.Job{jobAt(10 * minute)}, minute, []string{"event JobAlreadyActive", "wake 9m0s"}},
		{"another one runs, replaced", newCronJob(both(recent, policy("Replace"), active(jobAt(10*minute)))), []*batchv1.Job{jobAt(10 * minute)}, minute, []string{"replace " + name(10*minute), "create " + name(0), "wake 9m0s"}},
		{"one has ended", newCronJob(both(lastRun(noon), active(jobAt(0)))), []*batchv1.Job{jobAt(0, ended(batchv1.JobComplete))}, minute, []string{"status: last 12:00, succeeded 12:01, active", "event SawCompletedJob"}},
		{"one has failed", newCronJob(both(lastRun(noon), active(jobAt(0)))), []*batchv1.Job{jobAt(0, ended(batchv1.JobFailed))}, minute, []string{"status: last 12:00, succeeded -, active", "event SawCompletedJob"}},
		{"one is gone", newCronJob(both(lastRun(noon), active(jobAt(0)))), nil, minute, []string{"status: last 12:00, succeeded -, active", "event MissingJob"}},
		{"made before a crash", newCronJob(recent), []*batchv1.Job{jobAt(0)}, minute, []string{"status: last 12:00, succeeded -, active " + name(0)}},
		{"made before a crash and ended", newCronJob(recent), []*batchv1.Job{jobAt(0, ended(batchv1.JobComplete))}, minute, []string{"status: last 12:00, succeeded 12:01, active"}},
		{"made by hand", newCronJob(lastRun(noon)), []*batchv1.Job{jobAt(0, manual)}, minute, []string{"event UnexpectedJob", "wake 9m0s"}},
		{
			"beyond the limits", newCronJob(both(lastRun(noon), func(c *batchv1.CronJob) {
				c.Status.LastSuccessfulTime = new(metav1.NewTime(noon))
				c.Spec.SuccessfulJobsHistoryLimit, c.Spec.FailedJobsHistoryLimit = new(int32(1)), new(int32(0))
			})),
			[]*batchv1.Job{jobAt(10*minute, ended(batchv1.JobComplete)), jobAt(30*minute, ended(batchv1.JobComplete)), jobAt(20*minute, ended(batchv1.JobFailed))},
			minute,
			[]string{"remove " + name(30*minute), "remove " + name(20*minute), "wake 9m0s"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, summary(decide(test.cron, test.jobs, noon.Add(test.now)))); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewJob(t *testing.T) {
	c := newCronJob(func(c *batchv1.CronJob) {
		c.Spec.TimeZone = new("Asia/Tokyo")
		c.Spec.JobTemplate.Labels, c.Spec.JobTemplate.Annotations = map[string]string{"a": "b"}, map[string]string{"c": "d"}
	})
	j := newJob(c, noon)
	if want := fmt.Sprint("tick-", noon.Unix()/60); j.Name != want || !metav1.IsControlledBy(j, c) {
		t.Errorf("name is %s, want %s; owners are %v", j.Name, want, j.OwnerReferences)
	}
	want := map[string]string{"c": "d", "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-03-01T21:00:00+09:00"}
	if diff := cmp.Diff(want, j.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if at, ok := runOf(c, j); !ok || !at.Equal(noon) {
		t.Errorf("its run is at %s", at)
	}
	if len(c.Spec.JobTemplate.Annotations) != 1 {
		t.Error("the template was changed")
	}
}

// A schedule that is changed counts from then on, not for times that it would have had before.
func TestRescheduled(t *testing.T) {
	was := newCronJob(nil)
	for _, test := range []struct {
		name   string
		change func(*batchv1.CronJob)
		want   bool
	}{
		{"nothing", func(*batchv1.CronJob) {}, false},
		{"the policy", policy("Forbid"), false},
		{"the schedule", func(c *batchv1.CronJob) { c.Spec.Schedule = "* * * * *" }, true},
		{"the zone", func(c *batchv1.CronJob) { c.Spec.TimeZone = nil }, true},
	} {
		if got := rescheduled(was, newCronJob(test.change)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// One process makes a run's job and dies; the next one must not make it again, nor forget it.
func TestSurvivesCrash(t *testing.T) {
	c := newCronJob(lastRun(noon.Add(-10 * time.Minute)))
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(c, jobAt(0)).WithStatusSubresource(c).
		WithIndex(&batchv1.Job{}, owner.ByController, func(client.Object) []string { return nil }). // the list lags
		Build()
	controller := &Controller{Client: api, Recorder: record.NewFakeRecorder(10), Clock: func() time.Time { return noon.Add(time.Second) }}
	key := client.ObjectKeyFromObject(c)
	if _, err := controller.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(t.Context(), key, c); err != nil {
		t.Fatal(err)
	}
	if len(c.Status.Active) != 1 || !c.Status.LastScheduleTime.Time.Equal(noon) {
		t.Errorf("status is %+v", c.Status)
	}
}
