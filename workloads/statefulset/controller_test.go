package statefulset

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/owner"
)

var key = types.NamespacedName{Namespace: "default", Name: "db"}

type world struct {
	*Controller
	t      *testing.T
	api    client.Client
	events *record.FakeRecorder
}

func newWorld(t *testing.T, objs ...client.Object) *world {
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objs...).WithStatusSubresource(&appsv1.StatefulSet{}, &corev1.Pod{}).
		WithIndex(&corev1.Pod{}, owner.ByController, owner.Controllers).WithIndex(&corev1.Pod{}, owner.ByOrphanhood, owner.Orphanhood).
		WithIndex(&appsv1.ControllerRevision{}, owner.ByController, owner.Controllers).
		WithIndex(&appsv1.ControllerRevision{}, owner.ByOrphanhood, owner.Orphanhood).Build()
	w := &world{t: t, api: api, events: record.NewFakeRecorder(1000)}
	w.Controller = &Controller{Client: api, Live: api, Recorder: w.events, Clock: func() time.Time { return start }}
	return w
}

func (w *world) set() *appsv1.StatefulSet {
	w.t.Helper()
	out := &appsv1.StatefulSet{}
	w.must(w.api.Get(w.t.Context(), key, out))
	return out
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// settle reconciles and makes pods ready until nothing changes.
func (w *world) settle() {
	w.t.Helper()
	for last, now := "", "-"; last != now; {
		last = now
		_, err := w.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: key})
		w.must(err)
		var pods corev1.PodList
		w.must(w.api.List(w.t.Context(), &pods))
		now = w.set().ResourceVersion
		for i := range pods.Items {
			p := &pods.Items[i]
			now += p.Name + p.ResourceVersion
			if p.Status.Phase == corev1.PodRunning {
				continue
			}
			p.Status.Phase = corev1.PodRunning
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			w.must(w.api.Status().Update(w.t.Context(), p))
		}
	}
}

func (w *world) images() []string {
	w.t.Helper()
	var pods corev1.PodList
	w.must(w.api.List(w.t.Context(), &pods))
	out := []string{}
	for _, p := range pods.Items {
		out = append(out, p.Name+" "+p.Spec.Containers[0].Image)
	}
	slices.Sort(out)
	return out
}

func TestLife(t *testing.T) {
	w := newWorld(t, sized(2, withClaim))
	w.settle()
	if diff := cmp.Diff([]string{"db-0 a:2", "db-1 a:2"}, w.images()); diff != "" {
		t.Error(diff)
	}
	first := w.set().Status
	if first.CurrentRevision != first.UpdateRevision || first.ReadyReplicas != 2 {
		t.Errorf("status is %+v", first)
	}
	set := w.set()
	set.Spec.Template.Spec.Containers[0].Image = "a:3"
	set.Spec.RevisionHistoryLimit = new(int32(10))
	w.must(w.api.Update(t.Context(), set))
	w.settle()
	if diff := cmp.Diff([]string{"db-0 a:3", "db-1 a:3"}, w.images()); diff != "" {
		t.Error(diff)
	}
	set = w.set()
	set.Spec.Template.Spec.Containers[0].Image = "a:2" // what a rollback does
	w.must(w.api.Update(t.Context(), set))
	w.settle()
	if diff := cmp.Diff([]any{[]string{"db-0 a:2", "db-1 a:2"}, first.UpdateRevision}, []any{w.images(), w.set().Status.CurrentRevision}); diff != "" {
		t.Error(diff)
	}
	var revisions appsv1.ControllerRevisionList
	w.must(w.api.List(t.Context(), &revisions))
	var claims corev1.PersistentVolumeClaimList
	w.must(w.api.List(t.Context(), &claims))
	if diff := cmp.Diff([]int{2, 2}, []int{len(revisions.Items), len(claims.Items)}); diff != "" {
		t.Error(diff)
	}
	want := []string{
		"Normal SuccessfulCreate create Claim data-db-0 Pod db-0 in StatefulSet db success",
		"Normal SuccessfulCreate create Pod db-0 in StatefulSet db successful",
	}
	if diff := cmp.Diff(want, []string{<-w.events.Events, <-w.events.Events}); diff != "" {
		t.Error(diff)
	}
}

func TestAdoptsByName(t *testing.T) {
	mine := pod(0, "2", func(p *corev1.Pod) { p.Spec.Containers = template("a:2").Spec.Containers })
	other := mine.DeepCopy()
	other.Name, other.UID = "web-0", "other"
	w := newWorld(t, sized(1, onDelete), mine, other)
	_, err := w.Reconcile(t.Context(), reconcile.Request{NamespacedName: key})
	w.must(err)
	got := map[string]bool{}
	var pods corev1.PodList
	w.must(w.api.List(t.Context(), &pods))
	for i := range pods.Items {
		got[pods.Items[i].Name] = metav1.GetControllerOf(&pods.Items[i]) != nil
	}
	if diff := cmp.Diff(map[string]bool{"db-0": true, "web-0": false}, got); diff != "" {
		t.Error(diff)
	}
}

// The garbage collector takes the revisions of a set that is being deleted; they do not come back.
func TestMakesNothingForADeletedSet(t *testing.T) {
	w := newWorld(t, sized(1, deleted, func(s *appsv1.StatefulSet) { s.Finalizers = []string{"foregroundDeletion"} }))
	_, err := w.Reconcile(t.Context(), reconcile.Request{NamespacedName: key})
	w.must(err)
	var revisions appsv1.ControllerRevisionList
	w.must(w.api.List(t.Context(), &revisions))
	if len(revisions.Items) > 0 || len(w.images()) > 0 {
		t.Errorf("there are %d revisions and pods %v", len(revisions.Items), w.images())
	}
}
