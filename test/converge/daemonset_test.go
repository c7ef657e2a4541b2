package converge

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/workloads/daemonset"
)

// pinnedTo is the node that a DaemonSet's pod is for.
func pinnedTo(pod *corev1.Pod) string {
	return pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
}

// pinned is what scheduler and agent do for a pod, which goes to its own node.
func (w *world) pinned(pod *corev1.Pod) bool {
	w.t.Helper()
	if pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil {
		return w.node(pod, nil)
	}
	w.act(pod, func() error {
		return api.SubResource("binding").Create(w.ctx, pod.DeepCopy(), &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: pinnedTo(pod)}})
	})
	return true
}

// Nodes come to be chosen and cease to, templates change and users delete pods: no node ever has two pods,
// and in the end each chosen one has one of the last template and no other has any.
func TestDaemonSet(t *testing.T) {
	run(t, 40, func(t *testing.T, w *world) {
		w.kinds = []ctrlclient.ObjectList{&appsv1.DaemonSetList{}, &corev1.PodList{}, &appsv1.ControllerRevisionList{}, &corev1.NodeList{}}
		w.setups = func(h hands) []setup {
			return []setup{&daemonset.Controller{Client: h.client, Live: h.live, Recorder: h.recorder, Clock: h.now}}
		}
		chosen, image := map[string]bool{}, "c:1"
		name := func(i int) string { return fmt.Sprintf("%s-%d", w.ns, i) }
		for i := range 4 {
			w.must(api.Create(w.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name(i), Labels: map[string]string{w.ns: "no"}}}))
			w.free(name(i))
		}
		set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "log"}, Spec: appsv1.DaemonSetSpec{Selector: selector("log"), Template: template("log")}}
		set.Spec.Template.Spec.NodeSelector = map[string]string{w.ns: "yes"}
		w.must(api.Create(w.ctx, set))
		choose := func() {
			node := &corev1.Node{}
			w.must(api.Get(w.ctx, ctrlclient.ObjectKey{Name: name(w.rng.IntN(4))}, node))
			node = node.DeepCopy()
			chosen[node.Name] = w.rng.IntN(3) > 0
			node.Labels[w.ns] = map[bool]string{true: "yes", false: "no"}[chosen[node.Name]]
			w.act(node, func() error { return api.Update(w.ctx, node) })
		}
		roll := func() {
			d := w.all(&appsv1.DaemonSetList{})[0].(*appsv1.DaemonSet)
			image = fmt.Sprint("c:", w.rng.IntN(3))
			d.Spec.Template.Spec.Containers[0].Image = image
			w.act(d, func() error { return api.Update(w.ctx, d) })
		}
		w.check = func() string {
			on := map[string]string{}
			for _, pod := range w.active() {
				if other := on[pinnedTo(pod)]; other != "" {
					return fmt.Sprintf("%s and %s are on %s", other, pod.Name, pinnedTo(pod))
				}
				on[pinnedTo(pod)] = pod.Name
			}
			return ""
		}
		some := func() {
			if pod := w.aPod(); pod != nil {
				w.pinned(pod)
			}
		}
		w.steps(250, some, some, choose, roll, w.kill)
		w.settle(func() bool {
			busy := false
			for _, pod := range w.pods() {
				busy = w.pinned(pod) || busy
			}
			return busy
		})
		got := map[string]string{}
		for _, pod := range w.pods() {
			got[pod.Spec.NodeName] = pod.Spec.Containers[0].Image
		}
		want := 0
		for i := range 4 {
			if has := got[name(i)]; chosen[name(i)] != (has != "") || has != "" && has != image {
				t.Errorf("%s, chosen %v, runs %q, want %q", name(i), chosen[name(i)], has, image)
			}
			if chosen[name(i)] {
				want++
			}
		}
		s := w.all(&appsv1.DaemonSetList{})[0].(*appsv1.DaemonSet).Status
		if int(s.DesiredNumberScheduled) != want || int(s.NumberAvailable) != want || int(s.UpdatedNumberScheduled) != want || s.NumberMisscheduled != 0 {
			t.Errorf("status is %+v, want %d of each", s, want)
		}
	})
}

// free takes the taint of a new node away.
func (w *world) free(name string) {
	w.t.Helper()
	node := &corev1.Node{}
	w.must(api.Get(w.ctx, ctrlclient.ObjectKey{Name: name}, node))
	node = node.DeepCopy()
	node.Spec.Taints = nil
	w.must(api.Update(w.ctx, node))
}
