package cronjob

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
)

const (
	// skew is how much later than the schedule says we look, so that a clock that is set back a little does
	// not make us look too early.
	skew = 100 * time.Millisecond
	// manyMissed is from how many missed runs on something is wrong with the clock or with us.
	manyMissed = 100
)

var errNoTime = errors.New("time difference between two schedules is less than 1 second")

// parse reads a schedule in its time zone. It survives what makes the parser panic, "TZ=0" for one.
func parse(c *batchv1.CronJob) (s cron.Schedule, err error) {
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("invalid schedule format: %v", r)
		}
	}()
	text := c.Spec.Schedule
	if zone := c.Spec.TimeZone; zone != nil && !zoned(c) {
		text = fmt.Sprintf("TZ=%s %s", *zone, text)
	}
	return cron.ParseStandard(text)
}

// zoned tells that the schedule itself names a time zone, as some from before there was a field for it do.
func zoned(c *batchv1.CronJob) bool { return strings.Contains(c.Spec.Schedule, "TZ") }

// due is what a schedule says about a moment.
type due struct {
	// since is what the times are counted from: the last run, or the creation, or the starting deadline.
	since time.Time
	// last is the latest time to run at between since and the moment, zero when there is none.
	last time.Time
	// missed is roughly how many there are.
	missed int64
}

// dueAt finds the runs that the schedule asks for up to now, within the starting deadline or not.
func dueAt(c *batchv1.CronJob, s cron.Schedule, now time.Time, within bool) (due, error) {
	d := due{since: c.CreationTimestamp.Time}
	if at := c.Status.LastScheduleTime; at != nil {
		d.since = at.Time
	}
	if seconds := c.Spec.StartingDeadlineSeconds; within && seconds != nil {
		if deadline := now.Add(-time.Duration(*seconds) * time.Second); deadline.After(d.since) {
			d.since = deadline
		}
	}
	first := s.Next(d.since)
	second := s.Next(first)
	switch {
	case now.Before(first):
		return d, nil
	case now.Before(second):
		d.last, d.missed = first, 1
		return d, nil
	}
	// A schedule can be well formed and yet never come, as that of each 31st of February.
	period := second.Sub(first).Round(time.Second)
	if period < time.Second {
		return d, errNoTime
	}
	d.missed = int64(now.Sub(first).Truncate(time.Second)/period) + 1
	// Periods differ: those that surely have passed are skipped, the others are walked through.
	for t := s.Next(first.Add(time.Duration(d.missed-2) * period)); !t.IsZero() && !t.After(now); t = s.Next(t) {
		d.last = t
	}
	return d, nil
}

// untilNext is how long it is to the next run.
func untilNext(c *batchv1.CronJob, s cron.Schedule, now time.Time) time.Duration {
	d, err := dueAt(c, s, now, false)
	from := d.last
	switch {
	case err != nil || from.IsZero() && d.missed > 0:
		from = now
	case from.IsZero():
		from = d.since
	}
	next := s.Next(from)
	if next.IsZero() {
		return 0
	}
	return max(next.Add(skew).Sub(now), skew)
}

// nameAt is the name of the job of a run: the same for the same run, so that none is made twice.
func nameAt(c *batchv1.CronJob, at time.Time) string {
	return fmt.Sprintf("%s-%d", c.Name, at.Unix()/60)
}
