package daemonset

import (
	"context"
	"fmt"
	"slices"
	"sync"
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
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/owner"
)

// A set is rolled from one template to the next and back, with pods that are ready at once.
func TestLife(t *testing.T) {
	var mu sync.Mutex
	uids := 0
	key := types.NamespacedName{Namespace: "default", Name: "log"}
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(set(), node("a"), node("b")).
		WithStatusSubresource(&appsv1.DaemonSet{}, &corev1.Pod{}).
		WithIndex(&corev1.Pod{}, owner.ByController, owner.Controllers).WithIndex(&corev1.Pod{}, owner.ByOrphanhood, owner.Orphanhood).
		WithIndex(&appsv1.ControllerRevision{}, owner.ByController, owner.Controllers).
		WithIndex(&appsv1.ControllerRevision{}, owner.ByOrphanhood, owner.Orphanhood).
		WithInterceptorFuncs(interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			mu.Lock()
			defer mu.Unlock()
			uids++
			obj.SetUID(types.UID(fmt.Sprint(uids)))
			return c.Create(ctx, obj, opts...)
		}}).Build()
	c := &Controller{Client: api, Live: api, Recorder: record.NewFakeRecorder(1000), Clock: func() time.Time { return start }}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	images := func() []string {
		var pods corev1.PodList
		must(api.List(t.Context(), &pods))
		out := []string{}
		for i := range pods.Items {
			out = append(out, nodeOf(&pods.Items[i])+" "+pods.Items[i].Spec.Containers[0].Image)
		}
		slices.Sort(out)
		return out
	}
	for _, image := range []string{"a:2", "a:3", "a:2"} {
		ds := &appsv1.DaemonSet{}
		must(api.Get(t.Context(), key, ds))
		ds.Spec.Template.Spec.Containers[0].Image = image
		must(api.Update(t.Context(), ds))
		for range 8 {
			_, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key})
			must(err)
			var pods corev1.PodList
			must(api.List(t.Context(), &pods))
			for i := range pods.Items {
				p := &pods.Items[i]
				p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{
					Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(start),
				}}}
				must(api.Status().Update(t.Context(), p))
			}
		}
		if diff := cmp.Diff([]string{"a " + image, "b " + image}, images()); diff != "" {
			t.Fatal(diff)
		}
		must(api.Get(t.Context(), key, ds))
		if s := ds.Status; s.NumberAvailable != 2 || s.UpdatedNumberScheduled != 2 {
			t.Errorf("status is %+v", s)
		}
	}
	var revisions appsv1.ControllerRevisionList
	must(api.List(t.Context(), &revisions))
	var numbers []int64
	for _, r := range revisions.Items {
		numbers = append(numbers, r.Revision)
	}
	slices.Sort(numbers)
	if diff := cmp.Diff([]int64{2, 3}, numbers); diff != "" {
		t.Error(diff)
	}
}
