package converge

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/workloads/deployment"
	"github.com/gantryio/gantry/workloads/replicaset"
	"github.com/gantryio/gantry/workloads/statefulset"
)

func selector(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

func replicaSets(h hands) setup {
	return &replicaset.Controller{Client: h.client, Live: h.live, Recorder: h.recorder, Clock: h.now}
}

// nodes lets a pod by chance go on.
func (w *world) nodes() {
	w.t.Helper()
	if pod := w.aPod(); pod != nil {
		w.node(pod, nil)
	}
}

func (w *world) allNodes() bool {
	w.t.Helper()
	busy := false
	for _, pod := range w.pods() {
		busy = w.node(pod, nil) || busy
	}
	return busy
}

// kill deletes a pod as a user may.
func (w *world) kill() {
	w.t.Helper()
	active := w.active()
	if len(active) == 0 || w.rng.IntN(3) > 0 {
		return
	}
	pod := active[w.rng.IntN(len(active))]
	w.act(pod, func() error { return api.Delete(w.ctx, pod.DeepCopy()) })
}

func TestReplicaSet(t *testing.T) {
	run(t, 40, func(t *testing.T, w *world) {
		w.kinds = []ctrlclient.ObjectList{&appsv1.ReplicaSetList{}, &corev1.PodList{}}
		w.setups = func(h hands) []setup { return []setup{replicaSets(h)} }
		most, want := 0, 0
		w.must(api.Create(w.ctx, &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "web"}, Spec: appsv1.ReplicaSetSpec{
			Replicas: new(int32(0)), Selector: selector("web"), Template: template("web"),
		}}))
		scale := func() {
			rs := w.all(&appsv1.ReplicaSetList{})[0].(*appsv1.ReplicaSet)
			want = w.rng.IntN(6)
			most = max(most, want)
			rs.Spec.Replicas = new(int32(want))
			w.act(rs, func() error { return api.Update(w.ctx, rs) })
		}
		w.check = func() string {
			if n := len(w.active()); n > most {
				return fmt.Sprintf("%d pods, %d were wanted at most", n, most)
			}
			return ""
		}
		w.steps(150, w.nodes, w.nodes, w.kill, scale)
		w.settle(w.allNodes)
		if n := len(w.active()); n != want || len(w.pods()) != n {
			t.Errorf("%d pods, want %d", n, want)
		}
		if s := w.all(&appsv1.ReplicaSetList{})[0].(*appsv1.ReplicaSet).Status; int(s.Replicas) != want || int(s.ReadyReplicas) != want {
			t.Errorf("status is %+v, want %d", s, want)
		}
	})
}

func TestDeployment(t *testing.T) {
	run(t, 40, func(t *testing.T, w *world) {
		w.kinds = []ctrlclient.ObjectList{&appsv1.DeploymentList{}, &appsv1.ReplicaSetList{}, &corev1.PodList{}}
		w.setups = func(h hands) []setup {
			return []setup{replicaSets(h), &deployment.Controller{Client: h.client, Live: h.live, Recorder: h.recorder, Clock: h.now}}
		}
		const replicas, surge, unavailable = 4, 1, 1
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "web"}, Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(replicas)), Selector: selector("web"), Template: template("web"),
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxSurge: new(intstr.FromInt32(surge)), MaxUnavailable: new(intstr.FromInt32(unavailable)),
			}},
		}}
		w.must(api.Create(w.ctx, d))
		image := "c:1"
		roll := func() {
			if w.rng.IntN(6) > 0 {
				return
			}
			d := w.all(&appsv1.DeploymentList{})[0].(*appsv1.Deployment)
			image = fmt.Sprint("c:", w.rng.IntN(4))
			d.Spec.Template.Spec.Containers[0].Image = image
			w.act(d, func() error { return api.Update(w.ctx, d) })
		}
		w.check = func() string {
			wanted, templates := int32(0), map[string]string{}
			for _, obj := range w.all(&appsv1.ReplicaSetList{}) {
				rs := obj.(*appsv1.ReplicaSet)
				if wanted += *rs.Spec.Replicas; wanted > replicas+surge {
					return fmt.Sprintf("%d pods are wanted, %d may be", wanted, replicas+surge)
				}
				if other := templates[rs.Spec.Template.Spec.Containers[0].Image]; other != "" {
					return other + " and " + rs.Name + " have the same template"
				}
				templates[rs.Spec.Template.Spec.Containers[0].Image] = rs.Name
			}
			return ""
		}
		w.steps(250, w.nodes, w.nodes, roll)
		w.settle(w.allNodes)
		for _, pod := range w.pods() {
			if got := pod.Spec.Containers[0].Image; got != image {
				t.Errorf("%s runs %s, want %s", pod.Name, got, image)
			}
		}
		s := w.all(&appsv1.DeploymentList{})[0].(*appsv1.Deployment).Status
		if n := len(w.pods()); n != replicas || s.Replicas != replicas || s.AvailableReplicas != replicas || s.UpdatedReplicas != replicas {
			t.Errorf("%d pods and status %+v, want %d", n, s, replicas)
		}
	})
}

func TestStatefulSet(t *testing.T) {
	run(t, 40, func(t *testing.T, w *world) {
		w.kinds = []ctrlclient.ObjectList{&appsv1.StatefulSetList{}, &corev1.PodList{}, &appsv1.ControllerRevisionList{}, &corev1.PersistentVolumeClaimList{}}
		w.setups = func(h hands) []setup {
			return []setup{&statefulset.Controller{Client: h.client, Live: h.live, Recorder: h.recorder, Clock: h.now}}
		}
		want, image := w.rng.IntN(4)+1, "c:1"
		w.must(api.Create(w.ctx, &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "db"}, Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(want)), Selector: selector("db"), Template: template("db"),
		}}))
		change := func() {
			if w.rng.IntN(5) > 0 {
				return
			}
			s := w.all(&appsv1.StatefulSetList{})[0].(*appsv1.StatefulSet)
			want, image = w.rng.IntN(4), fmt.Sprint("c:", w.rng.IntN(3))
			s.Spec.Replicas = new(int32(want))
			s.Spec.Template.Spec.Containers[0].Image = image
			w.act(s, func() error { return api.Update(w.ctx, s) })
		}
		w.check = func() string {
			for i, pod := range w.pods() {
				if i > 4 || !slices.Contains([]string{"db-0", "db-1", "db-2", "db-3"}, pod.Name) {
					return "there is " + pod.Name
				}
			}
			return ""
		}
		w.steps(250, w.nodes, w.nodes, w.kill, change)
		w.settle(w.allNodes)
		pods := w.pods()
		for i, pod := range pods {
			if pod.Name != fmt.Sprint("db-", i) || pod.Spec.Containers[0].Image != image {
				t.Errorf("pod %d is %s of %s, want %s", i, pod.Name, pod.Spec.Containers[0].Image, image)
			}
		}
		if len(pods) != want {
			t.Errorf("%d pods, want %d", len(pods), want)
		}
	})
}
