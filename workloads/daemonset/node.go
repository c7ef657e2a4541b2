package daemonset

import (
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// fitness tells for which nodes a DaemonSet's pods are.
type fitness struct {
	ds          *appsv1.DaemonSet
	affinity    nodeaffinity.RequiredNodeAffinity
	tolerations []corev1.Toleration
}

func newFitness(ds *appsv1.DaemonSet) *fitness {
	t := &ds.Spec.Template.Spec
	return &fitness{ds: ds, affinity: nodeaffinity.NewRequiredNodeAffinity(t.NodeSelector, t.Affinity), tolerations: tolerations(t)}
}

// of tells whether the node should get a pod, and whether one that it has may stay.
func (f *fitness) of(node *corev1.Node) (run, stay bool) {
	if name := f.ds.Spec.Template.Spec.NodeName; name != "" && name != node.Name {
		return false, false
	}
	if ok, err := f.affinity.Match(node); err != nil || !ok {
		return false, false
	}
	if !f.bears(node, corev1.TaintEffectNoExecute) {
		return false, false
	}
	return f.bears(node, corev1.TaintEffectNoSchedule), true
}

func (f *fitness) bears(node *corev1.Node, effect corev1.TaintEffect) bool {
	_, untolerated := corev1helpers.FindMatchingUntoleratedTaint(klog.Logger{}, node.Spec.Taints, f.tolerations,
		func(t *corev1.Taint) bool { return t.Effect == effect }, true)
	return !untolerated
}

// tolerations are the template's and those that every pod of a DaemonSet has: it belongs to its node
// whatever state that is in.
func tolerations(t *corev1.PodSpec) []corev1.Toleration {
	out := slices.Clone(t.Tolerations)
	add := func(key string, effect corev1.TaintEffect) {
		have := func(x corev1.Toleration) bool {
			return x.Key == key && x.Effect == effect && x.Operator == corev1.TolerationOpExists && x.Value == ""
		}
		if at := slices.IndexFunc(out, have); at >= 0 {
			out[at].TolerationSeconds = nil
			return
		}
		out = append(out, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: effect})
	}
	add(corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute)
	add(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)
	add(corev1.TaintNodeDiskPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodeMemoryPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodePIDPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)
	if t.HostNetwork {
		add(corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule)
	}
	return out
}

// newPod is the pod for a node; the scheduler places it there and nowhere else.
func newPod(ds *appsv1.DaemonSet, hash, node string) *corev1.Pod {
	t := ds.Spec.Template.DeepCopy()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ds.Namespace, GenerateName: ds.Name + "-",
			Labels: maps.Clone(t.Labels), Annotations: t.Annotations, Finalizers: t.Finalizers,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ds, kind)},
		},
		Spec: t.Spec,
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] = hash
	if n := ds.Annotations[appsv1.DeprecatedTemplateGeneration]; n != "" {
		pod.Labels["pod-template-generation"] = n
	}
	pod.Spec.Tolerations = tolerations(&t.Spec)
	pin(&pod.Spec, node)
	return pod
}

// pin replaces the nodes that the spec asks for by one: that they include it was checked before.
func pin(spec *corev1.PodSpec, node string) {
	if spec.Affinity == nil {
		spec.Affinity = &corev1.Affinity{}
	}
	if spec.Affinity.NodeAffinity == nil {
		spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
			Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
		}}}},
	}
}

// nodeOf is the node that the pod is on or is pinned to, "" when there is none.
func nodeOf(pod *corev1.Pod) string {
	if pod.Spec.NodeName != "" {
		return pod.Spec.NodeName
	}
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	for _, t := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range t.MatchFields {
			if f.Key == metav1.ObjectNameField && f.Operator == corev1.NodeSelectorOpIn && len(f.Values) == 1 {
				return f.Values[0]
			}
		}
	}
	return ""
}
