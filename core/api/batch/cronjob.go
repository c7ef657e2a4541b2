package batch

import (
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
)

const (
	successfulHistory = 3
	failedHistory     = 1
)

// CronJobs is all that the server, the printer and the docs know of CronJob.
var CronJobs = api.Kind[batchv1.CronJob]{
	Group: "batch", Version: "v1", Name: "CronJob", Plural: "cronjobs", Short: []string{"cj"}, Categories: []string{"all"},
	Earlier:    []string{"batch/v1beta1"},
	Namespaced: true, Generation: true, Subresources: api.Status, StatusMetadata: true,
	Default:  defaultCronJob,
	Validate: validateCronJob,
	Warn:     warnCronJob,
	Columns: []api.Column[batchv1.CronJob]{
		api.NameColumn[batchv1.CronJob](),
		{Name: "Schedule", Description: "When jobs are started, in cron's form.", Cell: func(c *batchv1.CronJob) any { return c.Spec.Schedule }},
		{Name: "Timezone", Description: "The time zone of the schedule.", Cell: timeZoneText},
		{Name: "Suspend", Type: "boolean", Description: "Whether no further jobs are started.", Cell: suspendText},
		{Name: "Active", Type: "integer", Description: "Number of jobs that run.", Cell: func(c *batchv1.CronJob) any { return int64(len(c.Status.Active)) }},
		{Name: "Last Schedule", Description: "Time since a job was last started.", Cell: lastScheduleText},
		api.AgeColumn[batchv1.CronJob](),
		{Name: "Containers", Priority: 1, Description: "Names of each container in the template.", Cell: func(c *batchv1.CronJob) any { return containerNames(&c.Spec.JobTemplate.Spec.Template) }},
		{Name: "Images", Priority: 1, Description: "Images referenced by each container in the template.", Cell: func(c *batchv1.CronJob) any { return containerImages(&c.Spec.JobTemplate.Spec.Template) }},
		{Name: "Selector", Priority: 1, Description: "The labels of the pods.", Cell: func(c *batchv1.CronJob) any { return metav1.FormatLabelSelector(c.Spec.JobTemplate.Spec.Selector) }},
	},
}

func defaultCronJob(c *batchv1.CronJob) {
	if c.Spec.ConcurrencyPolicy == "" {
		c.Spec.ConcurrencyPolicy = batchv1.AllowConcurrent
	}
	setDefault(&c.Spec.Suspend, false)
	setDefault(&c.Spec.SuccessfulJobsHistoryLimit, successfulHistory)
	setDefault(&c.Spec.FailedJobsHistoryLimit, failedHistory)
	defaultJobSpec(&c.Spec.JobTemplate.Spec)
}

func timeZoneText(c *batchv1.CronJob) any {
	if c.Spec.TimeZone == nil {
		return none
	}
	return *c.Spec.TimeZone
}

func suspendText(c *batchv1.CronJob) any {
	if c.Spec.Suspend == nil {
		return "<unset>"
	}
	return titled(*c.Spec.Suspend)
}

// titled is how kubectl prints optional booleans.
func titled(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

func lastScheduleText(c *batchv1.CronJob) any {
	if c.Status.LastScheduleTime == nil {
		return none
	}
	return api.Age(*c.Status.LastScheduleTime)
}
