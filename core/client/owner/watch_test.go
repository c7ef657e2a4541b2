package owner

import (
	"context"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
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
				by   func(handler.MapFunc) Func
				want int
			}{{Enqueue, test.asked}, {EnqueueOwner, test.owner}, {EnqueueAny, 1}} {
				asked := 0
				h := enqueue.by(func(context.Context, client.Object) []reconcile.Request {
					asked++
					return []reconcile.Request{{}}
				})
				q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
				h(t.Context(), pod(test.old), pod(test.now), q)
				if asked != enqueue.want || q.Len() != min(asked, 1) {
					t.Errorf("asked %d times, want %d; %d in the queue", asked, enqueue.want, q.Len())
				}
				q.ShutDown()
			}
		})
	}
}

// Of an object that is new or has gone there is one version to ask about, whoever asks.
func TestEnqueueOneVersion(t *testing.T) {
	for name, by := range map[string]func(handler.MapFunc) Func{"Enqueue": Enqueue, "EnqueueOwner": EnqueueOwner, "EnqueueAny": EnqueueAny} {
		t.Run(name, func(t *testing.T) {
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			hear := by(func(_ context.Context, o client.Object) []reconcile.Request {
				return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(o)}}
			})
			hear(t.Context(), nil, newPod("new"), q)
			hear(t.Context(), newPod("gone"), nil, q)
			for _, want := range []string{"new", "gone"} {
				if q.Len() == 0 {
					t.Fatalf("%s is not queued", want)
				}
				if req, _ := q.Get(); req.Name != want {
					t.Errorf("queued %s, want %s", req.Name, want)
				}
			}
			if q.Len() > 0 {
				t.Errorf("queued %d more", q.Len())
			}
		})
	}
}

// adds counts what is added, which a queue does not show.
type adds struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
	items []string
}

func (a *adds) Add(req reconcile.Request) { a.items = append(a.items, req.Name) }

// What is found for both versions is queued once: a worker may be as quick as to have done it in between.
func TestEnqueueOnce(t *testing.T) {
	old, now := newPod("old"), newPod("now")
	now.Labels = map[string]string{"a": "b"}
	var q adds
	Enqueue(func(_ context.Context, o client.Object) []reconcile.Request {
		both, own := reconcile.Request{}, reconcile.Request{}
		both.Name, own.Name = "both", o.GetName()
		return []reconcile.Request{both, own, both}
	})(t.Context(), old, now, &q)
	if diff := cmp.Diff([]string{"both", "old", "now"}, q.items); diff != "" {
		t.Error(diff)
	}
}

// Every field of a reference counts, also those that the library may have one day.
func TestSameRef(t *testing.T) {
	ref := func() *metav1.OwnerReference {
		return &metav1.OwnerReference{APIVersion: "v1", Kind: "Set", Name: "a", UID: "1", Controller: new(true), BlockOwnerDeletion: new(true)}
	}
	if !sameRef(ref(), ref()) || !sameRef(nil, nil) || sameRef(ref(), nil) || sameRef(nil, ref()) {
		t.Error("references are not told apart from none")
	}
	for i := range reflect.TypeFor[metav1.OwnerReference]().NumField() {
		other := ref()
		field := reflect.ValueOf(other).Elem().Field(i)
		field.SetZero()
		if name := reflect.TypeFor[metav1.OwnerReference]().Field(i).Name; name != "Controller" && sameRef(ref(), other) { // both are controllers
			t.Errorf("references without and with %s are the same", name)
		}
	}
}

// teller is a reader that can tell whether there is nothing, and does.
type teller struct {
	client.Reader
	none bool
}

func (r teller) None(client.ObjectList, string) bool           { return r.none }
func (r teller) NoneBy(client.ObjectList, string, string) bool { return r.none }

func TestNone(t *testing.T) {
	for name, test := range map[string]struct {
		r    client.Reader
		want bool
	}{"none": {teller{none: true}, true}, "some": {teller{}, false}, "who cannot tell": {fake.NewFakeClient(), false}} {
		list := &corev1.PodList{}
		if None(test.r, list, "default") != test.want || NoneBy(test.r, list, "index", "value") != test.want {
			t.Errorf("%s: not %v", name, test.want)
		}
	}
}
