package statefulset

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/client/revision"
)

// ordinalOf is the number at the end of the pod's name, -1 when the name is not one of the set's.
func ordinalOf(set *appsv1.StatefulSet, pod string) int {
	tail, ok := strings.CutPrefix(pod, set.Name+"-")
	if !ok || tail == "" || strings.Trim(tail, "0123456789") != "" || len(tail) > 1 && tail[0] == '0' {
		return -1
	}
	n, err := strconv.ParseInt(tail, 10, 32)
	if err != nil {
		return -1
	}
	return int(n)
}

func firstOrdinal(set *appsv1.StatefulSet) int {
	if set.Spec.Ordinals == nil {
		return 0
	}
	return int(set.Spec.Ordinals.Start)
}

func size(set *appsv1.StatefulSet) int {
	if set.Spec.Replicas == nil {
		return 1
	}
	return int(*set.Spec.Replicas)
}

func inRange(set *appsv1.StatefulSet, ordinal int) bool {
	first := firstOrdinal(set)
	return ordinal >= first && ordinal < first+size(set)
}

func podName(set *appsv1.StatefulSet, ordinal int) string {
	return set.Name + "-" + strconv.Itoa(ordinal)
}

func claimName(template, pod string) string { return template + "-" + pod }

// newPod is the pod of an ordinal at a revision.
func newPod(set *appsv1.StatefulSet, r *appsv1.ControllerRevision, ordinal int) (*corev1.Pod, error) {
	t, err := revision.Template(r.Data.Raw)
	if err != nil {
		return nil, err
	}
	name := podName(set, ordinal)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: set.Namespace, Name: name, GenerateName: set.Name + "-",
			Labels: maps.Clone(t.Labels), Annotations: t.Annotations, Finalizers: t.Finalizers,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, kind)},
		},
		Spec: t.Spec,
	}
	identify(pod, ordinal)
	pod.Labels[appsv1.ControllerRevisionHashLabelKey] = r.Name
	pod.Spec.Hostname, pod.Spec.Subdomain = name, set.Spec.ServiceName
	for i := range set.Spec.VolumeClaimTemplates {
		claim := set.Spec.VolumeClaimTemplates[i].Name
		pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == claim })
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(claim, name)},
		}})
	}
	return pod, nil
}

// identify puts the labels that follow from the pod's name.
func identify(pod *corev1.Pod, ordinal int) {
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[appsv1.StatefulSetPodNameLabel] = pod.Name
	pod.Labels[appsv1.PodIndexLabel] = strconv.Itoa(ordinal)
}

func identified(pod *corev1.Pod, ordinal int) bool {
	return pod.Labels[appsv1.StatefulSetPodNameLabel] == pod.Name && pod.Labels[appsv1.PodIndexLabel] == strconv.Itoa(ordinal)
}

func revisionOf(pod *corev1.Pod) string { return pod.Labels[appsv1.ControllerRevisionHashLabelKey] }

// newClaim is a claim of a pod, before its owner references.
func newClaim(set *appsv1.StatefulSet, t *corev1.PersistentVolumeClaim, pod string) *corev1.PersistentVolumeClaim {
	claim := t.DeepCopy()
	claim.TypeMeta, claim.Status = metav1.TypeMeta{}, corev1.PersistentVolumeClaimStatus{}
	claim.Namespace, claim.Name = set.Namespace, claimName(t.Name, pod)
	if claim.Labels == nil {
		claim.Labels = map[string]string{}
	}
	if set.Spec.Selector != nil {
		maps.Copy(claim.Labels, set.Spec.Selector.MatchLabels)
	}
	return claim
}
