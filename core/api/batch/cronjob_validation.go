package batch

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// jobSuffix is the length of what a job's name adds to that of its CronJob.
const jobSuffix = 11

func validateCronJob(c, old *batchv1.CronJob) field.ErrorList {
	p, spec := field.NewPath("spec"), &c.Spec
	var before *batchv1.CronJobSpec
	if old != nil {
		before = &old.Spec
	}
	errs := validateSchedule(spec, before, p.Child("schedule"))
	errs = append(errs, optionalNonNegative(spec.StartingDeadlineSeconds, p.Child("startingDeadlineSeconds"))...)
	if before == nil || !same(before.TimeZone, spec.TimeZone) {
		errs = append(errs, validateTimeZone(spec.TimeZone, p.Child("timeZone"))...)
	}
	errs = append(errs, validateConcurrency(spec.ConcurrencyPolicy, p.Child("concurrencyPolicy"))...)
	errs = append(errs, validateJobTemplate(&spec.JobTemplate, p.Child("jobTemplate", "spec"))...)
	errs = append(errs, optionalNonNegative(spec.SuccessfulJobsHistoryLimit, p.Child("successfulJobsHistoryLimit"))...)
	errs = append(errs, optionalNonNegative(spec.FailedJobsHistoryLimit, p.Child("failedJobsHistoryLimit"))...)
	if most := utilvalidation.DNS1035LabelMaxLength - jobSuffix; old == nil && len(c.Name) > most {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), c.Name, fmt.Sprintf("must be no more than %d characters", most)))
	}
	return errs
}

func validateJobTemplate(t *batchv1.JobTemplateSpec, p *field.Path) field.ErrorList {
	errs := validateJobSpec(&t.Spec, p)
	if t.Spec.Selector != nil {
		errs = append(errs, field.Invalid(p.Child("selector"), t.Spec.Selector, "`selector` will be auto-generated"))
	}
	if valueOf(t.Spec.ManualSelector) {
		errs = append(errs, field.NotSupported(p.Child("manualSelector"), t.Spec.ManualSelector, []string{"nil", "false"}))
	}
	return errs
}

// validateSchedule refuses a zone in the schedule, unless there was one before there was a field for it.
func validateSchedule(s, old *batchv1.CronJobSpec, p *field.Path) field.ErrorList {
	if s.Schedule == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	if err := parseSchedule(s.Schedule); err != nil {
		errs = append(errs, field.Invalid(p, s.Schedule, err.Error()))
	}
	const zone = "TZ"
	if !strings.Contains(s.Schedule, zone) {
		return errs
	}
	switch allowed := old != nil && strings.Contains(old.Schedule, zone); {
	case !allowed:
		errs = append(errs, field.Invalid(p, s.Schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
	case s.TimeZone != nil:
		errs = append(errs, field.Invalid(p, s.Schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))
	}
	return errs
}

// parseSchedule survives what makes the parser panic, "TZ=0" for one.
func parseSchedule(text string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("invalid schedule format: %v", r)
		}
	}()
	_, err = cron.ParseStandard(text)
	return err
}

// zonePart is a component of a zone's name (https://data.iana.org/time-zones/theory.html#naming), with the
// digits and the plus of names from before that rule.
var zonePart = regexp.MustCompile(`^[A-Za-z\.\-_0-9+]{1,14}$`)

func validateTimeZone(zone *string, p *field.Path) field.ErrorList {
	if zone == nil {
		return nil
	}
	if *zone == "" {
		return field.ErrorList{field.Invalid(p, zone, "timeZone must be nil or non-empty string")}
	}
	for part := range strings.SplitSeq(*zone, "/") {
		if part == "." || part == ".." || strings.HasPrefix(part, "-") || !zonePart.MatchString(part) {
			return field.ErrorList{field.Invalid(p, zone, "unknown time zone "+*zone)}
		}
	}
	var errs field.ErrorList
	if strings.EqualFold(*zone, "Local") {
		errs = append(errs, field.Invalid(p, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
	}
	if _, err := time.LoadLocation(*zone); err != nil {
		errs = append(errs, field.Invalid(p, zone, err.Error()))
	}
	return errs
}

func validateConcurrency(policy batchv1.ConcurrencyPolicy, p *field.Path) field.ErrorList {
	switch policy {
	case batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent:
		return nil
	case "":
		return field.ErrorList{field.Required(p, "")}
	}
	return field.ErrorList{field.NotSupported(p, policy, []batchv1.ConcurrencyPolicy{batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent})}
}

func warnCronJob(c, old *batchv1.CronJob) []string {
	template := field.NewPath("spec", "jobTemplate", "spec")
	if old == nil {
		return append(warnName(c.Name), warnJobSpec(&c.Spec.JobTemplate.Spec, template)...)
	}
	var out []string
	if c.Generation != old.Generation {
		out = warnJobSpec(&c.Spec.JobTemplate.Spec, template)
	}
	if strings.Contains(c.Spec.Schedule, "TZ") {
		out = append(out, "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, "+
			"see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details")
	}
	return out
}
