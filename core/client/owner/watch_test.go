package owner

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestEnqueue(t *testing.T) {
	yes := true
	owned := func(by string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{Name: by, Controller: &yes}}
		}
	}
	labelled := func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }
	running := func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }
	for _, test := range []struct {
		name     string
		old, now []func(*corev1.Pod)
		asked    int
		owner    int // how often EnqueueOwner asks
	}{
		{"a status", nil, []func(*corev1.Pod){running}, 1, 0},
		{"an owned one's status", []func(*corev1.Pod){owned("x")}, []func(*corev1.Pod){owned("x"), running}, 1, 1},
		{"a label", nil, []func(*corev1.Pod){labelled}, 2, 1},
		{"an owned one's label", []func(*corev1.Pod){owned("x")}, []func(*corev1.Pod){owned("x"), labelled}, 2, 1},
		{"adopted", nil, []func(*corev1.Pod){owned("x")}, 2, 1},
		{"released", []func(*corev1.Pod){owned("x")}, nil, 2, 2},
		{"another controller", []func(*corev1.Pod){owned("x")}, []func(*corev1.Pod){owned("y")}, 2, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := func(change []func(*corev1.Pod)) *corev1.Pod {
				p := &corev1.Pod{}
				for _, f := range change {
					f(p)
				}
				return p
			}
			for _, enqueue := range []struct {
				by   func(handler.MapFunc) handler.EventHandler
				want int
			}{{Enqueue, test.asked}, {EnqueueOwner, test.owner}, {EnqueueAny, 1}} {
				asked := 0
				h := enqueue.by(func(context.Context, client.Object) []reconcile.Request {
					asked++
					return []reconcile.Request{{}}
				})
				q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
				h.Update(t.Context(), event.UpdateEvent{ObjectOld: pod(test.old), ObjectNew: pod(test.now)}, q)
				if asked != enqueue.want || q.Len() != min(asked, 1) {
					t.Errorf("asked %d times, want %d; %d in the queue", asked, enqueue.want, q.Len())
				}
				q.ShutDown()
			}
		})
	}
}
