package converge

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

// pods are the true ones.
func (w *world) pods() []*corev1.Pod {
	w.t.Helper()
	var out []*corev1.Pod
	for _, obj := range w.all(&corev1.PodList{}) {
		out = append(out, obj.(*corev1.Pod))
	}
	return out
}

// active are the pods that run or will.
func (w *world) active() []*corev1.Pod {
	w.t.Helper()
	var out []*corev1.Pod
	for _, p := range w.pods() {
		if p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			out = append(out, p)
		}
	}
	return out
}

// node does the next thing that a scheduler and an agent do for a pod, and tells whether there was one.
// ends says how a running pod ends, "" when it goes on.
func (w *world) node(pod *corev1.Pod, ends func(*corev1.Pod) corev1.PodPhase) bool {
	w.t.Helper()
	switch {
	case pod.DeletionTimestamp != nil:
		if pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds == 0 {
			return false // the API has it go, or finalizers keep it
		}
		w.act(pod, func() error { return api.Delete(w.ctx, pod.DeepCopy(), ctrlclient.GracePeriodSeconds(0)) })
	case pod.Spec.NodeName == "":
		w.act(pod, func() error {
			return api.SubResource("binding").Create(w.ctx, pod.DeepCopy(), &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}})
		})
	case pod.Status.Phase == corev1.PodPending:
		w.phase(pod, corev1.PodRunning)
	case pod.Status.Phase == corev1.PodRunning && ends != nil && ends(pod) != "":
		w.phase(pod, ends(pod))
	default:
		return false
	}
	return true
}

func (w *world) phase(pod *corev1.Pod, phase corev1.PodPhase) {
	w.t.Helper()
	now := pod.DeepCopy()
	now.Status.Phase = phase
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(w.now())}
	if phase == corev1.PodRunning {
		ready.Status = corev1.ConditionTrue
	}
	now.Status.Conditions = []corev1.PodCondition{ready}
	w.act(now, func() error { return api.Status().Update(w.ctx, now) })
}

// aPod is a true pod by chance, nil when there is none.
func (w *world) aPod() *corev1.Pod {
	w.t.Helper()
	pods := w.pods()
	if len(pods) == 0 {
		return nil
	}
	return pods[w.rng.IntN(len(pods))]
}

func template(app string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c:1"}}},
	}
}
