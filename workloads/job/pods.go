package job

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

const (
	indexVariable = "JOB_COMPLETION_INDEX"
	suffixLength  = 5
	maxNamePrefix = 63 - suffixLength
)

// newPod makes a pod of the job's template. Its name is chosen here rather than by the server, so that a
// create whose answer was lost can be looked up.
func newPod(job *batchv1.Job, s slot) *corev1.Pod {
	t := job.Spec.Template.DeepCopy()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Namespace, GenerateName: prefixOf(job, s.index),
			Labels: maps.Clone(t.Labels), Annotations: maps.Clone(t.Annotations), Finalizers: slices.Clone(t.Finalizers),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, kind)},
		},
		Spec: t.Spec,
	}
	rename(pod)
	if !tracked(pod) {
		pod.Finalizers = append(pod.Finalizers, batchv1.JobTrackingFinalizer)
	}
	if s.index != noIndex {
		giveIndex(pod, job, s)
	}
	return pod
}

func rename(pod *corev1.Pod) { pod.Name = pod.GenerateName + utilrand.String(suffixLength) }

// prefixOf is NAME- or NAME-INDEX-, where what is too long is cut out of NAME.
func prefixOf(job *batchv1.Job, index int) string {
	end := "-"
	if index != noIndex {
		end = "-" + strconv.Itoa(index) + "-"
	}
	return job.Name[:min(len(job.Name), maxNamePrefix-len(end))] + end
}

func giveIndex(pod *corev1.Pod, job *batchv1.Job, s slot) {
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	index := strconv.Itoa(s.index)
	pod.Annotations[batchv1.JobCompletionIndexAnnotation] = index
	pod.Labels[batchv1.JobCompletionIndexAnnotation] = index
	pod.Spec.Hostname = job.Name + "-" + index
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			addIndexVariable(&list[i])
		}
	}
	if job.Spec.BackoffLimitPerIndex == nil {
		return
	}
	pod.Annotations[batchv1.JobIndexFailureCountAnnotation] = strconv.Itoa(int(s.failures))
	if s.ignored > 0 {
		pod.Annotations[batchv1.JobIndexIgnoredFailureCountAnnotation] = strconv.Itoa(int(s.ignored))
	}
}

func addIndexVariable(c *corev1.Container) {
	if slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == indexVariable }) {
		return
	}
	c.Env = append(c.Env, corev1.EnvVar{Name: indexVariable, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: fmt.Sprintf("metadata.labels['%s']", batchv1.JobCompletionIndexAnnotation)},
	}})
}
