package storageprotection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestPlan(t *testing.T) {
	now := metav1.Now()
	for _, tc := range []struct {
		name    string
		had     []string
		deleted *metav1.Time
		used    bool
		want    []string
		changed bool
	}{
		{"new", []string{"a"}, nil, false, []string{"a", claimFinalizer}, true},
		{"protected", []string{claimFinalizer}, nil, false, []string{claimFinalizer}, false},
		{"deleted and used", []string{claimFinalizer}, &now, true, []string{claimFinalizer}, false},
		{"deleted and free", []string{"a", claimFinalizer, "b"}, &now, false, []string{"a", "b"}, true},
		{"deleted and not protected", []string{"a"}, &now, false, []string{"a"}, false},
	} {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Finalizers: tc.had, DeletionTimestamp: tc.deleted}}
		got, changed := plan(claim, claimFinalizer, tc.used)
		if diff := cmp.Diff(tc.want, got); diff != "" || changed != tc.changed {
			t.Errorf("%s: changed %t\n%s", tc.name, changed, diff)
		}
	}
}

func TestUses(t *testing.T) {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "p-v"}}
	pod := func(node string, phase corev1.PodPhase, source corev1.VolumeSource) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: corev1.PodStatus{Phase: phase},
			Spec: corev1.PodSpec{NodeName: node, Volumes: []corev1.Volume{{Name: "v", VolumeSource: source}}},
		}
	}
	named := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "p-v"}}
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		want bool
	}{
		{"runs", pod("n", corev1.PodRunning, named), true},
		{"an ephemeral claim", pod("n", corev1.PodRunning, corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}), true},
		{"has no node", pod("", corev1.PodPending, named), false},
		{"has ended", pod("n", corev1.PodSucceeded, named), false},
		{"another claim", pod("n", corev1.PodRunning, corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "x"}}), false},
	} {
		if got := usesClaim(tc.pod, claim); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
	class := &storagev1.VolumeAttributesClass{ObjectMeta: metav1.ObjectMeta{Name: "gold"}}
	modifying := &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{ModifyVolumeStatus: &corev1.ModifyVolumeStatus{TargetVolumeAttributesClassName: "gold"}}}
	if !usesClass(&corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{VolumeAttributesClassName: new("gold")}}, class) ||
		!usesClass(modifying, class) || usesClass(&corev1.PersistentVolumeClaim{}, class) {
		t.Error("classes in use are told wrongly")
	}
}

func TestPodEvents(t *testing.T) {
	using := func(phase corev1.PodPhase) client.Object {
		claim := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}, Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: claim}}},
			Status: corev1.PodStatus{Phase: phase},
		}
	}
	for name, tc := range map[string]struct {
		old, now client.Object
		want     int
	}{
		"new":            {nil, using(corev1.PodPending), 0},
		"new and ended":  {nil, using(corev1.PodFailed), 0},
		"starts":         {using(corev1.PodPending), using(corev1.PodRunning), 0},
		"ends":           {using(corev1.PodRunning), using(corev1.PodSucceeded), 1},
		"ended for long": {using(corev1.PodFailed), using(corev1.PodFailed), 0},
		"gone":           {using(corev1.PodRunning), nil, 1},
	} {
		q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		podEvents(t.Context(), tc.old, tc.now, q)
		if q.Len() != tc.want {
			t.Errorf("%s: %d claims queued, want %d", name, q.Len(), tc.want)
		}
		q.ShutDown()
	}
}
