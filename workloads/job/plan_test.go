package job

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var start = time.Unix(1_000_000, 0)

func newJob(change func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pi", UID: "job"},
		Spec: batchv1.JobSpec{
			Parallelism: new(int32(1)), Completions: new(int32(1)), BackoffLimit: new(int32(6)),
			CompletionMode: new(batchv1.NonIndexedCompletion), PodReplacementPolicy: new(batchv1.TerminatingOrFailed),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"job": "pi"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"job": "pi"}},
				Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "c:1"}}},
			},
		},
		Status: batchv1.JobStatus{StartTime: new(metav1.NewTime(start.Add(-time.Minute)))},
	}
	if change != nil {
		change(j)
	}
	return j
}

func indexedJob(n int32, change func(*batchv1.Job)) *batchv1.Job {
	return newJob(func(j *batchv1.Job) {
		j.Spec.CompletionMode, j.Spec.Completions, j.Spec.Parallelism = new(batchv1.IndexedCompletion), &n, new(n)
		if change != nil {
			change(j)
		}
	})
}

type change func(*corev1.Pod)

func newTestPod(name string, phase corev1.PodPhase, changes ...change) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID(name), Finalizers: []string{batchv1.JobTrackingFinalizer},
			Labels: map[string]string{"job": "pi"}, CreationTimestamp: metav1.NewTime(start.Add(-time.Minute)),
		},
		Status: corev1.PodStatus{Phase: phase},
	}
	for _, c := range changes {
		c(p)
	}
	return p
}

func index(n int) change {
	return func(p *corev1.Pod) {
		p.Annotations = map[string]string{batchv1.JobCompletionIndexAnnotation: strconv.Itoa(n)}
	}
}

func failedBefore(n int) change {
	return func(p *corev1.Pod) { p.Annotations[batchv1.JobIndexFailureCountAnnotation] = strconv.Itoa(n) }
}

func ended(ago time.Duration, code int32) change {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.NewTime(start.Add(-ago))},
		}}}
	}
}

func marked(p *corev1.Pod)  { p.Annotations = map[string]string{surplusAnnotation: "true"} }
func dying(p *corev1.Pod)   { p.DeletionTimestamp = new(metav1.NewTime(start)) }
func counted(p *corev1.Pod) { p.Finalizers = nil }
func ready(p *corev1.Pod) {
	p.Spec.NodeName = "n"
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
}

func restarted(n int32) change {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", RestartCount: n}}
	}
}

// summary is a plan in one line a part.
func summary(p plan) []string {
	var out []string
	add := func(what string, names ...string) {
		if len(names) > 0 {
			slices.Sort(names)
			out = append(out, what+" "+strings.Join(names, " "))
		}
	}
	names := func(pods []*corev1.Pod) []string {
		var out []string
		for _, p := range pods {
			out = append(out, p.Name)
		}
		return out
	}
	add("stop", names(p.stop)...)
	add("remove", names(p.remove)...)
	var create []string
	for _, s := range p.create {
		create = append(create, strings.TrimSuffix(fmt.Sprintf("%d/%d", s.index, s.failures), "/0"))
	}
	add("create", create...)
	add("free", names(p.free)...)
	s := p.settle(uids(p.free))
	out = append(out, fmt.Sprintf("active %d ready %d terminating %d succeeded %d failed %d", s.Active, *s.Ready, *s.Terminating, s.Succeeded, s.Failed))
	if s.CompletedIndexes != "" || s.FailedIndexes != nil {
		out = append(out, fmt.Sprintf("indexes %q %q", s.CompletedIndexes, deref(s.FailedIndexes)))
	}
	for _, c := range s.Conditions {
		out = append(out, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
	}
	if p.wakeAfter != 0 {
		out = append(out, fmt.Sprint("wake ", p.wakeAfter))
	}
	return out
}

func uids(pods []*corev1.Pod) []types.UID {
	var out []types.UID
	for _, p := range pods {
		out = append(out, p.UID)
	}
	return out
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

type planTest struct {
	name    string
	job     *batchv1.Job
	pods    []*corev1.Pod
	backoff backoff
	want    []string
}

func runPlans(t *testing.T, tests []planTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := decide(view{job: test.job, pods: test.pods, backoff: test.backoff, base: 10 * time.Second, most: 10 * time.Minute, now: start})
			if diff := cmp.Diff(test.want, summary(p)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

const (
	running   = corev1.PodRunning
	unstarted = corev1.PodPending
	succeeded = corev1.PodSucceeded
	failed    = corev1.PodFailed
)

var complete = []string{"SuccessCriteriaMet=True CompletionsReached", "Complete=True CompletionsReached"}

func failure(reason string) []string {
	return []string{"FailureTarget=True " + reason, "Failed=True " + reason}
}

func join(head string, tail ...string) []string { return append([]string{head}, tail...) }

func TestPlan(t *testing.T) {
	many := func(completions, parallelism int32) *batchv1.Job {
		return newJob(func(j *batchv1.Job) { j.Spec.Completions, j.Spec.Parallelism = &completions, &parallelism })
	}
	queue := newJob(func(j *batchv1.Job) { j.Spec.Completions, j.Spec.Parallelism = nil, new(int32(2)) })
	onlyFailed := newJob(func(j *batchv1.Job) { j.Spec.PodReplacementPolicy = new(batchv1.Failed) })
	deleted := newJob(func(j *batchv1.Job) { j.DeletionTimestamp = new(metav1.NewTime(start)) })
	onFailure := newJob(func(j *batchv1.Job) {
		j.Spec.Template.Spec.RestartPolicy, j.Spec.BackoffLimit = corev1.RestartPolicyOnFailure, new(int32(3))
	})
	limit := newJob(func(j *batchv1.Job) { j.Spec.BackoffLimit = new(int32(0)) })
	deadline := func(seconds int64) *batchv1.Job {
		return newJob(func(j *batchv1.Job) { j.Spec.ActiveDeadlineSeconds = &seconds })
	}
	named := newJob(func(j *batchv1.Job) {
		j.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{Succeeded: []types.UID{"gone"}, Failed: []types.UID{"there"}}
	})
	runPlans(t, []planTest{
		{name: "a new job", job: newJob(nil), want: []string{"create -1", "active 1 ready 0 terminating 0 succeeded 0 failed 0"}},
		{name: "as many as are parallel", job: many(5, 2), want: []string{"create -1 -1", "active 2 ready 0 terminating 0 succeeded 0 failed 0"}},
		{
			name: "no more than are left", job: many(2, 5), pods: []*corev1.Pod{newTestPod("a", succeeded)},
			want: []string{"create -1", "free a", "active 1 ready 0 terminating 0 succeeded 1 failed 0"},
		},
		{
			name: "too many", job: many(5, 1), pods: []*corev1.Pod{newTestPod("a", running, ready), newTestPod("b", unstarted)},
			want: []string{"remove b", "active 1 ready 1 terminating 1 succeeded 0 failed 0"},
		},
		{
			name: "done", job: newJob(nil), pods: []*corev1.Pod{newTestPod("a", succeeded)},
			want: append([]string{"free a", "active 0 ready 0 terminating 0 succeeded 1 failed 0"}, complete...),
		},
		{
			name: "done, but for a pod that is being deleted", job: newJob(nil), pods: []*corev1.Pod{newTestPod("a", succeeded), newTestPod("b", running, dying)},
			want: []string{"free a b", "active 0 ready 0 terminating 1 succeeded 1 failed 1", complete[0]},
		},
		{
			name: "counted before", job: named, pods: []*corev1.Pod{newTestPod("gone", succeeded, counted), newTestPod("there", failed)},
			want: append([]string{"free there", "active 0 ready 0 terminating 0 succeeded 1 failed 1"}, complete...),
		},
		{
			name: "a work queue", job: queue, pods: []*corev1.Pod{newTestPod("a", succeeded), newTestPod("b", running)},
			want: []string{"free a", "active 1 ready 0 terminating 0 succeeded 1 failed 0"},
		},
		{
			name: "a work queue that is done", job: queue, pods: []*corev1.Pod{newTestPod("a", succeeded), newTestPod("b", failed)},
			want: append([]string{"free a b", "active 0 ready 0 terminating 0 succeeded 1 failed 1"}, complete...),
		},
		{
			name: "a failure waits", job: newJob(nil), pods: []*corev1.Pod{newTestPod("a", failed, ended(4*time.Second, 1))},
			want: []string{"free a", "active 0 ready 0 terminating 0 succeeded 0 failed 1", "wake 6s"},
		},
		{
			name: "a second failure waits longer", job: newJob(nil), pods: []*corev1.Pod{newTestPod("a", failed, ended(4*time.Second, 1))}, backoff: backoff{1, start.Add(-time.Minute)},
			want: []string{"free a", "active 0 ready 0 terminating 0 succeeded 0 failed 1", "wake 16s"},
		},
		{
			name: "the wait is over", job: newJob(nil), pods: []*corev1.Pod{newTestPod("a", failed, ended(10*time.Second, 1))},
			want: []string{"create -1", "free a", "active 1 ready 0 terminating 0 succeeded 0 failed 1"},
		},
		{
			name: "too many failures", job: limit, pods: []*corev1.Pod{newTestPod("a", failed), newTestPod("b", running, ready)},
			want: append([]string{"stop b", "free a b", "active 0 ready 0 terminating 1 succeeded 0 failed 2"}, failure("BackoffLimitExceeded")[0]),
		},
		{
			name: "too many failures and no pods", job: limit, pods: []*corev1.Pod{newTestPod("a", failed)},
			want: append([]string{"free a", "active 0 ready 0 terminating 0 succeeded 0 failed 1"}, failure("BackoffLimitExceeded")...),
		},
		{
			name: "too many restarts", job: onFailure, pods: []*corev1.Pod{newTestPod("a", running, restarted(3))},
			want: append([]string{"stop a", "free a", "active 0 ready 0 terminating 1 succeeded 0 failed 1"}, failure("BackoffLimitExceeded")[0]),
		},
		{name: "few restarts", job: onFailure, pods: []*corev1.Pod{newTestPod("a", running, restarted(2))}, want: []string{"active 1 ready 0 terminating 0 succeeded 0 failed 0"}},
		{name: "before the deadline", job: deadline(70), pods: []*corev1.Pod{newTestPod("a", running)}, want: []string{"active 1 ready 0 terminating 0 succeeded 0 failed 0", "wake 10s"}},
		{
			name: "after the deadline", job: deadline(60), pods: []*corev1.Pod{newTestPod("a", running)},
			want: append([]string{"stop a", "free a", "active 0 ready 0 terminating 1 succeeded 0 failed 1"}, failure("DeadlineExceeded")[0]),
		},
		{
			name: "a pod that is being deleted is replaced", job: newJob(nil), pods: []*corev1.Pod{newTestPod("a", running, dying)}, backoff: backoff{},
			want: []string{"free a", "active 0 ready 0 terminating 1 succeeded 0 failed 1", "wake 10s"},
		},
		{
			name: "a pod that is being deleted is waited for", job: onlyFailed, pods: []*corev1.Pod{newTestPod("a", running, dying)},
			want: join("active 0 ready 0 terminating 1 succeeded 0 failed 0"),
		},
		{name: "a job that is being deleted", job: deleted, pods: []*corev1.Pod{newTestPod("a", running)}, want: []string{"free a", "active 1 ready 0 terminating 0 succeeded 0 failed 0"}},
	})
}

func TestPlanSurplus(t *testing.T) {
	runPlans(t, []planTest{
		{
			name: "one that a crash has left", job: newJob(nil), pods: []*corev1.Pod{newTestPod("a", running, marked)},
			want: []string{"remove a", "active 0 ready 0 terminating 1 succeeded 0 failed 0"},
		},
		{
			name: "one that ends", job: newJob(nil), pods: []*corev1.Pod{newTestPod("a", running, marked, dying)},
			want: []string{"create -1", "free a", "active 1 ready 0 terminating 1 succeeded 0 failed 0"},
		},
		{
			name: "one that failed", job: newJob(nil), pods: []*corev1.Pod{newTestPod("a", failed, marked, dying)},
			want: []string{"create -1", "free a", "active 1 ready 0 terminating 0 succeeded 0 failed 0"},
		},
		{
			name: "one that succeeded after all", job: newJob(nil), pods: []*corev1.Pod{newTestPod("a", succeeded, marked, dying)},
			want: append([]string{"free a", "active 0 ready 0 terminating 0 succeeded 1 failed 0"}, complete...),
		},
	})
}

func TestPlanSuspension(t *testing.T) {
	suspend := func(j *batchv1.Job) { j.Spec.Suspend = new(true) }
	resumed := newJob(func(j *batchv1.Job) {
		j.Status.StartTime = nil
		j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue, Reason: "JobSuspended"}}
	})
	runPlans(t, []planTest{
		{
			name: "suspended", job: newJob(suspend), pods: []*corev1.Pod{newTestPod("a", running, ready)},
			want: []string{"remove a", "active 0 ready 0 terminating 1 succeeded 0 failed 0", "Suspended=True JobSuspended"},
		},
		{name: "resumed", job: resumed, want: []string{"create -1", "active 1 ready 0 terminating 0 succeeded 0 failed 0", "Suspended=False JobResumed"}},
	})
	at := func(j *batchv1.Job) *metav1.Time {
		return decide(view{job: j, now: start.Add(time.Millisecond)}).status.StartTime
	}
	if got := at(newJob(suspend)); got != nil {
		t.Errorf("a suspended job started at %s", got)
	}
	if got := at(resumed); got == nil || !got.Time.Equal(start) {
		t.Errorf("a resumed job started at %s, want %s", got, start)
	}
}

// Nothing is counted twice whatever part of a plan was carried out.
func TestCountsOnce(t *testing.T) {
	j := newJob(func(j *batchv1.Job) { j.Spec.Completions = new(int32(9)) })
	pods := []*corev1.Pod{newTestPod("a", succeeded), newTestPod("b", failed), newTestPod("c", succeeded)}
	first := decide(view{job: j, pods: pods, now: start})
	j.Status = first.status // written; then the process died having freed one pod
	pods[0].Finalizers = nil
	second := decide(view{job: j, pods: pods, now: start})
	if diff := cmp.Diff([]types.UID{"c"}, second.status.UncountedTerminatedPods.Succeeded); diff != "" {
		t.Errorf("uncounted (-want +got):\n%s", diff)
	}
	s := second.settle([]types.UID{"b", "c"})
	if s.Succeeded != 2 || s.Failed != 1 {
		t.Errorf("counted %d and %d, want 2 and 1", s.Succeeded, s.Failed)
	}
}
