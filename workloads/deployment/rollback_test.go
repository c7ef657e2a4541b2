package deployment

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/owner"
)

func auto(d *appsv1.Deployment) { d.Annotations[autoRollbackAnnotation] = "true" }

// overdue has passed its deadline.
func overdue(d *appsv1.Deployment) {
	d.Status.ObservedGeneration = d.Generation
	d.Status.Conditions = []appsv1.DeploymentCondition{{
		Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: timedOut, LastUpdateTime: metav1.NewTime(start.Add(-time.Hour)),
	}}
}

func proven(s *appsv1.ReplicaSet) { s.Annotations[completeAnnotation] = "true" }

func TestAutoRollback(t *testing.T) {
	sets := func(newest ...editS) []*appsv1.ReplicaSet {
		return []*appsv1.ReplicaSet{rs("1", 0, 0, 1, 4, proven), rs("2", 3, 3, 2, 4, proven), rs("3", 0, 0, 3, 4), rs("4", 2, 0, 4, 4, newest...)}
	}
	for _, tc := range []struct {
		name string
		d    *appsv1.Deployment
		sets []*appsv1.ReplicaSet
		want string
	}{
		{"to the last complete one", deploy(4, "4", auto, overdue), sets(), "web-2"},
		{"not unless asked for", deploy(4, "4", overdue), sets(), ""},
		{"not before the deadline", deploy(4, "4", auto), sets(), ""},
		{"not while paused", deploy(4, "4", auto, overdue, paused), sets(), ""},
		{"not for a newer template", deploy(4, "4", auto, overdue, func(d *appsv1.Deployment) { d.Generation++ }), sets(), ""},
		{"not from one that was complete", deploy(4, "4", auto, overdue), sets(proven), ""},
		{"not to nothing", deploy(4, "4", auto, overdue), sets()[2:], ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if p := decide(tc.d, tc.sets, start); p.back != nil {
				got = p.back.Name
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRemembersCompleteSets(t *testing.T) {
	for _, tc := range []struct {
		name string
		d    *appsv1.Deployment
		sets []*appsv1.ReplicaSet
		want string
	}{
		{"complete", deploy(4, "1", auto), []*appsv1.ReplicaSet{rs("1", 4, 4, 1, 4)}, "true"},
		{"half way", deploy(4, "1", auto), []*appsv1.ReplicaSet{rs("1", 4, 3, 1, 4)}, ""},
		{"nobody asks", deploy(4, "1"), []*appsv1.ReplicaSet{rs("1", 4, 4, 1, 4)}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := decide(tc.d, tc.sets, start)
			if diff := cmp.Diff(tc.want, p.write[0].to.Annotations[completeAnnotation]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRollsBack(t *testing.T) {
	d := deploy(4, "2", auto, overdue)
	owned := func(s *appsv1.ReplicaSet) {
		s.Labels = map[string]string{"app": "web"}
		s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(d, kind)}
	}
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(d, rs("1", 3, 3, 1, 4, proven, owned), rs("2", 2, 0, 2, 4, owned)).
		WithIndex(&appsv1.ReplicaSet{}, owner.ByController, owner.Controllers).WithIndex(&appsv1.ReplicaSet{}, owner.ByOrphanhood, owner.Orphanhood).Build()
	events := record.NewFakeRecorder(10)
	c := &Controller{Client: api, Live: api, Recorder: events, Clock: func() time.Time { return start }}
	key := client.ObjectKeyFromObject(d)
	if _, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(t.Context(), key, d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(template("1"), d.Spec.Template); diff != "" {
		t.Error(diff)
	}
	want := `Warning DeploymentRollback Rolled back deployment "web" to revision 1: revision 2 made no progress for 600s: 0 of 2 pods of ReplicaSet "web-2" are available`
	if diff := cmp.Diff([]string{"1", want}, []string{d.Annotations[causeAnnotation], <-events.Events}); diff != "" {
		t.Error(diff)
	}
}
