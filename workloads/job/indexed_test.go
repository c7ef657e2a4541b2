package job

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

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
