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

	"github.com/gantryio/gantry/workloads/job"
)

// jobWorld is a job and what truly happened to its pods.
type jobWorld struct {
	*world
	failures int // that are still to happen
	ended    map[types.UID]corev1.PodPhase
	killed   map[types.UID]bool
}

func newJobWorld(w *world, change func(*batchv1.JobSpec)) *jobWorld {
	j := &jobWorld{world: w, failures: w.rng.IntN(4), ended: map[types.UID]corev1.PodPhase{}, killed: map[types.UID]bool{}}
	w.kinds = []ctrlclient.ObjectList{&batchv1.JobList{}, &corev1.PodList{}}
	w.setups = func(h hands) []setup {
		return []setup{&job.Controller{Client: h.client, Live: h.live, Recorder: h.recorder, Clock: h.now, Backoff: time.Second}}
	}
	spec := batchv1.JobSpec{
		Completions: new(int32(w.rng.IntN(5) + 1)), Parallelism: new(int32(w.rng.IntN(4) + 1)), BackoffLimit: new(int32(100)), Template: template("job"),
	}
	spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	change(&spec)
	w.must(api.Create(w.ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "j"}, Spec: spec}))
	w.check = j.wrong
	return j
}

func (j *jobWorld) job() *batchv1.Job {
	j.t.Helper()
	return j.all(&batchv1.JobList{})[0].(*batchv1.Job)
}

// end lets some pods fail and the others succeed.
func (j *jobWorld) end(pod *corev1.Pod) corev1.PodPhase {
	if phase := j.ended[pod.UID]; phase != "" {
		return phase
	}
	phase := corev1.PodSucceeded
	if j.failures > 0 && j.rng.IntN(3) == 0 {
		j.failures--
		phase = corev1.PodFailed
	}
	j.ended[pod.UID] = phase
	return phase
}

func (j *jobWorld) node(pod *corev1.Pod) bool {
	j.t.Helper()
	if pod == nil || pod.Status.Phase == corev1.PodRunning && j.faulty && j.rng.IntN(3) > 0 {
		return false
	}
	return j.world.node(pod, j.end)
}

// kill deletes a pod as a user may.
func (j *jobWorld) kill() {
	j.t.Helper()
	active := j.active()
	if len(active) == 0 || len(j.killed) > 2 {
		return
	}
	pod := active[j.rng.IntN(len(active))]
	if pod.Status.Phase != corev1.PodRunning || j.ended[pod.UID] != "" || surplus(pod) {
		return
	}
	j.killed[pod.UID] = true
	j.act(pod, func() error { return api.Delete(j.ctx, pod.DeepCopy()) })
}

// surplus pods are on their way out, and how they fail does not count.
func surplus(pod *corev1.Pod) bool { return pod.Annotations["jobs.gantry.dev/surplus"] != "" }

func (j *jobWorld) suspend() {
	j.t.Helper()
	if j.rng.IntN(8) > 0 {
		return
	}
	now := j.job()
	now.Spec.Suspend = new(!*now.Spec.Suspend)
	j.act(now, func() error { return api.Update(j.ctx, now) })
}

// wrong tells of pods too many, or of indexes done twice.
func (j *jobWorld) wrong() string {
	j.t.Helper()
	spec := &j.job().Spec
	active := j.active()
	if len(active) > int(*spec.Parallelism) {
		return fmt.Sprintf("%d pods are active, %d may be", len(active), *spec.Parallelism)
	}
	done := 0
	taken := map[string]bool{}
	take := func(p *corev1.Pod) string {
		index := p.Annotations[batchv1.JobCompletionIndexAnnotation]
		if taken[index] && index != "" {
			return "index " + index + " is taken twice"
		}
		taken[index] = true
		return ""
	}
	for _, p := range j.pods() {
		if p.Status.Phase != corev1.PodSucceeded {
			continue
		}
		done++
		if why := take(p); why != "" {
			return why
		}
	}
	for _, p := range active {
		if why := take(p); why != "" {
			return why
		}
	}
	if done+len(active) > int(*spec.Completions) {
		return fmt.Sprintf("%d pods are active and %d have succeeded, %d are wanted", len(active), done, *spec.Completions)
	}
	return ""
}

// finish settles the job and compares its counts with what truly happened.
func (j *jobWorld) finish() {
	j.t.Helper()
	now := j.job()
	now.Spec.Suspend = new(false)
	j.act(now, func() error { return api.Update(j.ctx, now) })
	j.settle(func() bool {
		busy := false
		for _, pod := range j.pods() {
			busy = j.node(pod) || busy
		}
		return busy
	})
	now = j.job()
	failed, seen := 0, map[types.UID]bool{}
	for _, p := range j.pods() {
		seen[p.UID] = true
		if len(p.Finalizers) > 0 {
			j.t.Errorf("%s is still tracked", p.Name)
		}
		if p.Status.Phase == corev1.PodFailed && !surplus(p) {
			failed++
		}
	}
	for uid := range j.killed {
		if !seen[uid] {
			failed++
		}
	}
	s := &now.Status
	if len(s.Conditions) == 0 || s.Conditions[len(s.Conditions)-1].Type != batchv1.JobComplete {
		j.t.Fatalf("the job has not completed: %+v", s)
	}
	if s.Succeeded != *now.Spec.Completions || int(s.Failed) != failed {
		j.t.Errorf("counted %d and %d failed, truly %d and %d", s.Succeeded, s.Failed, *now.Spec.Completions, failed)
	}
}

func TestJob(t *testing.T) {
	run(t, 40, func(_ *testing.T, w *world) {
		j := newJobWorld(w, func(*batchv1.JobSpec) {})
		w.steps(150, func() { j.node(w.aPod()) }, func() { j.node(w.aPod()) }, j.kill, j.suspend)
		j.finish()
	})
}

func TestIndexedJob(t *testing.T) {
	run(t, 30, func(_ *testing.T, w *world) {
		j := newJobWorld(w, func(s *batchv1.JobSpec) {
			s.CompletionMode = new(batchv1.IndexedCompletion)
			if w.rng.IntN(2) == 0 {
				s.BackoffLimitPerIndex = new(int32(10))
			}
			if w.rng.IntN(2) == 0 {
				s.PodReplacementPolicy = new(batchv1.Failed)
			}
		})
		w.steps(150, func() { j.node(w.aPod()) }, func() { j.node(w.aPod()) }, j.suspend)
		j.finish()
	})
}
