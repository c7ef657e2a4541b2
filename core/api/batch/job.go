package batch

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

const backoffLimit = 6

// The labels of a job's pods without a prefix are those of old; both pairs are set.
const (
	nameLabel         = "job-name"
	uidLabel          = "controller-uid"
	prefixedNameLabel = batchv1.JobNameLabel
	prefixedUIDLabel  = batchv1.ControllerUidLabel
)

// Jobs is all that the server, the printer and the docs know of Job.
var Jobs = api.Kind[batchv1.Job]{
	Group: "batch", Version: "v1", Name: "Job", Plural: "jobs", OrphanDependents: true, OrphanWarning: orphanWarning, Categories: []string{"all"},
	Namespaced: true, Generation: true, Subresources: api.Status, StatusMetadata: true,
	Default:        defaultJob,
	Prepare:        prepareJob,
	Validate:       validateJob,
	ValidateStatus: validateJobStatus,
	Warn:           warnJob,
	Columns: []api.Column[batchv1.Job]{
		api.NameColumn[batchv1.Job](),
		{Name: "Status", Description: "Status of the job.", Cell: func(j *batchv1.Job) any { return statusText(j) }},
		{Name: "Completions", Description: "Pods that succeeded, of those that are wanted.", Cell: func(j *batchv1.Job) any { return completionsText(j) }},
		{Name: "Duration", Description: "Time required to complete the job.", Cell: func(j *batchv1.Job) any { return durationText(j) }},
		api.AgeColumn[batchv1.Job](),
		{Name: "Containers", Priority: 1, Description: "Names of each container in the template.", Cell: func(j *batchv1.Job) any { return containerNames(&j.Spec.Template) }},
		{Name: "Images", Priority: 1, Description: "Images referenced by each container in the template.", Cell: func(j *batchv1.Job) any { return containerImages(&j.Spec.Template) }},
		{Name: "Selector", Priority: 1, Description: "The labels of the pods.", Cell: func(j *batchv1.Job) any { return metav1.FormatLabelSelector(j.Spec.Selector) }},
	},
	Fields: map[string]func(*batchv1.Job) string{
		"status.successful": func(j *batchv1.Job) string { return strconv.Itoa(int(j.Status.Succeeded)) },
	},
}

func defaultJob(j *batchv1.Job) {
	defaultJobSpec(&j.Spec)
	if len(j.Labels) == 0 {
		j.Labels = maps.Clone(j.Spec.Template.Labels)
	}
	setDefault(&j.Spec.CompletionMode, batchv1.NonIndexedCompletion)
	setDefault(&j.Spec.Suspend, false)
	setDefault(&j.Spec.ManualSelector, false)
	if j.Spec.Completions == nil && j.Spec.Parallelism == nil {
		j.Spec.Completions = new(int32(1))
	}
	setDefault(&j.Spec.Parallelism, 1)
	if j.Spec.BackoffLimitPerIndex != nil {
		setDefault(&j.Spec.BackoffLimit, math.MaxInt32)
	}
	setDefault(&j.Spec.BackoffLimit, backoffLimit)
	if j.Spec.PodFailurePolicy != nil {
		setDefault(&j.Spec.PodReplacementPolicy, batchv1.Failed)
	}
	setDefault(&j.Spec.PodReplacementPolicy, batchv1.TerminatingOrFailed)
}

// defaultJobSpec is what the templates of CronJobs get too; the rest is decided when a job is made of one.
func defaultJobSpec(s *batchv1.JobSpec) {
	core.DefaultPodTemplate(&s.Template)
	if s.PodFailurePolicy == nil {
		return
	}
	for i := range s.PodFailurePolicy.Rules {
		patterns := s.PodFailurePolicy.Rules[i].OnPodConditions
		for k := range patterns {
			if patterns[k].Status == "" {
				patterns[k].Status = corev1.ConditionTrue
			}
		}
	}
}

// prepareJob gives a new job the selector that its pods alone match, unless it brings its own.
func prepareJob(j, old *batchv1.Job) {
	if old != nil || valueOf(j.Spec.ManualSelector) {
		return
	}
	inherits := maps.Equal(j.Labels, j.Spec.Template.Labels)
	if j.Spec.Template.Labels == nil {
		j.Spec.Template.Labels = map[string]string{}
	}
	for label, value := range map[string]string{
		nameLabel: j.Name, prefixedNameLabel: j.Name, uidLabel: string(j.UID), prefixedUIDLabel: string(j.UID),
	} {
		if _, ok := j.Spec.Template.Labels[label]; !ok {
			j.Spec.Template.Labels[label] = value
		}
	}
	if inherits {
		j.Labels = maps.Clone(j.Spec.Template.Labels)
	}
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{}
	}
	if j.Spec.Selector.MatchLabels == nil {
		j.Spec.Selector.MatchLabels = map[string]string{}
	}
	if _, ok := j.Spec.Selector.MatchLabels[prefixedUIDLabel]; !ok {
		j.Spec.Selector.MatchLabels[prefixedUIDLabel] = string(j.UID)
	}
}

func statusText(j *batchv1.Job) string {
	switch {
	case is(j, batchv1.JobComplete):
		return "Complete"
	case is(j, batchv1.JobFailed):
		return "Failed"
	case j.DeletionTimestamp != nil:
		return "Terminating"
	case is(j, batchv1.JobSuspended):
		return "Suspended"
	case is(j, batchv1.JobFailureTarget):
		return "FailureTarget"
	case is(j, batchv1.JobSuccessCriteriaMet):
		return "SuccessCriteriaMet"
	}
	return "Running"
}

func completionsText(j *batchv1.Job) string {
	switch parallelism := valueOf(j.Spec.Parallelism); {
	case j.Spec.Completions != nil:
		return fmt.Sprintf("%d/%d", j.Status.Succeeded, *j.Spec.Completions)
	case parallelism > 1:
		return fmt.Sprintf("%d/1 of %d", j.Status.Succeeded, parallelism)
	}
	return fmt.Sprintf("%d/1", j.Status.Succeeded)
}

func durationText(j *batchv1.Job) string {
	switch start, end := j.Status.StartTime, j.Status.CompletionTime; {
	case start == nil:
		return ""
	case end == nil:
		return duration.HumanDuration(time.Since(start.Time))
	default:
		return duration.HumanDuration(end.Sub(start.Time))
	}
}

const orphanWarning = "child pods are preserved by default when jobs are deleted; " +
	"set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning"
