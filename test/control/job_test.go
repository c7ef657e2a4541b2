package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

func jobOf(namespace, name string, phase corev1.PodPhase, change func(*batchv1.JobSpec)) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: batchv1.JobSpec{
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{exits: string(phase)}},
			Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "c:1"}}},
		},
	}}
	if change != nil {
		change(&j.Spec)
	}
	return j
}

// describe is a job's name, conditions and counts.
func describe(j *batchv1.Job) string {
	out := j.Name
	for _, c := range j.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			out += " " + string(c.Type)
		}
	}
	return fmt.Sprintf("%s %d/%d/%d", out, j.Status.Active, j.Status.Succeeded, j.Status.Failed)
}

// jobs waits until all jobs of the namespace are as described.
func (c *cluster) jobs(namespace string, wanted ...string) {
	c.t.Helper()
	until(c, &batchv1.JobList{}, namespace, func(l *batchv1.JobList) string {
		var got []string
		for i := range l.Items {
			got = append(got, describe(&l.Items[i]))
		}
		return want("jobs", strings.Join(got, ", "), strings.Join(wanted, ", "))
	})
}

// untracked waits until no pod is kept by the jobs' finalizer.
func (c *cluster) untracked(namespace string, pods int) {
	c.t.Helper()
	until(c, &corev1.PodList{}, namespace, func(l *corev1.PodList) string {
		for i := range l.Items {
			if len(l.Items[i].Finalizers) > 0 {
				return l.Items[i].Name + " has finalizers"
			}
		}
		return want("pods", len(l.Items), pods)
	})
}

func TestJobs(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.namespace("jobs")
	began := time.Now()
	indexed := func(s *batchv1.JobSpec) {
		s.CompletionMode, s.Completions, s.Parallelism = new(batchv1.IndexedCompletion), new(int32(5)), new(int32(3))
	}
	fails := func(s *batchv1.JobSpec) { s.BackoffLimit = new(int32(2)) }
	c.must(c.Create(c.ctx, jobOf("jobs", "a-one", corev1.PodSucceeded, nil)))
	c.must(c.Create(c.ctx, jobOf("jobs", "b-many", corev1.PodSucceeded, func(s *batchv1.JobSpec) { s.Completions, s.Parallelism = new(int32(7)), new(int32(3)) })))
	c.must(c.Create(c.ctx, jobOf("jobs", "c-indexed", corev1.PodSucceeded, indexed)))
	c.must(c.Create(c.ctx, jobOf("jobs", "d-fails", corev1.PodFailed, fails)))
	c.must(c.Create(c.ctx, jobOf("jobs", "e-runs", "", nil)))
	c.must(c.Create(c.ctx, jobOf("jobs", "f-suspended", "", func(s *batchv1.JobSpec) { s.Suspend = new(true) })))
	c.jobs("jobs", "a-one SuccessCriteriaMet Complete 0/1/0", "b-many SuccessCriteriaMet Complete 0/7/0", "c-indexed SuccessCriteriaMet Complete 0/5/0",
		"d-fails FailureTarget Failed 0/0/3", "e-runs 1/0/0", "f-suspended Suspended 0/0/0")
	t.Logf("they are as they should be after %s", time.Since(began))
	until(c, &corev1.PodList{}, "jobs", func(l *corev1.PodList) string { return want("pods", len(l.Items), 1+7+5+3+1) })

	suspend := []byte(`{"spec":{"suspend":true}}`)
	c.must(c.Patch(c.ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "e-runs"}}, ctrlclient.RawPatch("application/merge-patch+json", suspend)))
	for _, name := range []string{"a-one", "b-many", "c-indexed"} {
		c.must(c.Delete(c.ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: name}}, ctrlclient.PropagationPolicy(metav1.DeletePropagationBackground)))
	}
	ttl := []byte(`{"spec":{"ttlSecondsAfterFinished":0}}`)
	c.must(c.Patch(c.ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "d-fails"}}, ctrlclient.RawPatch("application/merge-patch+json", ttl)))
	c.jobs("jobs", "e-runs Suspended 0/0/0", "f-suspended Suspended 0/0/0")
	c.untracked("jobs", 0)

	resume := []byte(`{"spec":{"suspend":false}}`)
	c.must(c.Patch(c.ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "e-runs"}}, ctrlclient.RawPatch("application/merge-patch+json", resume)))
	c.jobs("jobs", "e-runs 1/0/0", "f-suspended Suspended 0/0/0")
	c.must(c.Delete(c.ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "e-runs"}}, ctrlclient.PropagationPolicy(metav1.DeletePropagationOrphan)))
	c.jobs("jobs", "f-suspended Suspended 0/0/0")
	c.untracked("jobs", 1)
}

// A Job that replaces only what has failed gets another pod for one that was deleted before it had a node, and is not in the way of its
// namespace's end.
func TestJobsWithoutNodes(t *testing.T) {
	c := start(t)
	c.namespace("nowhere")
	c.must(c.Create(c.ctx, jobOf("nowhere", "waits", corev1.PodSucceeded, func(s *batchv1.JobSpec) { s.PodReplacementPolicy = new(batchv1.Failed) })))
	var first corev1.Pod
	until(c, &corev1.PodList{}, "nowhere", func(l *corev1.PodList) string {
		if len(l.Items) == 1 {
			first = l.Items[0]
		}
		return want("pods", len(l.Items), 1)
	})
	c.must(c.Delete(c.ctx, &first))
	until(c, &corev1.PodList{}, "nowhere", func(l *corev1.PodList) string {
		if len(l.Items) == 1 && l.Items[0].UID == first.UID {
			return "the pod is still there"
		}
		return want("pods", len(l.Items), 1)
	})
	c.must(c.Delete(c.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "nowhere"}}))
	until(c, &corev1.NamespaceList{}, "", func(l *corev1.NamespaceList) string {
		for i := range l.Items {
			if l.Items[i].Name == "nowhere" {
				return "the namespace is still there"
			}
		}
		return ""
	})
}

func TestCronJobs(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.namespace("cron")
	cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "cron", Name: "tick"}, Spec: batchv1.CronJobSpec{
		Schedule: "0 0 1 1 *", SuccessfulJobsHistoryLimit: new(int32(1)),
		JobTemplate: batchv1.JobTemplateSpec{Spec: jobOf("", "", corev1.PodSucceeded, nil).Spec},
	}}
	c.must(c.Create(c.ctx, cron))
	fire := func(years int) {
		c.t.Helper()
		c.ahead.Store(int64(time.Duration(years) * 366 * 24 * time.Hour))
		poke := fmt.Sprintf(`{"metadata":{"annotations":{"poke":"%d"}}}`, years)
		c.must(c.Patch(c.ctx, cron.DeepCopy(), ctrlclient.RawPatch("application/merge-patch+json", []byte(poke))))
	}
	var last string
	for years := range 3 {
		if years == 0 {
			continue
		}
		fire(years)
		until(c, &batchv1.CronJobList{}, "cron", func(l *batchv1.CronJobList) string {
			s := l.Items[0].Status
			switch {
			case s.LastScheduleTime == nil || s.LastScheduleTime.String() == last:
				return "it has not fired"
			case s.LastSuccessfulTime == nil || len(s.Active) > 0:
				return fmt.Sprintf("it has not ended: %+v", s)
			}
			last = s.LastScheduleTime.String()
			return ""
		})
	}
	until(c, &batchv1.JobList{}, "cron", func(l *batchv1.JobList) string {
		if len(l.Items) != 1 || !strings.HasSuffix(describe(&l.Items[0]), "SuccessCriteriaMet Complete 0/1/0") {
			return fmt.Sprintf("jobs: %d", len(l.Items))
		}
		return ""
	})
	c.must(c.Delete(c.ctx, cron))
	until(c, &batchv1.JobList{}, "cron", func(l *batchv1.JobList) string { return want("jobs", len(l.Items), 0) })
	c.untracked("cron", 0)
}
