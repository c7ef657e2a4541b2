package converge

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/workloads/cronjob"
)

// cronWorld is a CronJob and the jobs that it has ever had.
type cronWorld struct {
	*world
	jobs map[string]types.UID
}

func newCronWorld(w *world) *cronWorld {
	c := &cronWorld{world: w, jobs: map[string]types.UID{}}
	w.kinds = []ctrlclient.ObjectList{&batchv1.CronJobList{}, &batchv1.JobList{}}
	w.setups = func(h hands) []setup {
		return []setup{&cronjob.Controller{Client: h.client, Live: h.live, Recorder: h.recorder, Clock: h.now}}
	}
	policies := []batchv1.ConcurrencyPolicy{batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent}
	spec := batchv1.CronJobSpec{
		Schedule: "*/10 * * * *", ConcurrencyPolicy: policies[w.rng.IntN(len(policies))],
		SuccessfulJobsHistoryLimit: new(int32(w.rng.IntN(3))), FailedJobsHistoryLimit: new(int32(w.rng.IntN(3))),
		JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template("cron")}},
	}
	spec.JobTemplate.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	w.must(api.Create(w.ctx, &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "tick"}, Spec: spec}))
	w.check = c.wrong
	return c
}

func (c *cronWorld) cron() *batchv1.CronJob {
	c.t.Helper()
	return c.all(&batchv1.CronJobList{})[0].(*batchv1.CronJob)
}

// unfinished are the jobs that run.
func (c *cronWorld) unfinished() []*batchv1.Job {
	c.t.Helper()
	var out []*batchv1.Job
	for _, obj := range c.all(&batchv1.JobList{}) {
		if j := obj.(*batchv1.Job); len(j.Status.Conditions) == 0 {
			out = append(out, j)
		}
	}
	return out
}

// endOne ends a job that runs, and tells whether there was one.
func (c *cronWorld) endOne() bool {
	c.t.Helper()
	jobs := c.unfinished()
	if len(jobs) == 0 {
		return false
	}
	j := jobs[c.rng.IntN(len(jobs))]
	now := metav1.NewTime(time.Now().Add(c.ahead))
	condition := func(kind batchv1.JobConditionType) {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	j.Status.StartTime = &now
	if c.rng.IntN(3) == 0 {
		condition(batchv1.JobFailureTarget)
		condition(batchv1.JobFailed)
	} else {
		condition(batchv1.JobSuccessCriteriaMet)
		condition(batchv1.JobComplete)
		j.Status.CompletionTime = &now
	}
	c.act(j, func() error { return api.Status().Update(c.ctx, j) })
	return true
}

// wrong tells of runs that were started twice, or beside another when that is forbidden.
func (c *cronWorld) wrong() string {
	c.t.Helper()
	for _, obj := range c.all(&batchv1.JobList{}) {
		if had, ok := c.jobs[obj.GetName()]; ok && had != obj.GetUID() {
			return obj.GetName() + " was started twice"
		}
		c.jobs[obj.GetName()] = obj.GetUID()
	}
	if n := len(c.unfinished()); n > 1 && c.cron().Spec.ConcurrencyPolicy != batchv1.AllowConcurrent {
		return fmt.Sprintf("%d jobs run at a time", n)
	}
	return ""
}

func TestCronJob(t *testing.T) {
	run(t, 40, func(t *testing.T, w *world) {
		c := newCronWorld(w)
		w.steps(200, func() { c.endOne() }, func() { w.ahead += time.Duration(w.rng.IntN(15)) * time.Minute })
		// One last run, undisturbed.
		w.ahead += 10 * time.Minute
		busy := 3
		w.settle(func() bool {
			busy--
			return c.endOne() || busy > 0
		})
		cron := c.cron()
		last := cron.Status.LastScheduleTime
		if last == nil || w.now().Sub(last.Time) > 11*time.Minute {
			t.Errorf("the last run was at %v, now it is %v", last, w.now())
		}
		done := map[batchv1.JobConditionType]int{}
		for _, obj := range w.all(&batchv1.JobList{}) {
			conditions := obj.(*batchv1.Job).Status.Conditions
			done[conditions[len(conditions)-1].Type]++
		}
		if s, f := int(*cron.Spec.SuccessfulJobsHistoryLimit), int(*cron.Spec.FailedJobsHistoryLimit); done[batchv1.JobComplete] > s || done[batchv1.JobFailed] > f {
			t.Errorf("kept %v, want %d and %d at most", done, s, f)
		}
		if len(cron.Status.Active) > 0 {
			t.Errorf("active are %v", cron.Status.Active)
		}
	})
}
