package replicaset

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/owner"
)

// world is an API whose lists lag and whose writes fail when it is told so.
type world struct {
	client.WithWatch
	stale  map[string][]corev1.Pod // by list options
	lag    func() bool
	fail   func() error
	mu     sync.Mutex // over fail and nextID
	nextID int
}

func newWorld(objs ...client.Object) *world {
	w := &world{stale: map[string][]corev1.Pod{}, lag: func() bool { return false }, fail: func() error { return nil }}
	w.WithWatch = fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objs...).
		WithStatusSubresource(&appsv1.ReplicaSet{}, &corev1.Pod{}).
		WithIndex(&corev1.Pod{}, owner.ByController, owner.Controllers).
		WithIndex(&corev1.Pod{}, owner.ByOrphanhood, owner.Orphanhood).
		WithIndex(&appsv1.ReplicaSet{}, owner.ByController, owner.Controllers).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
				id, err := w.next()
				if err != nil {
					return err
				}
				obj.SetUID(types.UID(fmt.Sprint("pod-", id)))
				return c.Create(ctx, obj, opts...)
			},
			Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
				if _, err := w.next(); err != nil {
					return err
				}
				return c.Delete(ctx, obj, opts...)
			},
		}).Build()
	return w
}

// next numbers a write, or fails it.
func (w *world) next() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nextID++
	return w.nextID, w.fail()
}

// List shows pods as they were at the last list that did not lag.
func (w *world) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	pods, ok := list.(*corev1.PodList)
	if !ok {
		return w.WithWatch.List(ctx, list, opts...)
	}
	o := (&client.ListOptions{}).ApplyOptions(opts)
	key := o.FieldSelector.String()
	if w.lag() {
		for _, p := range w.stale[key] {
			pods.Items = append(pods.Items, *p.DeepCopy())
		}
		return nil
	}
	if err := w.WithWatch.List(ctx, pods, opts...); err != nil {
		return err
	}
	w.stale[key] = pods.DeepCopy().Items
	return nil
}

func (w *world) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	if err := w.WithWatch.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func (w *world) scale(t *testing.T, n int32) {
	t.Helper()
	rs := &appsv1.ReplicaSet{}
	if err := w.Get(t.Context(), key, rs); err != nil {
		t.Fatal(err)
	}
	rs.Spec.Replicas = &n
	if err := w.Update(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
}

var key = types.NamespacedName{Namespace: "default", Name: "web"}

// controllerOf is one process; a new one is a process that was started again.
func controllerOf(w *world) *Controller {
	return &Controller{Client: w, Live: w.WithWatch, Recorder: record.NewFakeRecorder(10000), Clock: func() time.Time { return start }}
}

// Whatever lists lag, whichever writes fail and whenever the process starts again (with caches that are
// then true): there are never more pods than wanted, and in the end exactly as many.
func TestConverges(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(sized(0))
		c := controllerOf(w)
		w.lag = func() bool { return rng.IntN(2) == 0 }
		broken := errors.New("broken")
		w.fail = func() error {
			if rng.IntN(8) == 0 {
				return broken
			}
			return nil
		}
		most := 0
		for range 40 {
			if rng.IntN(6) == 0 {
				n := rng.IntN(6)
				most = max(most, n)
				w.scale(t, int32(n))
			}
			if rng.IntN(5) == 0 {
				honest := w.lag
				w.lag = func() bool { return false }
				c = controllerOf(w)
				_, _ = c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key})
				w.lag = honest
			}
			if _, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil && !errors.Is(err, broken) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if got := len(w.pods(t)); got > most {
				t.Fatalf("seed %d: %d pods, at most %d were wanted", seed, got, most)
			}
		}
		w.lag, w.fail = func() bool { return false }, func() error { return nil }
		w.scale(t, 7)
		for range 3 {
			if _, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if got := len(w.pods(t)); got != 7 {
			t.Fatalf("seed %d: %d pods in the end, want 7", seed, got)
		}
	}
}

func TestAdoptsAndReleases(t *testing.T) {
	orphan := pod("orphan", func(p *corev1.Pod) { p.OwnerReferences = nil })
	stray := pod("stray", func(p *corev1.Pod) { p.Labels = map[string]string{"app": "other"} })
	foreign := pod("foreign", func(p *corev1.Pod) { p.OwnerReferences[0].UID = "else" })
	w := newWorld(sized(1), orphan, stray, foreign)
	c := controllerOf(w)
	if _, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
		t.Fatal(err)
	}
	owners := map[string]types.UID{}
	for _, p := range w.pods(t) {
		if ref := metav1.GetControllerOf(&p); ref != nil {
			owners[p.Name] = ref.UID
		}
	}
	want := map[string]types.UID{"orphan": "set", "foreign": "else"}
	if fmt.Sprint(owners) != fmt.Sprint(want) {
		t.Errorf("controllers are %v, want %v", owners, want)
	}
}

func TestDoesNotAdoptForADeletedSet(t *testing.T) {
	orphan := pod("orphan", func(p *corev1.Pod) { p.OwnerReferences = nil })
	w := newWorld(orphan)
	c := controllerOf(w)
	seen := newWorld(sized(1), orphan) // the cache still shows the set
	c.Client = seen
	if _, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err == nil {
		t.Error("no error")
	}
	for _, p := range seen.pods(t) {
		if metav1.GetControllerOf(&p) != nil {
			t.Errorf("%s was adopted", p.Name)
		}
	}
}

func TestReportsFailure(t *testing.T) {
	w := newWorld(sized(1))
	w.fail = func() error { return errors.New("no room") }
	c := controllerOf(w)
	_, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key})
	if err == nil {
		t.Fatal("no error")
	}
	rs := &appsv1.ReplicaSet{}
	if err := w.Get(t.Context(), key, rs); err != nil {
		t.Fatal(err)
	}
	if len(rs.Status.Conditions) != 1 || rs.Status.Conditions[0].Reason != "FailedCreate" || rs.Status.Conditions[0].Message != "no room" {
		t.Errorf("conditions are %+v", rs.Status.Conditions)
	}
	w.fail = func() error { return nil }
	if _, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
		t.Fatal(err)
	}
	if err := w.Get(t.Context(), key, rs); err != nil {
		t.Fatal(err)
	}
	if len(rs.Status.Conditions) != 0 {
		t.Errorf("conditions after a success are %+v", rs.Status.Conditions)
	}
}
