package batch

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func cronJob(change func(*batchv1.CronJob)) *batchv1.CronJob {
	c := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "hello", CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))},
		Spec:       batchv1.CronJobSpec{Schedule: "*/5 * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template()}}},
	}
	if change != nil {
		change(c)
	}
	defaultCronJob(c)
	return c
}

func TestDefaultCronJob(t *testing.T) {
	c := cronJob(nil)
	got := c.Spec
	got.JobTemplate = batchv1.JobTemplateSpec{}
	want := batchv1.CronJobSpec{
		Schedule: "*/5 * * * *", ConcurrencyPolicy: batchv1.AllowConcurrent, Suspend: new(false),
		SuccessfulJobsHistoryLimit: new(int32(3)), FailedJobsHistoryLimit: new(int32(1)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if spec := c.Spec.JobTemplate.Spec; spec.Template.Spec.SchedulerName == "" || spec.Completions != nil || spec.Suspend != nil {
		t.Errorf("the template is %+v", spec)
	}
}

func TestValidateCronJob(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*batchv1.CronJob)
		want   []string
	}{
		{"good", nil, nil},
		{"a macro", func(c *batchv1.CronJob) { c.Spec.Schedule = "@hourly" }, nil},
		{"no schedule", func(c *batchv1.CronJob) { c.Spec.Schedule = "" }, []string{"spec.schedule: Required value"}},
		{"bad schedule", func(c *batchv1.CronJob) { c.Spec.Schedule = "61 * * * *" }, []string{"spec.schedule: Invalid value"}},
		{"a schedule that panics the parser", func(c *batchv1.CronJob) { c.Spec.Schedule = "TZ=0" }, []string{"spec.schedule: Invalid value"}},
		{"zone in the schedule", func(c *batchv1.CronJob) { c.Spec.Schedule = "CRON_TZ=UTC 0 * * * *" }, []string{"spec.schedule: Invalid value"}},
		{"zone", func(c *batchv1.CronJob) { c.Spec.TimeZone = new("Europe/Rome") }, nil},
		{"empty zone", func(c *batchv1.CronJob) { c.Spec.TimeZone = new("") }, []string{"spec.timeZone: Invalid value"}},
		{"local zone", func(c *batchv1.CronJob) { c.Spec.TimeZone = new("Local") }, []string{"spec.timeZone: Invalid value"}},
		{"unknown zone", func(c *batchv1.CronJob) { c.Spec.TimeZone = new("Europe/Atlantis") }, []string{"spec.timeZone: Invalid value"}},
		{"path as zone", func(c *batchv1.CronJob) { c.Spec.TimeZone = new("../etc/passwd") }, []string{"spec.timeZone: Invalid value"}},
		{"concurrency", func(c *batchv1.CronJob) { c.Spec.ConcurrencyPolicy = "Odd" }, []string{"spec.concurrencyPolicy: Unsupported value"}},
		{"negative", func(c *batchv1.CronJob) {
			c.Spec.StartingDeadlineSeconds, c.Spec.SuccessfulJobsHistoryLimit, c.Spec.FailedJobsHistoryLimit = new(int64(-1)), new(int32(-1)), new(int32(-1))
		}, []string{"spec.startingDeadlineSeconds: Invalid value", "spec.successfulJobsHistoryLimit: Invalid value", "spec.failedJobsHistoryLimit: Invalid value"}},
		{"template", func(c *batchv1.CronJob) {
			s := &c.Spec.JobTemplate.Spec
			s.Selector, s.ManualSelector, s.Template.Spec.RestartPolicy = &metav1.LabelSelector{}, new(true), corev1.RestartPolicyAlways
		}, []string{"spec.jobTemplate.spec.selector: Invalid value", "spec.jobTemplate.spec.manualSelector: Unsupported value", "spec.jobTemplate.spec.template.spec.restartPolicy: Required value"}},
		{"long name", func(c *batchv1.CronJob) { c.Name = strings.Repeat("x", 53) }, []string{"metadata.name: Invalid value"}},
	} {
		t.Run(test.name, func(t *testing.T) { checkRefusals(t, validateCronJob(cronJob(test.change), nil), test.want...) })
	}
	long := cronJob(func(c *batchv1.CronJob) { c.Name = strings.Repeat("x", 53) })
	checkRefusals(t, validateCronJob(long, long))
	zoned := cronJob(func(c *batchv1.CronJob) { c.Spec.Schedule = "TZ=UTC 0 * * * *" })
	checkRefusals(t, validateCronJob(zoned, zoned))
	both := zoned.DeepCopy()
	both.Spec.TimeZone = new("UTC")
	checkRefusals(t, validateCronJob(both, zoned), "spec.schedule: Invalid value")
	if got := warnCronJob(zoned, zoned); len(got) != 1 {
		t.Errorf("warnings are %q", got)
	}
}

func TestCronJobColumns(t *testing.T) {
	c := cronJob(nil)
	want := []any{"hello", "*/5 * * * *", "<none>", "False", int64(0), "<none>", "60m", "a", "a:1", "<none>"}
	if diff := cmp.Diff(want, CronJobs.Resource().Cells(c)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	c.Spec.TimeZone, c.Spec.Suspend = new("UTC"), new(true)
	c.Status.LastScheduleTime, c.Status.Active = new(metav1.NewTime(time.Now().Add(-2*time.Minute))), []corev1.ObjectReference{{}}
	want = []any{"hello", "*/5 * * * *", "UTC", "True", int64(1), "2m", "60m", "a", "a:1", "<none>"}
	if diff := cmp.Diff(want, CronJobs.Resource().Cells(c)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}
