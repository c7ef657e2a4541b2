package job

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// verdict is what a job's pod failure policy makes of a failed pod (KEP-3329).
type verdict struct {
	action batchv1.PodFailurePolicyAction
	// why is the message of a job that fails for it.
	why string
}

// counts tells that the failure counts towards the limits.
func (v verdict) counts() bool { return v.action != batchv1.PodFailurePolicyActionIgnore }

// judge returns the verdict of the first rule that matches. A pod that none matches counts.
func judge(policy *batchv1.PodFailurePolicy, pod *corev1.Pod) verdict {
	if policy == nil {
		return verdict{}
	}
	for i := range policy.Rules {
		rule := &policy.Rules[i]
		if c := exitedAs(pod, rule.OnExitCodes); c != nil {
			return verdict{rule.Action, fmt.Sprintf("Container %s for pod %s/%s failed with exit code %d matching %s rule at index %d",
				c.Name, pod.Namespace, pod.Name, c.State.Terminated.ExitCode, rule.Action, i)}
		}
		if rule.OnExitCodes != nil {
			continue
		}
		if c := conditionOf(pod, rule.OnPodConditions); c != nil {
			return verdict{rule.Action, fmt.Sprintf("Pod %s/%s has condition %s matching %s rule at index %d", pod.Namespace, pod.Name, c.Type, rule.Action, i)}
		}
	}
	return verdict{}
}

func exitedAs(pod *corev1.Pod, want *batchv1.PodFailurePolicyOnExitCodesRequirement) *corev1.ContainerStatus {
	if want == nil {
		return nil
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range list {
			end := list[i].State.Terminated
			if end == nil || end.ExitCode == 0 || want.ContainerName != nil && *want.ContainerName != list[i].Name {
				continue
			}
			if slices.Contains(want.Values, end.ExitCode) == (want.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
				return &list[i]
			}
		}
	}
	return nil
}

func conditionOf(pod *corev1.Pod, want []batchv1.PodFailurePolicyOnPodConditionsPattern) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if slices.Contains(want, batchv1.PodFailurePolicyOnPodConditionsPattern{Type: c.Type, Status: c.Status}) {
			return c
		}
	}
	return nil
}

// succeeds tells by which rule of the success policy these indexes are enough (KEP-3998).
func succeeds(policy *batchv1.SuccessPolicy, done indexes, completions int) (string, bool) {
	if policy == nil || len(done) == 0 {
		return "", false
	}
	for i, rule := range policy.Rules {
		if enough(&rule, done, completions) {
			return fmt.Sprintf("Matched rules at index %d", i), true
		}
	}
	return "", false
}

func enough(rule *batchv1.SuccessPolicyRule, done indexes, completions int) bool {
	if rule.SucceededIndexes == nil {
		return rule.SucceededCount != nil && done.len() >= int(*rule.SucceededCount)
	}
	wanted := parseIndexes(*rule.SucceededIndexes, completions)
	if len(wanted) == 0 {
		return false
	}
	have := wanted.shared(done)
	return have == wanted.len() || rule.SucceededCount != nil && have >= int(*rule.SucceededCount)
}
