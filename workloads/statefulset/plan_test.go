package statefulset

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gantryio/gantry/core/client/revision"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	db    = map[string]string{"app": "db"}
)

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: db},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: image}}},
	}
}

func made(name, image string) *appsv1.ControllerRevision {
	t := template(image)
	patch, err := revision.Patch(&t)
	if err != nil {
		panic(err)
	}
	return &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: runtime.RawExtension{Raw: patch}}
}

func sized(n int32, edit ...func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	set := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db", UID: "set", Generation: 2},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &n, ServiceName: "db", Selector: &metav1.LabelSelector{MatchLabels: db}, Template: template("a:2"),
			PodManagementPolicy: appsv1.OrderedReadyPodManagement,
			UpdateStrategy:      appsv1.StatefulSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32)}},
		},
	}
	for _, e := range edit {
		e(set)
	}
	return set
}

func parallel(s *appsv1.StatefulSet) { s.Spec.PodManagementPolicy = appsv1.ParallelPodManagement }
func onDelete(s *appsv1.StatefulSet) {
	s.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: "OnDelete"}
}
func deleted(s *appsv1.StatefulSet)  { s.DeletionTimestamp = &metav1.Time{Time: start} }
func fromFive(s *appsv1.StatefulSet) { s.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: 5} }
func withClaim(s *appsv1.StatefulSet) {
	s.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
}

func partition(n int32) func(*appsv1.StatefulSet) {
	return func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.RollingUpdate.Partition = &n }
}

func missing(v intstr.IntOrString) func(*appsv1.StatefulSet) {
	return func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable = &v }
}

func patient(s *appsv1.StatefulSet) { s.Spec.MinReadySeconds = 10 }

func retention(deleted, scaled appsv1.PersistentVolumeClaimRetentionPolicyType) func(*appsv1.StatefulSet) {
	return func(s *appsv1.StatefulSet) {
		withClaim(s)
		s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: deleted, WhenScaled: scaled}
	}
}

// pod is one of the set's: its ordinal, "1" or "2" for its revision, and how it is.
func pod(ordinal int, rev string, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: fmt.Sprint("db-", ordinal), UID: types.UID(fmt.Sprint("u", ordinal)),
			Labels: map[string]string{"app": "db", appsv1.ControllerRevisionHashLabelKey: "r" + rev},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{
			Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(start.Add(-4 * time.Second)),
		}}},
	}
	identify(p, ordinal)
	for _, e := range edit {
		e(p)
	}
	return p
}

func unready(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }
func going(p *corev1.Pod)   { p.DeletionTimestamp = &metav1.Time{Time: start} }
func failed(p *corev1.Pod)  { p.Status.Phase = corev1.PodFailed }
func nameless(p *corev1.Pod) {
	delete(p.Labels, appsv1.PodIndexLabel)
}

// outline is what a plan does, in names.
func outline(p plan) []string {
	out := []string{}
	for _, c := range p.keepClaims {
		by := ""
		for _, ref := range c.OwnerReferences {
			by += " " + ref.Kind
		}
		out = append(out, "own "+c.Name+by)
	}
	for _, c := range p.makeClaims {
		out = append(out, "claim "+c.claim.Name)
	}
	for _, x := range p.create {
		out = append(out, "create "+x.Name+" "+revisionOf(x))
	}
	for _, x := range p.relabel {
		out = append(out, "relabel "+x.Name)
	}
	for _, x := range p.remove {
		out = append(out, "remove "+x.Name)
	}
	return out
}

func TestDecide(t *testing.T) {
	type pods = []*corev1.Pod
	for _, tc := range []struct {
		name string
		set  *appsv1.StatefulSet
		pods pods
		want []string
	}{
		{"the first comes first", sized(3), nil, []string{"create db-0 r2"}},
		{"the next waits for readiness", sized(3), pods{pod(0, "2", unready)}, []string{}},
		{"then the next", sized(3), pods{pod(0, "2")}, []string{"create db-1 r2"}},
		{"the next waits for availability", sized(3, patient), pods{pod(0, "2")}, []string{}},
		{"a gap is filled first", sized(3), pods{pod(0, "2"), pod(2, "2")}, []string{"create db-1 r2"}},
		{"all at once", sized(3, parallel), nil, []string{"create db-0 r2", "create db-1 r2", "create db-2 r2"}},
		{"start ordinal", sized(2, parallel, fromFive), nil, []string{"create db-5 r2", "create db-6 r2"}},
		{"below the start", sized(1, fromFive), pods{pod(0, "2"), pod(5, "2")}, []string{"remove db-0"}},
		{"a failed pod is replaced", sized(1), pods{pod(0, "2", failed)}, []string{"remove db-0"}},
		{"not twice", sized(1), pods{pod(0, "2", failed, going)}, []string{}},
		{"a terminating pod is waited for", sized(2), pods{pod(0, "2", going)}, []string{}},
		{"lost labels", sized(1), pods{pod(0, "2", nameless)}, []string{"relabel db-0"}},
		{"names of others", sized(0), pods{pod(0, "2", func(p *corev1.Pod) { p.Name = "db-x" }), pod(0, "2", func(p *corev1.Pod) { p.Name = "db-01" })}, []string{}},

		{"the last goes first", sized(1), pods{pod(0, "2"), pod(1, "2"), pod(2, "2")}, []string{"remove db-2"}},
		{"one at a time", sized(1), pods{pod(0, "2"), pod(1, "2"), pod(2, "2", going)}, []string{}},
		{"none while one that stays is not ready", sized(1), pods{pod(0, "2", unready), pod(1, "2")}, []string{}},
		{"none while a lower one is not ready", sized(1), pods{pod(0, "2"), pod(1, "2", unready), pod(2, "2", unready)}, []string{}},
		{"the unready one may go", sized(1), pods{pod(0, "2"), pod(1, "2"), pod(2, "2", unready)}, []string{"remove db-2"}},
		{"all at once down", sized(0, parallel), pods{pod(0, "2", unready), pod(1, "2"), pod(2, "2", going)}, []string{"remove db-1", "remove db-0"}},

		{"update from the top", sized(3), pods{pod(0, "1"), pod(1, "1"), pod(2, "1")}, []string{"remove db-2"}},
		{"update goes on", sized(3), pods{pod(0, "1"), pod(1, "1"), pod(2, "2")}, []string{"remove db-1"}},
		{"update waits", sized(3, parallel), pods{pod(0, "1"), pod(1, "1"), pod(2, "2", unready)}, []string{}},
		{"the updated pod comes back new", sized(3), pods{pod(0, "1"), pod(1, "1")}, []string{"create db-2 r2"}},
		{"partition", sized(3, partition(2)), pods{pod(0, "1"), pod(1, "1"), pod(2, "2")}, []string{}},
		{"below the partition the old comes back", sized(3, partition(2)), pods{pod(1, "1"), pod(2, "2")}, []string{"create db-0 r1"}},
		{"partition beyond all", sized(2, partition(9)), pods{pod(0, "1"), pod(1, "1")}, []string{}},
		{"on delete", sized(2, onDelete), pods{pod(0, "1"), pod(1, "1")}, []string{}},
		{"on delete comes back new", sized(2, onDelete), pods{pod(0, "1")}, []string{"create db-1 r2"}},
		{"two may be missing", sized(4, missing(intstr.FromInt32(2))), pods{pod(0, "1"), pod(1, "1"), pod(2, "1"), pod(3, "1")}, []string{"remove db-3", "remove db-2"}},
		{"a percentage is rounded up", sized(4, parallel, missing(intstr.FromString("30%"))), pods{pod(0, "1"), pod(1, "1"), pod(2, "1"), pod(3, "2", unready)}, []string{"remove db-2"}},
		{"a broken old pod costs nothing", sized(3, parallel), pods{pod(0, "1"), pod(1, "1", unready), pod(2, "1")}, []string{"remove db-1"}},
		{"scaling comes before updates", sized(2), pods{pod(0, "1"), pod(1, "1"), pod(2, "1")}, []string{"remove db-2"}},
		{"nothing for a set that goes", sized(3, deleted), pods{pod(0, "1")}, []string{}},
		{"claims come along", sized(2, parallel, withClaim), pods{pod(0, "2")}, []string{"claim data-db-1", "create db-1 r2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := decide(state{set: tc.set, current: made("r1", "a:1"), update: made("r2", "a:2"), pods: tc.pods, now: start})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, outline(p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRetention(t *testing.T) {
	const keep, drop = appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	set := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: "set"}
	byPod := func(uid types.UID) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "db-1", UID: uid}
	}
	for _, tc := range []struct {
		name   string
		set    *appsv1.StatefulSet
		pods   []*corev1.Pod
		owners []metav1.OwnerReference // of the claim data-db-1
		want   []string
	}{
		{"kept", sized(2, retention(keep, keep)), []*corev1.Pod{pod(0, "2"), pod(1, "2")}, nil, []string{}},
		{"with the set", sized(2, retention(drop, keep)), []*corev1.Pod{pod(0, "2"), pod(1, "2")}, nil, []string{"own data-db-1 StatefulSet"}},
		{"with the set already", sized(2, retention(drop, keep)), []*corev1.Pod{pod(0, "2"), pod(1, "2")}, []metav1.OwnerReference{set}, []string{}},
		{"no longer with the set", sized(2, retention(keep, keep)), []*corev1.Pod{pod(0, "2"), pod(1, "2")}, []metav1.OwnerReference{set}, []string{"own data-db-1"}},
		{"with the pod that goes", sized(1, retention(keep, drop)), []*corev1.Pod{pod(0, "2"), pod(1, "2")}, nil, []string{"own data-db-1 Pod", "remove db-1"}},
		{"the pod wins over the set", sized(1, retention(drop, drop)), []*corev1.Pod{pod(0, "2"), pod(1, "2")}, []metav1.OwnerReference{set}, []string{"own data-db-1 Pod", "remove db-1"}},
		{"a former pod's claim is waited for", sized(2, retention(keep, drop)), []*corev1.Pod{pod(0, "2")}, []metav1.OwnerReference{byPod("former")}, []string{}},
		{
			"somebody else's", sized(2, retention(drop, drop)),
			[]*corev1.Pod{pod(0, "2"), pod(1, "2")},
			[]metav1.OwnerReference{{APIVersion: "x/v1", Kind: "X", Name: "x", UID: "x", Controller: new(true)}},
			[]string{},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			have := claims{"data-db-1": {ObjectMeta: metav1.ObjectMeta{Name: "data-db-1", OwnerReferences: tc.owners}}, "data-db-0": {ObjectMeta: metav1.ObjectMeta{Name: "data-db-0"}}}
			if tc.set.Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted == drop {
				have["data-db-0"].OwnerReferences = []metav1.OwnerReference{set}
			}
			p, err := decide(state{set: tc.set, current: made("r2", "a:2"), update: made("r2", "a:2"), pods: tc.pods, claims: have, now: start})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, outline(p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	type counts struct {
		Replicas, Ready, Available, Current, Updated int32
		Revision                                     string
		Wake                                         time.Duration
	}
	for _, tc := range []struct {
		name string
		set  *appsv1.StatefulSet
		pods []*corev1.Pod
		want counts
	}{
		{"none", sized(2), nil, counts{Revision: "r1"}},
		{"half way", sized(3), []*corev1.Pod{pod(0, "1"), pod(1, "1", unready), pod(2, "2")}, counts{3, 2, 2, 2, 1, "r1", 0}},
		{"terminating is no revision's", sized(2), []*corev1.Pod{pod(0, "1"), pod(1, "1", going)}, counts{2, 2, 2, 1, 0, "r1", 0}},
		{"complete", sized(2), []*corev1.Pod{pod(0, "2"), pod(1, "2")}, counts{2, 2, 2, 2, 2, "r2", 0}},
		{"complete but for the partition", sized(2, partition(1)), []*corev1.Pod{pod(0, "1"), pod(1, "2")}, counts{2, 2, 2, 1, 1, "r1", 0}},
		{"not with one too many", sized(1), []*corev1.Pod{pod(0, "2"), pod(1, "2")}, counts{2, 2, 2, 0, 2, "r1", 0}},
		{"never on delete", sized(1, onDelete), []*corev1.Pod{pod(0, "2")}, counts{1, 1, 1, 0, 1, "r1", 0}},
		{"ready for 4 of 10 seconds", sized(1, patient), []*corev1.Pod{pod(0, "2")}, counts{1, 1, 0, 1, 1, "r2", 6 * time.Second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := decide(state{set: tc.set, current: made("r1", "a:1"), update: made("r2", "a:2"), pods: tc.pods, now: start})
			if err != nil {
				t.Fatal(err)
			}
			s := p.status
			got := counts{s.Replicas, s.ReadyReplicas, s.AvailableReplicas, s.CurrentReplicas, s.UpdatedReplicas, s.CurrentRevision, p.wakeAfter}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if s.UpdateRevision != "r2" || s.ObservedGeneration != 2 || *s.CollisionCount != 0 {
				t.Errorf("status is %+v", s)
			}
		})
	}
}

func TestNewPod(t *testing.T) {
	p, err := newPod(sized(1, withClaim), made("r1", "a:1"), 3)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"app": "db", "statefulset.kubernetes.io/pod-name": "db-3", "apps.kubernetes.io/pod-index": "3", "controller-revision-hash": "r1",
	}
	if diff := cmp.Diff(want, p.Labels); diff != "" {
		t.Error(diff)
	}
	got := []any{p.Name, p.Spec.Hostname, p.Spec.Subdomain, p.Spec.Containers[0].Image, p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName, metav1.GetControllerOf(p).Name}
	if diff := cmp.Diff([]any{"db-3", "db-3", "db", "a:1", "data-db-3", "db"}, got); diff != "" {
		t.Error(diff)
	}
}
