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

func TestPlanIndexed(t *testing.T) {
	done := func(text string) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			j.Status.CompletedIndexes, j.Status.Succeeded = text, int32(parseIndexes(text, 100).len())
		}
	}
	each := func(limit int32) func(*batchv1.Job) {
		return func(j *batchv1.Job) { j.Spec.BackoffLimitPerIndex, j.Spec.BackoffLimit = &limit, new(int32(1000)) }
	}
	policy := func(action batchv1.PodFailurePolicyAction) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			j.Spec.PodReplacementPolicy = new(batchv1.Failed)
			j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
				{Action: action, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: "In", Values: []int32{42}}},
			}}
		}
	}
	both := func(f ...func(*batchv1.Job)) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			for _, f := range f {
				f(j)
			}
		}
	}
	mostOne := func(j *batchv1.Job) { j.Spec.MaxFailedIndexes = new(int32(0)) }
	success := func(j *batchv1.Job) {
		j.Spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: new("0-2"), SucceededCount: new(int32(2))}}}
	}
	runPlans(t, []planTest{
		{name: "new", job: indexedJob(3, nil), want: []string{"create 0 1 2", "active 3 ready 0 terminating 0 succeeded 0 failed 0"}},
		{
			name: "what is not done or running", job: indexedJob(6, done("1,3")), pods: []*corev1.Pod{newTestPod("a", running, index(0)), newTestPod("b", succeeded, index(4))},
			want: []string{"create 2 5", "free b", "active 3 ready 0 terminating 0 succeeded 3 failed 0", `indexes "1,3,4" ""`},
		},
		{
			name: "done", job: indexedJob(3, done("0,1")), pods: []*corev1.Pod{newTestPod("a", succeeded, index(2))},
			want: append([]string{"free a", "active 0 ready 0 terminating 0 succeeded 3 failed 0", `indexes "0-2" ""`}, complete...),
		},
		{
			name: "doubled and odd indexes", job: indexedJob(2, nil), pods: []*corev1.Pod{newTestPod("a", running, index(0), ready), newTestPod("b", running, index(0)), newTestPod("c", running), newTestPod("d", running, index(2))},
			want: []string{"remove b c d", "active 1 ready 1 terminating 3 succeeded 0 failed 0"},
		},
		{
			name: "shrunk", job: indexedJob(2, done("0,3-5")), pods: []*corev1.Pod{newTestPod("a", running, index(4)), newTestPod("b", succeeded, index(3))},
			want: []string{"remove a", "free b", "active 0 ready 0 terminating 1 succeeded 1 failed 0", `indexes "0" ""`},
		},
		{
			name: "an index that failed keeps its pod", job: indexedJob(2, each(2)), pods: []*corev1.Pod{newTestPod("a", failed, index(0), failedBefore(1), ended(5*time.Second, 1)), newTestPod("b", running, index(1))},
			want: []string{"active 1 ready 0 terminating 0 succeeded 0 failed 0", `indexes "" ""`, "wake 15s"},
		},
		{
			name: "an index is tried again", job: indexedJob(2, each(2)), pods: []*corev1.Pod{newTestPod("a", failed, index(0), failedBefore(1), ended(20*time.Second, 1)), newTestPod("b", running, index(1))},
			want: []string{"create 0/2", "active 2 ready 0 terminating 0 succeeded 0 failed 0", `indexes "" ""`},
		},
		{
			name: "a pod with a successor is counted", job: indexedJob(1, each(2)), pods: []*corev1.Pod{newTestPod("a", failed, index(0), failedBefore(1)), newTestPod("b", running, index(0), failedBefore(2))},
			want: []string{"free a", "active 1 ready 0 terminating 0 succeeded 0 failed 1", `indexes "" ""`},
		},
		{
			name: "an index is spent", job: indexedJob(2, each(1)), pods: []*corev1.Pod{newTestPod("a", failed, index(0), failedBefore(1)), newTestPod("b", running, index(1))},
			want: []string{"free a", "active 1 ready 0 terminating 0 succeeded 0 failed 1", `indexes "" "0"`},
		},
		{
			name: "failed indexes", job: indexedJob(2, both(each(0), done("1"))), pods: []*corev1.Pod{newTestPod("a", failed, index(0), failedBefore(0))},
			want: append([]string{"free a", "active 0 ready 0 terminating 0 succeeded 1 failed 1", `indexes "1" "0"`}, failure("FailedIndexes")...),
		},
		{
			name: "too many failed indexes", job: indexedJob(3, both(each(0), mostOne)), pods: []*corev1.Pod{newTestPod("a", failed, index(0), failedBefore(0))},
			want: append([]string{"free a", "active 0 ready 0 terminating 0 succeeded 0 failed 1", `indexes "" "0"`}, failure("MaxFailedIndexesExceeded")...),
		},
		{
			name: "the policy spends an index", job: indexedJob(2, both(each(5), policy("FailIndex"))), pods: []*corev1.Pod{newTestPod("a", failed, index(0), ended(0, 42)), newTestPod("b", running, index(1))},
			want: []string{"free a", "active 1 ready 0 terminating 0 succeeded 0 failed 1", `indexes "" "0"`},
		},
		{
			name: "the policy fails the job", job: indexedJob(2, policy("FailJob")), pods: []*corev1.Pod{newTestPod("a", failed, index(0), ended(0, 42)), newTestPod("b", running, index(1))},
			want: []string{"stop b", "free a b", "active 0 ready 0 terminating 1 succeeded 0 failed 2", "FailureTarget=True PodFailurePolicy"},
		},
		{
			name: "the policy ignores a failure", job: indexedJob(1, policy("Ignore")), pods: []*corev1.Pod{newTestPod("a", failed, index(0), ended(time.Minute, 42))},
			want: []string{"create 0", "free a", "active 1 ready 0 terminating 0 succeeded 0 failed 0"},
		},
		{
			name: "enough successes", job: indexedJob(5, success), pods: []*corev1.Pod{newTestPod("a", succeeded, index(0)), newTestPod("b", succeeded, index(2)), newTestPod("c", running, index(3))},
			want: []string{"stop c", "free a b c", "active 0 ready 0 terminating 1 succeeded 2 failed 0", `indexes "0,2" ""`, "SuccessCriteriaMet=True SuccessPolicy"},
		},
		{
			name: "too few successes", job: indexedJob(2, success), pods: []*corev1.Pod{newTestPod("a", succeeded, index(0)), newTestPod("c", running, index(1))},
			want: []string{"free a", "active 1 ready 0 terminating 0 succeeded 1 failed 0", `indexes "0" ""`},
		},
	})
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

func TestBackoff(t *testing.T) {
	at := func(seconds ...int) []*corev1.Pod {
		var out []*corev1.Pod
		for _, s := range seconds {
			out = append(out, newTestPod("p", failed, ended(time.Duration(s)*time.Second, 1)))
		}
		return out
	}
	for _, test := range []struct {
		name              string
		before            backoff
		succeeded, failed []*corev1.Pod
		want              time.Duration
	}{
		{"nothing", backoff{}, nil, nil, 0},
		{"one", backoff{}, nil, at(4), 6 * time.Second},
		{"two", backoff{}, nil, at(9, 4), 16 * time.Second},
		{"on top of others", backoff{2, start.Add(-time.Hour)}, nil, at(4), 36 * time.Second},
		{"a success since", backoff{5, start}, at(1), at(4), 0},
		{"a success before", backoff{5, start}, at(8), at(9, 4), 6 * time.Second},
		{"at most", backoff{50, start}, nil, nil, 10 * time.Minute},
	} {
		if got := test.before.with(test.succeeded, test.failed).wait(10*time.Second, 10*time.Minute, start); got != test.want {
			t.Errorf("%s: wait is %s, want %s", test.name, got, test.want)
		}
	}
}

func TestIndexes(t *testing.T) {
	for text, want := range map[string]string{"": "", "0": "0", "0,1": "0,1", "0,1,2": "0-2", "3-4,1": "1,3,4", "1-5,7": "1-5,7", "8-20,30": "8,9", "x,2": "2"} {
		if got := parseIndexes(text, 10).String(); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	x := parseIndexes("1-3,6", 10)
	if diff := cmp.Diff([]int{0, 4, 5}, x.missing(3, 10)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{0, 4, 5, 7}, x.missing(9, 8)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if !x.has(2) || !x.has(6) || x.has(0) || x.has(4) || x.has(7) || x.len() != 4 || x.shared(parseIndexes("3-6", 10)) != 2 {
		t.Errorf("wrong answers of %s", x)
	}
}

func TestNewPod(t *testing.T) {
	j := indexedJob(3, func(j *batchv1.Job) { j.Spec.BackoffLimitPerIndex = new(int32(3)) })
	pod := newPod(j, slot{index: 2, failures: 1, ignored: 4})
	if !strings.HasPrefix(pod.Name, "pi-2-") || pod.GenerateName != "pi-2-" || pod.Spec.Hostname != "pi-2" || !tracked(pod) {
		t.Errorf("pod is %s of %s on %s with %s", pod.Name, pod.GenerateName, pod.Spec.Hostname, pod.Finalizers)
	}
	want := map[string]string{batchv1.JobCompletionIndexAnnotation: "2", batchv1.JobIndexFailureCountAnnotation: "1", batchv1.JobIndexIgnoredFailureCountAnnotation: "4"}
	if diff := cmp.Diff(want, pod.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if got := pod.Spec.Containers[0].Env[0].ValueFrom.FieldRef.FieldPath; got != "metadata.labels['batch.kubernetes.io/job-completion-index']" {
		t.Errorf("the index is taken from %s", got)
	}
	if len(j.Spec.Template.Spec.Containers[0].Env) > 0 || j.Spec.Template.Annotations != nil {
		t.Error("the template was changed")
	}
	j.Name = strings.Repeat("x", 70)
	if got := newPod(j, slot{index: 12}).Name; len(got) != 63 || !strings.Contains(got, "x-12-") {
		t.Errorf("name is %s", got)
	}
}
