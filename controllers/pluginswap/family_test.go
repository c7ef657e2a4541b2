package pluginswap

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/core/client/owner"
)

var noon = time.Unix(1e9, 0)

// member is a pod of the family; age is how long it has been ready, negative for not ready.
func member(age time.Duration, change func(p *corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: "p"}, Spec: corev1.PodSpec{NodeName: "a"}}
	c := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(noon)}
	if age >= 0 {
		c.Status, c.LastTransitionTime = corev1.ConditionTrue, metav1.NewTime(noon.Add(-age))
	}
	p.Status.Conditions = []corev1.PodCondition{c}
	if change != nil {
		change(p)
	}
	return p
}

func ending(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: noon.Add(time.Minute)} }

func TestMissing(t *testing.T) {
	failed := func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }
	for _, test := range []struct {
		name   string
		family family
		want   int32
		next   time.Duration
	}{
		{name: "all work", family: family{want: 2, pods: []*corev1.Pod{member(0, nil), member(0, nil)}}},
		{name: "more than wanted", family: family{want: 1, pods: []*corev1.Pod{member(0, nil), member(0, nil)}}, want: -1},
		{name: "one is not there", family: family{want: 2, pods: []*corev1.Pod{member(0, nil)}}, want: 1},
		{name: "one is not ready", family: family{want: 2, pods: []*corev1.Pod{member(0, nil), member(-1, nil)}}, want: 1},
		{name: "one ends", family: family{want: 2, pods: []*corev1.Pod{member(0, nil), member(0, ending)}}, want: 1},
		{name: "one ends and another one works", family: family{want: 1, pods: []*corev1.Pod{member(0, nil), member(0, ending)}}},
		{name: "one has failed", family: family{want: 2, pods: []*corev1.Pod{member(0, nil), member(0, failed)}}, want: 1},
		{
			name: "one is not ready for long enough", want: 1, next: 3 * time.Second,
			family: family{want: 2, settle: 5 * time.Second, pods: []*corev1.Pod{member(time.Minute, nil), member(2*time.Second, nil)}},
		},
		{name: "nobody knows how many", family: family{want: -1, pods: []*corev1.Pod{member(0, nil), member(-1, nil)}}},
		{name: "nobody knows how many, but one ends", family: family{want: -1, pods: []*corev1.Pod{member(0, nil), member(0, ending)}}, want: 1},
		{name: "every one counts", family: family{want: -1, strict: true, pods: []*corev1.Pod{member(0, nil), member(-1, nil), member(0, ending)}}, want: 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _, next := test.family.missing(noon)
			if got != test.want || next != test.next {
				t.Errorf("missing %d, next in %s; want %d and %s", got, next, test.want, test.next)
			}
		})
	}
}

func percent(n int) *intstr.IntOrString { return new(intstr.FromString(fmt.Sprintf("%d%%", n))) }

func TestSpare(t *testing.T) {
	deployment := func(n int32, missing *intstr.IntOrString) func() (int32, int32, time.Duration) {
		d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &n}}
		d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
		if missing != nil {
			d.Spec.Strategy = appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: missing},
			}
		}
		return func() (int32, int32, time.Duration) { return ofDeployment(d) }
	}
	stateful := func(missing *intstr.IntOrString) func() (int32, int32, time.Duration) {
		s := &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Replicas: new(int32(5)), MinReadySeconds: 2}}
		s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{MaxUnavailable: missing}
		return func() (int32, int32, time.Duration) { return ofStatefulSet(s) }
	}
	daemon := &appsv1.DaemonSet{Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 30}}
	daemon.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateDaemonSet{MaxUnavailable: percent(10)}
	for _, test := range []struct {
		name   string
		of     func() (int32, int32, time.Duration)
		want   int32
		spare  int32
		settle time.Duration
	}{
		{name: "a quarter is rounded down", of: deployment(50, percent(25)), want: 50, spare: 12},
		{name: "a quarter of few", of: deployment(3, percent(25)), want: 3, spare: 1},
		{name: "none", of: deployment(3, new(intstr.FromInt32(0))), want: 3, spare: 1},
		{name: "recreated", of: deployment(3, nil), want: 3, spare: 1},
		{name: "stateful", of: stateful(nil), want: 5, spare: 1, settle: 2 * time.Second},
		{name: "a quarter of a stateful set is rounded up", of: stateful(percent(25)), want: 5, spare: 2, settle: 2 * time.Second},
		{name: "a daemon set", of: func() (int32, int32, time.Duration) { return ofDaemonSet(daemon) }, want: 30, spare: 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			want, spare, settle := test.of()
			if want != test.want || spare != test.spare || settle != test.settle {
				t.Errorf("want %d, spare %d, settle %s; expected %d, %d, %s", want, spare, settle, test.want, test.spare, test.settle)
			}
		})
	}
}

// Pods of a Deployment's old and new ReplicaSet do each other's work.
func TestPodsOfOneDeployment(t *testing.T) {
	c := controllerWith(t,
		&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: "web", UID: "web"},
			Spec:       appsv1.DeploymentSpec{Replicas: new(int32(4)), MinReadySeconds: 7},
		},
		madeBy(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: "old", UID: "old"}}, "Deployment", "web"),
		madeBy(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: "new", UID: "new"}}, "Deployment", "web"),
		madeBy(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: "1", UID: "1"}}, "ReplicaSet", "old"),
		madeBy(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: "2", UID: "2"}}, "ReplicaSet", "new"),
		madeBy(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: "3", UID: "3"}}, "ReplicaSet", "other"),
	)
	known := map[types.UID]*family{}
	for _, name := range []string{"1", "2"} {
		pod, err := c.pod(t.Context(), "d/"+name)
		if err == nil {
			err = c.family(t.Context(), known, pod)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	f := known["old"]
	if f == nil || f != known["new"] {
		t.Fatalf("they are no family: %+v", known)
	}
	var names []string
	for _, p := range f.pods {
		names = append(names, p.Name)
	}
	if d := cmp.Diff([]string{"1", "2"}, names); d != "" || f.want != 4 || f.settle != 7*time.Second || f.title != "Deployment d/web" {
		t.Errorf("%+v: %s", f, d)
	}
}

func madeBy(o client.Object, kind, uid string) client.Object {
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: uid, UID: types.UID(uid), Controller: new(true)}})
	return o
}

func controllerWith(t *testing.T, objects ...client.Object) *Controller {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...)
	for _, obj := range []client.Object{&corev1.Pod{}, &appsv1.ReplicaSet{}} {
		builder = builder.WithIndex(obj, owner.ByController, owner.Controllers)
	}
	return &Controller{Client: builder.Build()}
}
