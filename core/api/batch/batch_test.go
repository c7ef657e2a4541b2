package batch

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func checkRefusals(t *testing.T, errs field.ErrorList, want ...string) {
	t.Helper()
	var got []string
	for _, err := range errs {
		got = append(got, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("refusals (-want +got):\n%s\n%v", diff, errs)
	}
}

func template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy:  corev1.RestartPolicyNever,
		InitContainers: []corev1.Container{{Name: "init", Image: "i:1"}},
		Containers:     []corev1.Container{{Name: "a", Image: "a:1"}},
	}}
}

// job is a job as it is before validation on create.
func job(change func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "pi", UID: "1234", CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))},
		Spec:       batchv1.JobSpec{Template: template()},
	}
	if change != nil {
		change(j)
	}
	defaultJob(j)
	prepareJob(j, nil)
	return j
}

func indexedJob(change func(*batchv1.Job)) *batchv1.Job {
	return job(func(j *batchv1.Job) {
		j.Spec.CompletionMode, j.Spec.Completions, j.Spec.Parallelism = new(batchv1.IndexedCompletion), new(int32(5)), new(int32(5))
		if change != nil {
			change(j)
		}
	})
}

func TestDefaultJob(t *testing.T) {
	type numbers struct {
		Completions, Parallelism, Backoff *int32
		Replacement                       batchv1.PodReplacementPolicy
	}
	of := func(j *batchv1.Job) numbers {
		return numbers{j.Spec.Completions, j.Spec.Parallelism, j.Spec.BackoffLimit, *j.Spec.PodReplacementPolicy}
	}
	for _, test := range []struct {
		name   string
		change func(*batchv1.Job)
		want   numbers
	}{
		{"nothing", nil, numbers{new(int32(1)), new(int32(1)), new(int32(6)), batchv1.TerminatingOrFailed}},
		{"a work queue", func(j *batchv1.Job) { j.Spec.Parallelism = new(int32(3)) }, numbers{nil, new(int32(3)), new(int32(6)), batchv1.TerminatingOrFailed}},
		{"completions", func(j *batchv1.Job) { j.Spec.Completions = new(int32(3)) }, numbers{new(int32(3)), new(int32(1)), new(int32(6)), batchv1.TerminatingOrFailed}},
		{"a limit for each index", func(j *batchv1.Job) { j.Spec.BackoffLimitPerIndex = new(int32(2)) }, numbers{new(int32(1)), new(int32(1)), new(int32(math.MaxInt32)), batchv1.TerminatingOrFailed}},
		{"a failure policy", func(j *batchv1.Job) { j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{} }, numbers{new(int32(1)), new(int32(1)), new(int32(6)), batchv1.Failed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, of(job(test.change))); diff != "" {
				t.Errorf("defaults (-want +got):\n%s", diff)
			}
		})
	}
	j := job(func(j *batchv1.Job) {
		j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: "DisruptionTarget"}},
		}}}
	})
	if got := j.Spec.PodFailurePolicy.Rules[0].OnPodConditions[0].Status; got != corev1.ConditionTrue {
		t.Errorf("the status of a condition's pattern is %q", got)
	}
	if j.Spec.Template.Spec.SchedulerName == "" || *j.Spec.CompletionMode != batchv1.NonIndexedCompletion || *j.Spec.Suspend || *j.Spec.ManualSelector {
		t.Errorf("missing defaults: %+v", j.Spec)
	}
}

func TestGeneratedSelector(t *testing.T) {
	generated := map[string]string{
		"job-name": "pi", "batch.kubernetes.io/job-name": "pi", "controller-uid": "1234", "batch.kubernetes.io/controller-uid": "1234",
	}
	bare := job(nil)
	for what, got := range map[string]map[string]string{"template": bare.Spec.Template.Labels, "job": bare.Labels} {
		if diff := cmp.Diff(generated, got); diff != "" {
			t.Errorf("labels of the %s (-want +got):\n%s", what, diff)
		}
	}
	if diff := cmp.Diff(map[string]string{"batch.kubernetes.io/controller-uid": "1234"}, bare.Spec.Selector.MatchLabels); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
	labelled := job(func(j *batchv1.Job) { j.Labels = map[string]string{"mine": "x"} })
	if diff := cmp.Diff(map[string]string{"mine": "x"}, labelled.Labels); diff != "" {
		t.Errorf("labels of a labelled job (-want +got):\n%s", diff)
	}
	manual := job(func(j *batchv1.Job) {
		j.Spec.ManualSelector = new(true)
		j.Spec.Selector, j.Spec.Template.Labels = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}, map[string]string{"a": "b"}
	})
	if diff := cmp.Diff(map[string]string{"a": "b"}, manual.Spec.Template.Labels); diff != "" {
		t.Errorf("labels with a manual selector (-want +got):\n%s", diff)
	}
	checkRefusals(t, validateJob(manual, nil))
}

func failureRule(rule batchv1.PodFailurePolicyRule) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{rule}}
	}
}

func exitCodes(operator batchv1.PodFailurePolicyOnExitCodesOperator, container string, values ...int32) *batchv1.PodFailurePolicyOnExitCodesRequirement {
	r := &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: operator, Values: values}
	if container != "" {
		r.ContainerName = &container
	}
	return r
}

func successRule(rule batchv1.SuccessPolicyRule) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{rule}}
	}
}

func TestValidateJob(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*batchv1.Job)
		want   []string
	}{
		{"good", nil, nil},
		{"negative numbers", func(j *batchv1.Job) {
			n := int32(-1)
			j.Spec.Parallelism, j.Spec.Completions, j.Spec.BackoffLimit, j.Spec.TTLSecondsAfterFinished = &n, &n, &n, &n
			j.Spec.ActiveDeadlineSeconds = new(int64(-1))
		}, []string{"spec.parallelism: Invalid value", "spec.completions: Invalid value", "spec.backoffLimit: Invalid value", "spec.ttlSecondsAfterFinished: Invalid value", "spec.activeDeadlineSeconds: Invalid value"}},
		{"restart policy left out", func(j *batchv1.Job) { j.Spec.Template.Spec.RestartPolicy = "" }, []string{"spec.template.spec.restartPolicy: Required value"}},
		{"odd restart policy", func(j *batchv1.Job) { j.Spec.Template.Spec.RestartPolicy = "Odd" }, []string{"spec.template.spec.restartPolicy: Unsupported value"}},
		{"restarts with a failure policy", func(j *batchv1.Job) {
			j.Spec.Template.Spec.RestartPolicy = "OnFailure"
			j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{}
		}, []string{"spec.template.spec.restartPolicy: Invalid value"}},
		{"completion mode", func(j *batchv1.Job) { j.Spec.CompletionMode = new(batchv1.CompletionMode("Odd")) }, []string{"spec.completionMode: Unsupported value"}},
		{
			"indexes without the mode", func(j *batchv1.Job) {
				j.Spec.BackoffLimitPerIndex, j.Spec.MaxFailedIndexes = new(int32(1)), new(int32(1))
			},
			[]string{"spec.backoffLimitPerIndex: Invalid value", "spec.maxFailedIndexes: Invalid value"},
		},
		{"managed by", func(j *batchv1.Job) { j.Spec.ManagedBy = new("me") }, []string{"spec.managedBy: Invalid value"}},
		{"managed by a long name", func(j *batchv1.Job) { j.Spec.ManagedBy = new("a.io/" + strings.Repeat("x", 60)) }, []string{"spec.managedBy: Too long"}},
		{"scheduling of the whole", func(j *batchv1.Job) { j.Spec.Scheduling = &batchv1.JobSchedulingConfiguration{} }, []string{"spec.scheduling: Forbidden"}},
		{"replacement policy", func(j *batchv1.Job) { j.Spec.PodReplacementPolicy = new(batchv1.PodReplacementPolicy("Odd")) }, []string{"spec.podReplacementPolicy: Unsupported value"}},
		{"replacement policy with a failure policy", func(j *batchv1.Job) {
			j.Spec.PodReplacementPolicy, j.Spec.PodFailurePolicy = new(batchv1.TerminatingOrFailed), &batchv1.PodFailurePolicy{}
		}, []string{"spec.podReplacementPolicy: Unsupported value"}},
		{"foreign labels", func(j *batchv1.Job) {
			j.Spec.Template.Labels = map[string]string{"job-name": "x", "batch.kubernetes.io/controller-uid": "y"}
		}, []string{"spec.template.metadata.labels[job-name]: Invalid value", "spec.template.metadata.labels[batch.kubernetes.io/controller-uid]: Invalid value", "spec.template.metadata.labels: Invalid value"}},
		{
			"own selector", func(j *batchv1.Job) {
				j.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
			},
			[]string{"spec.selector: Invalid value", "spec.template.metadata.labels: Invalid value"},
		},
		{"manual selector left out", func(j *batchv1.Job) { j.Spec.ManualSelector = new(true) }, []string{"spec.selector: Required value"}},
		{"success policy without indexes", successRule(batchv1.SuccessPolicyRule{SucceededCount: new(int32(1))}), []string{"spec.successPolicy: Invalid value"}},
		{"no action", failureRule(batchv1.PodFailurePolicyRule{OnExitCodes: exitCodes("In", "", 1)}), []string{"spec.podFailurePolicy.rules[0].action: Required value"}},
		{"odd action", failureRule(batchv1.PodFailurePolicyRule{Action: "Odd", OnExitCodes: exitCodes("In", "", 1)}), []string{"spec.podFailurePolicy.rules[0].action: Unsupported value"}},
		{"failed index without a limit", failureRule(batchv1.PodFailurePolicyRule{Action: "FailIndex", OnExitCodes: exitCodes("In", "init", 1)}), []string{"spec.podFailurePolicy.rules[0].action: Invalid value"}},
		{"no requirement", failureRule(batchv1.PodFailurePolicyRule{Action: "Ignore"}), []string{"spec.podFailurePolicy.rules[0]: Invalid value"}},
		{"exit codes", failureRule(batchv1.PodFailurePolicyRule{Action: "Ignore", OnExitCodes: exitCodes("In", "x", 2, 0, 2)}), []string{
			"spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value", "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value",
			"spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value", "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value",
		}},
		{"no exit codes", failureRule(batchv1.PodFailurePolicyRule{Action: "Ignore", OnExitCodes: exitCodes("", "")}), []string{
			"spec.podFailurePolicy.rules[0].onExitCodes.operator: Required value", "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value",
		}},
		{"conditions", failureRule(batchv1.PodFailurePolicyRule{Action: "Ignore", OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: "a b", Status: "x"}}}), []string{
			"spec.podFailurePolicy.rules[0].onPodConditions[0].type: Invalid value", "spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value",
		}},
	} {
		t.Run(test.name, func(t *testing.T) { checkRefusals(t, validateJob(job(test.change), nil), test.want...) })
	}
}

func TestValidateIndexedJob(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*batchv1.Job)
		want   []string
	}{
		{"good", nil, nil},
		{"no completions", func(j *batchv1.Job) { j.Spec.Completions = nil }, []string{"spec.completions: Required value"}},
		{"long name", func(j *batchv1.Job) { j.Name = strings.Repeat("x", 62) }, []string{"metadata.name: Invalid value"}},
		{"too parallel", func(j *batchv1.Job) { j.Spec.Parallelism = new(int32(100_001)) }, []string{"spec.parallelism: Invalid value"}},
		{"no limit", func(j *batchv1.Job) { j.Spec.MaxFailedIndexes = new(int32(1)) }, []string{"spec.backoffLimitPerIndex: Required value"}},
		{"more failed than there are", func(j *batchv1.Job) {
			j.Spec.BackoffLimitPerIndex, j.Spec.MaxFailedIndexes = new(int32(1)), new(int32(6))
		}, []string{"spec.maxFailedIndexes: Invalid value"}},
		{"many", func(j *batchv1.Job) {
			j.Spec.Completions, j.Spec.Parallelism, j.Spec.BackoffLimitPerIndex = new(int32(100_001)), new(int32(10_001)), new(int32(1))
		}, []string{"spec.parallelism: Invalid value", "spec.maxFailedIndexes: Required value"}},
		{"failed index", func(j *batchv1.Job) {
			j.Spec.BackoffLimitPerIndex = new(int32(1))
			failureRule(batchv1.PodFailurePolicyRule{Action: "FailIndex", OnExitCodes: exitCodes("NotIn", "a", 0, 3)})(j)
		}, nil},
		{"no rules", func(j *batchv1.Job) { j.Spec.SuccessPolicy = &batchv1.SuccessPolicy{} }, []string{"spec.successPolicy.rules: Required value"}},
		{"empty rule", successRule(batchv1.SuccessPolicyRule{}), []string{"spec.successPolicy.rules[0]: Required value"}},
		{"good rule", successRule(batchv1.SuccessPolicyRule{SucceededIndexes: new("0,2-4"), SucceededCount: new(int32(4))}), nil},
		{"bad indexes", successRule(batchv1.SuccessPolicyRule{SucceededIndexes: new("0,2-5")}), []string{"spec.successPolicy.rules[0].succeededIndexes: Invalid value"}},
		{"count above indexes", successRule(batchv1.SuccessPolicyRule{SucceededIndexes: new("0,2"), SucceededCount: new(int32(3))}), []string{"spec.successPolicy.rules[0].succeededCount: Invalid value"}},
		{"count above completions", successRule(batchv1.SuccessPolicyRule{SucceededCount: new(int32(6))}), []string{"spec.successPolicy.rules[0].succeededCount: Invalid value"}},
	} {
		t.Run(test.name, func(t *testing.T) { checkRefusals(t, validateJob(indexedJob(test.change), nil), test.want...) })
	}
}

func TestParseIndexes(t *testing.T) {
	for text, want := range map[string]string{
		"": "[] <nil>", "0,2-4,6": "[{0 0} {2 4} {6 6}] <nil>",
		"1-2-3": "[] the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
		"x":     `[] cannot convert string to integer for index: "x"`, "10": `[] too large index: "10"`,
		"3,3": "[] non-increasing order, previous: 3, current: 3", "4-2": "[] non-increasing order, previous: 4, current: 2",
	} {
		list, err := parseIndexes(text, 10)
		if got := fmt.Sprint(list, " ", err); got != want {
			t.Errorf("%q gives %s, want %s", text, got, want)
		}
	}
}

func TestValidateJobUpdate(t *testing.T) {
	suspended := func(j *batchv1.Job) { j.Spec.Suspend = new(true) }
	place := func(j *batchv1.Job) {
		j.Spec.Template.Spec.NodeSelector = map[string]string{"a": "b"}
		j.Spec.Template.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}
		j.Spec.Template.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("1")}
	}
	for _, test := range []struct {
		name     string
		old, new *batchv1.Job
		want     []string
	}{
		{"parallelism and limits", job(nil), job(func(j *batchv1.Job) {
			j.Spec.Parallelism, j.Spec.Completions, j.Spec.BackoffLimit, j.Spec.Suspend = new(int32(9)), new(int32(1)), new(int32(1)), new(true)
		}), nil},
		{"completions", job(nil), job(func(j *batchv1.Job) { j.Spec.Completions = new(int32(2)) }), []string{"spec.completions: Invalid value"}},
		{"elastic", indexedJob(nil), indexedJob(func(j *batchv1.Job) { j.Spec.Completions, j.Spec.Parallelism = new(int32(7)), new(int32(7)) }), nil},
		{"half elastic", indexedJob(nil), indexedJob(func(j *batchv1.Job) { j.Spec.Completions = new(int32(7)) }), []string{"spec.completions: Invalid value"}},
		{"frozen", job(nil), job(func(j *batchv1.Job) {
			j.Spec.ManagedBy = new("a.io/b")
			failureRule(batchv1.PodFailurePolicyRule{Action: "Ignore", OnExitCodes: exitCodes("In", "", 1)})(j)
		}), []string{"spec.managedBy: Invalid value", "spec.podFailurePolicy: Invalid value"}},
		{"placed while it runs", job(nil), job(place), []string{"spec.template: Invalid value"}},
		{"placed while suspended", job(suspended), job(func(j *batchv1.Job) { suspended(j); place(j) }), nil},
		{"another image while suspended", job(suspended), job(func(j *batchv1.Job) {
			suspended(j)
			j.Spec.Template.Spec.Containers[0].Image = "b:1"
		}), []string{"spec.template.spec: Invalid value"}},
	} {
		t.Run(test.name, func(t *testing.T) { checkRefusals(t, validateJob(test.new, test.old), test.want...) })
	}
	busy := job(suspended)
	busy.Status.Active = 1
	checkRefusals(t, validateJob(job(func(j *batchv1.Job) { suspended(j); place(j) }), busy), "spec.template: Invalid value")
}

func condition(kind batchv1.JobConditionType, status corev1.ConditionStatus) batchv1.JobCondition {
	return batchv1.JobCondition{Type: kind, Status: status}
}

func TestValidateJobStatus(t *testing.T) {
	const yes = corev1.ConditionTrue
	early, late := metav1.NewTime(time.Unix(100, 0)), metav1.NewTime(time.Unix(200, 0))
	running := batchv1.JobStatus{StartTime: &early, Active: 1}
	complete := batchv1.JobStatus{StartTime: &early, CompletionTime: &late, Succeeded: 1, Conditions: []batchv1.JobCondition{
		condition(batchv1.JobSuccessCriteriaMet, yes), condition(batchv1.JobComplete, yes),
	}}
	for _, test := range []struct {
		name     string
		old, new batchv1.JobStatus
		want     []string
	}{
		{"runs", batchv1.JobStatus{}, running, nil},
		{"completes", running, complete, nil},
		{
			"negative",
			batchv1.JobStatus{},
			batchv1.JobStatus{Active: -1, Succeeded: -1, Failed: -1, Ready: new(int32(-1)), Terminating: new(int32(-1))},
			[]string{"status.active: Invalid value", "status.succeeded: Invalid value", "status.failed: Invalid value", "status.ready: Invalid value", "status.terminating: Invalid value"},
		},
		{
			"uncounted twice", running,
			batchv1.JobStatus{StartTime: &early, UncountedTerminatedPods: &batchv1.UncountedTerminatedPods{Succeeded: []types.UID{"a", ""}, Failed: []types.UID{"a"}}},
			[]string{"status.uncountedTerminatedPods.succeeded[1]: Invalid value", "status.uncountedTerminatedPods.failed[0]: Duplicate value"},
		},
		{"completes without the criteria", running, batchv1.JobStatus{StartTime: &early, CompletionTime: &late, Conditions: complete.Conditions[1:]}, []string{"status.conditions: Invalid value"}},
		{"completes without a time", running, batchv1.JobStatus{StartTime: &early, Conditions: complete.Conditions}, []string{"status.completionTime: Required value"}},
		{
			"completes with pods", running,
			batchv1.JobStatus{
				StartTime: &early, CompletionTime: &late, Active: 1, Terminating: new(int32(1)), Conditions: complete.Conditions,
				UncountedTerminatedPods: &batchv1.UncountedTerminatedPods{Failed: []types.UID{"x"}},
			},
			[]string{"status.active: Invalid value", "status.terminating: Invalid value", "status.uncountedTerminatedPods: Invalid value"},
		},
		{"ends before it starts", running, batchv1.JobStatus{StartTime: &early, CompletionTime: new(metav1.NewTime(time.Unix(1, 0))), Conditions: complete.Conditions}, []string{"status.completionTime: Invalid value"}},
		{"fails without a target", running, batchv1.JobStatus{StartTime: &early, Conditions: []batchv1.JobCondition{condition(batchv1.JobFailed, yes)}}, []string{"status.conditions: Invalid value"}},
		{"fails", running, batchv1.JobStatus{StartTime: &early, Conditions: []batchv1.JobCondition{condition(batchv1.JobFailureTarget, yes), condition(batchv1.JobFailed, yes)}}, nil},
		{"rises from the dead", complete, running, []string{"status.conditions: Invalid value", "status.succeeded: Invalid value"}},
		{"starts anew", running, batchv1.JobStatus{StartTime: &late}, []string{"status.startTime: Invalid value"}},
		{
			"resumes",
			batchv1.JobStatus{StartTime: &early, Conditions: []batchv1.JobCondition{condition(batchv1.JobSuspended, yes)}},
			batchv1.JobStatus{StartTime: &late, Conditions: []batchv1.JobCondition{condition(batchv1.JobSuspended, "False")}},
			nil,
		},
		{"counts down", batchv1.JobStatus{StartTime: &early, Failed: 2}, batchv1.JobStatus{StartTime: &early, Failed: 1}, []string{"status.failed: Invalid value"}},
		{"more ready than active", running, batchv1.JobStatus{StartTime: &early, Active: 1, Ready: new(int32(2))}, []string{"status.ready: Invalid value"}},
		{
			"indexes without the mode", running,
			batchv1.JobStatus{StartTime: &early, CompletedIndexes: "0", FailedIndexes: new("0")},
			[]string{"status.completedIndexes: Invalid value", "status.failedIndexes: Invalid value"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			old, now := job(nil), job(nil)
			old.Status, now.Status = test.old, test.new
			checkRefusals(t, validateJobStatus(now, old), test.want...)
		})
	}
	old := indexedJob(func(j *batchv1.Job) { j.Spec.BackoffLimitPerIndex = new(int32(1)) })
	now := old.DeepCopy()
	now.Status = batchv1.JobStatus{CompletedIndexes: "0,3-9", FailedIndexes: new("1-2,4")}
	checkRefusals(t, validateJobStatus(now, old), "status.completedIndexes: Invalid value")
	now.Status.CompletedIndexes = "0,2-4"
	checkRefusals(t, validateJobStatus(now, old), "status.failedIndexes: Invalid value")
}

func TestJobColumns(t *testing.T) {
	j := job(func(j *batchv1.Job) { j.Spec.Completions = new(int32(3)) })
	j.Status.Succeeded = 1
	j.Status.StartTime, j.Status.CompletionTime = new(metav1.NewTime(time.Unix(0, 0))), new(metav1.NewTime(time.Unix(90, 0)))
	r := Jobs.Resource()
	want := []any{"pi", "Running", "1/3", "90s", "60m", "a", "a:1", "batch.kubernetes.io/controller-uid=1234"}
	if diff := cmp.Diff(want, r.Cells(j)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	if got := r.Fields["status.successful"](j); got != "1" {
		t.Errorf("status.successful is %q", got)
	}
	for kind, want := range map[batchv1.JobConditionType]string{"Complete": "Complete", "Failed": "Failed", "Suspended": "Suspended", "FailureTarget": "FailureTarget", "SuccessCriteriaMet": "SuccessCriteriaMet"} {
		j.Status.Conditions = []batchv1.JobCondition{condition(kind, corev1.ConditionTrue)}
		if got := statusText(j); got != want {
			t.Errorf("with %s the status is %s", kind, got)
		}
	}
	queue := job(func(j *batchv1.Job) { j.Spec.Parallelism = new(int32(4)) })
	if got := completionsText(queue); got != "0/1 of 4" {
		t.Errorf("completions of a work queue are %s", got)
	}
}
