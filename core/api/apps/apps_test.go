package apps

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func checkRefusals(t *testing.T, errs field.ErrorList, want ...string) {
	t.Helper()
	var got []string
	for _, err := range errs {
		got = append(got, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("refusals (-want +got):\n%s\n%v", diff, errs)
	}
}

func template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a:1"}, {Name: "b", Image: "b:1"}}},
	}
}

func selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
}

func deployment(change func(s *appsv1.DeploymentSpec)) *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))},
		Spec:       appsv1.DeploymentSpec{Selector: selector(), Template: template()},
	}
	if change != nil {
		change(&d.Spec)
	}
	defaultDeployment(d)
	return d
}

func TestDefaultDeployment(t *testing.T) {
	d := deployment(nil)
	got := d.Spec
	got.Template, got.Selector = corev1.PodTemplateSpec{}, nil
	want := appsv1.DeploymentSpec{
		Replicas: new(int32(1)), RevisionHistoryLimit: new(int32(10)), ProgressDeadlineSeconds: new(int32(600)),
		Strategy: appsv1.DeploymentStrategy{Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxUnavailable: new(intstr.FromString("25%")), MaxSurge: new(intstr.FromString("25%")),
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if got := d.Spec.Template.Spec.RestartPolicy; got != corev1.RestartPolicyAlways {
		t.Errorf("the template has no defaults: restartPolicy is %q", got)
	}
	recreate := deployment(func(s *appsv1.DeploymentSpec) { s.Strategy.Type = "Recreate" })
	if recreate.Spec.Strategy.RollingUpdate != nil {
		t.Error("Recreate got parameters of a rolling update")
	}
}

func TestValidateDeployment(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(s *appsv1.DeploymentSpec)
		want   []string
	}{
		{"good", nil, nil},
		{"negative replicas", func(s *appsv1.DeploymentSpec) { s.Replicas = new(int32(-1)) }, []string{"spec.replicas: Invalid value"}},
		{"no selector", func(s *appsv1.DeploymentSpec) { s.Selector = nil }, []string{"spec.selector: Required value"}},
		{"empty selector", func(s *appsv1.DeploymentSpec) { s.Selector = &metav1.LabelSelector{} }, []string{"spec.selector: Invalid value"}},
		{"selector beside labels", func(s *appsv1.DeploymentSpec) { s.Template.Labels = map[string]string{"app": "other"} }, []string{"spec.template.metadata.labels: Invalid value"}},
		{"no image", func(s *appsv1.DeploymentSpec) { s.Template.Spec.Containers[1].Image = "" }, []string{"spec.template.spec.containers[1].image: Required value"}},
		{"restart policy", func(s *appsv1.DeploymentSpec) { s.Template.Spec.RestartPolicy = "Never" }, []string{"spec.template.spec.restartPolicy: Unsupported value"}},
		{"deadline of pods", func(s *appsv1.DeploymentSpec) { s.Template.Spec.ActiveDeadlineSeconds = new(int64(5)) }, []string{"spec.template.spec.activeDeadlineSeconds: Forbidden"}},
		{"strategy", func(s *appsv1.DeploymentSpec) { s.Strategy.Type = "Odd" }, []string{"spec.strategy.type: Unsupported value"}},
		{"recreate with parameters", func(s *appsv1.DeploymentSpec) {
			s.Strategy = appsv1.DeploymentStrategy{Type: "Recreate", RollingUpdate: &appsv1.RollingUpdateDeployment{}}
		}, []string{"spec.strategy.rollingUpdate: Forbidden"}},
		{"no step possible", func(s *appsv1.DeploymentSpec) {
			s.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: new(intstr.FromString("0%"))}
		}, []string{"spec.strategy.rollingUpdate.maxUnavailable: Invalid value"}},
		{"percentages", func(s *appsv1.DeploymentSpec) {
			s.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxUnavailable: new(intstr.FromString("101%")), MaxSurge: new(intstr.FromString("many"))}
		}, []string{"spec.strategy.rollingUpdate.maxSurge: Invalid value", "spec.strategy.rollingUpdate.maxUnavailable: Invalid value"}},
		{"times", func(s *appsv1.DeploymentSpec) { s.MinReadySeconds, s.ProgressDeadlineSeconds = 10, new(int32(10)) }, []string{"spec.progressDeadlineSeconds: Invalid value"}},
		{"history", func(s *appsv1.DeploymentSpec) { s.RevisionHistoryLimit = new(int32(-1)) }, []string{"spec.revisionHistoryLimit: Invalid value"}},
	} {
		t.Run(test.name, func(t *testing.T) { checkRefusals(t, validateDeployment(deployment(test.change), nil), test.want...) })
	}
	other := deployment(func(s *appsv1.DeploymentSpec) {
		s.Selector.MatchLabels["tier"], s.Template.Labels["tier"] = "a", "a"
	})
	checkRefusals(t, validateDeployment(other, deployment(nil)), "spec.selector: Invalid value")
}

func TestValidateStatus(t *testing.T) {
	d := deployment(nil)
	d.Status = appsv1.DeploymentStatus{Replicas: 2, ReadyReplicas: 3, AvailableReplicas: 4, UpdatedReplicas: -1}
	old := deployment(nil)
	old.Status.CollisionCount = new(int32(1))
	checkRefusals(t, validateDeploymentStatus(d, old), "status.readyReplicas: Invalid value", "status.availableReplicas: Invalid value",
		"status.updatedReplicas: Invalid value", "status.collisionCount: Invalid value")
	rs := &appsv1.ReplicaSet{Status: appsv1.ReplicaSetStatus{Replicas: 1, FullyLabeledReplicas: 2}}
	checkRefusals(t, validateReplicaSetStatus(rs, nil), "status.fullyLabeledReplicas: Invalid value")
}

func TestDeploymentColumnsAndScale(t *testing.T) {
	d := deployment(func(s *appsv1.DeploymentSpec) { s.Replicas = new(int32(3)) })
	d.Status = appsv1.DeploymentStatus{Replicas: 3, ReadyReplicas: 2, UpdatedReplicas: 3, AvailableReplicas: 1}
	r := Deployments.Resource()
	want := []any{"web", "2/3", int64(3), int64(1), "60m", "a,b", "a:1,b:1", "app=web"}
	if diff := cmp.Diff(want, r.Cells(d)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	r.SetScale(d, 5)
	scale := r.GetScale(d)
	if scale.Spec.Replicas != 5 || scale.Status.Replicas != 3 || scale.Status.Selector != "app=web" {
		t.Errorf("scale is %+v %+v", scale.Spec, scale.Status)
	}
}

func TestReplicaSet(t *testing.T) {
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Spec: appsv1.ReplicaSetSpec{Selector: selector(), Template: template()}}
	r := ReplicaSets.Resource()
	r.Default(rs)
	checkRefusals(t, validateReplicaSet(rs, nil))
	want := []any{"web-1", int64(1), int64(0), int64(0), "<unknown>", "a,b", "a:1,b:1", "app=web"}
	if diff := cmp.Diff(want, r.Cells(rs)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	if got := r.Fields["status.replicas"](rs); got != "0" {
		t.Errorf("status.replicas is %q", got)
	}
	bad := rs.DeepCopy()
	bad.Spec.Replicas, bad.Spec.MinReadySeconds, bad.Spec.Selector = new(int32(-1)), -1, &metav1.LabelSelector{MatchLabels: map[string]string{"x": "y"}}
	checkRefusals(t, validateReplicaSet(bad, rs), "spec.replicas: Invalid value", "spec.minReadySeconds: Invalid value",
		"spec.selector: Invalid value", "spec.template.metadata.labels: Invalid value")
}

func TestControllerRevision(t *testing.T) {
	old := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Name: "r", OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", Controller: new(true)}}},
		Revision:   3, Data: runtime.RawExtension{Raw: []byte(`{"a":1}`)},
	}
	if diff := cmp.Diff([]any{"r", "statefulset.apps/db", int64(3), "<unknown>"}, ControllerRevisions.Resource().Cells(old)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	checkRefusals(t, validateControllerRevision(old, old))
	changed := old.DeepCopy()
	changed.Data.Raw, changed.Revision = []byte(`{"a":2}`), -1
	checkRefusals(t, validateControllerRevision(changed, old), "data: Invalid value", "revision: Invalid value")
	checkRefusals(t, validateControllerRevision(&appsv1.ControllerRevision{}, nil), "data: Required value")
}
