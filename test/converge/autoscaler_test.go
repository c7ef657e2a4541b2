package converge

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/controllers/horizontalpodautoscaler"
	"github.com/gantryio/gantry/workloads/deployment"
)

// shared are the figures of pods among which a load is shared; now and then nobody answers.
type shared struct {
	*world
	load *int64 // in pods' worth
}

const worth = 100

func (s shared) List(_ context.Context, out ctrlclient.ObjectList, _ ...ctrlclient.ListOption) error {
	if s.chance(8) {
		return errLost
	}
	var running []*corev1.Pod
	for _, pod := range s.active() {
		if pod.Status.Phase == corev1.PodRunning {
			running = append(running, pod)
		}
	}
	list := out.(*metricsv1beta1.PodMetricsList)
	for _, pod := range running {
		each := resource.NewQuantity(*s.load*worth/int64(len(running)), resource.BinarySI)
		list.Items = append(list.Items, metricsv1beta1.PodMetrics{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.ns, Name: pod.Name}, Timestamp: metav1.NewTime(s.now()),
			Containers: []metricsv1beta1.ContainerMetrics{{Name: "c", Usage: corev1.ResourceList{corev1.ResourceMemory: *each}}},
		})
	}
	return nil
}

func (s shared) Get(context.Context, ctrlclient.ObjectKey, ctrlclient.Object, ...ctrlclient.GetOption) error {
	return errLost
}

// The load changes, users set sizes and delete pods: the autoscaler never leaves its limits nor touches what was switched
// off, and in the end there are as many pods as the load is worth.
func TestAutoscaler(t *testing.T) {
	run(t, 40, func(t *testing.T, w *world) {
		const least, most = 1, 6
		load := int64(2)
		w.kinds = []ctrlclient.ObjectList{&appsv1.DeploymentList{}, &appsv1.ReplicaSetList{}, &corev1.PodList{}, &autoscalingv2.HorizontalPodAutoscalerList{}}
		w.setups = func(h hands) []setup {
			return []setup{replicaSets(h), &deployment.Controller{Client: h.client, Live: h.live, Recorder: h.recorder, Clock: h.now}, &horizontalpodautoscaler.Controller{
				Client: h.client, Recorder: h.recorder, Clock: h.now, Metrics: horizontalpodautoscaler.Metrics{Usage: shared{w, &load}},
				// Long enough for the world to come to rest, whose clock goes on from wake to wake.
				Settings: horizontalpodautoscaler.Settings{Sync: 2 * time.Minute, Stabilization: time.Nanosecond},
			}}
		}
		w.must(api.Create(w.ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "web"}, Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(2)), Selector: selector("web"), Template: template("web"),
		}}))
		w.must(api.Create(w.ctx, &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "web"}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    new(int32(least)), MaxReplicas: most,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceMemory, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(worth, resource.BinarySI)},
			}}},
		}}))
		size := func() int32 { return *w.all(&appsv1.DeploymentList{})[0].(*appsv1.Deployment).Spec.Replicas }
		set := int32(2) // by a user
		resize := func(n int32) {
			d := w.all(&appsv1.DeploymentList{})[0].(*appsv1.Deployment)
			set, d.Spec.Replicas = n, &n
			w.act(d, func() error { return api.Update(w.ctx, d) })
		}
		w.check = func() string {
			switch n := size(); {
			case set == 0 && n != 0:
				return fmt.Sprintf("it was switched off, and has %d", n)
			case n != set && (n < least || n > most):
				return fmt.Sprintf("it has %d, which is out of its limits", n)
			}
			return ""
		}
		w.steps(200, w.nodes, w.nodes, w.nodes, w.kill, func() { load = int64(w.rng.IntN(9)) }, func() {
			if w.rng.IntN(4) == 0 {
				resize(int32(w.rng.IntN(9)))
			}
		})
		if set == 0 {
			resize(3)
		}
		w.settle(w.allNodes)
		want := int32(min(max(load, least), most))
		if n := size(); n != want || len(w.active()) != int(want) {
			t.Errorf("it has %d and %d pods, want %d", n, len(w.active()), want)
		}
		if s := w.all(&autoscalingv2.HorizontalPodAutoscalerList{})[0].(*autoscalingv2.HorizontalPodAutoscaler).Status; s.CurrentReplicas != want || s.DesiredReplicas != want {
			t.Errorf("status is %+v, want %d", s, want)
		}
	})
}
