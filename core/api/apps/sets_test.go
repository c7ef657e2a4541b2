package apps

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func statefulSet(change func(*appsv1.StatefulSetSpec)) *appsv1.StatefulSet {
	s := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Spec: appsv1.StatefulSetSpec{
		Selector: selector(), Template: template(), ServiceName: "db",
		VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}}},
	}}
	s.Spec.Template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	defaultStatefulSet(s)
	if change != nil {
		change(&s.Spec)
	}
	return s
}

func TestDefaultStatefulSet(t *testing.T) {
	s := statefulSet(nil).Spec
	s.Template, s.Selector = corev1.PodTemplateSpec{}, nil
	claim := s.VolumeClaimTemplates[0]
	if diff := cmp.Diff([]any{"PersistentVolumeClaim", corev1.ClaimPending, corev1.PersistentVolumeFilesystem}, []any{claim.Kind, claim.Status.Phase, *claim.Spec.VolumeMode}); diff != "" {
		t.Error(diff)
	}
	s.VolumeClaimTemplates = nil
	want := appsv1.StatefulSetSpec{
		Replicas: new(int32(1)), ServiceName: "db", PodManagementPolicy: "OrderedReady", RevisionHistoryLimit: new(int32(10)),
		UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{
			Partition: new(int32(0)), MaxUnavailable: new(intstr.FromInt32(1)),
		}},
		PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: "Retain", WhenScaled: "Retain"},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestValidateStatefulSet(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*appsv1.StatefulSetSpec)
		want   []string
	}{
		{"good", nil, nil},
		{"numbers", func(s *appsv1.StatefulSetSpec) {
			s.Replicas, s.MinReadySeconds, s.RevisionHistoryLimit = new(int32(-1)), -1, new(int32(-1))
			s.Ordinals = &appsv1.StatefulSetOrdinals{Start: -1}
		}, []string{"spec.replicas: Invalid value", "spec.minReadySeconds: Invalid value", "spec.revisionHistoryLimit: Invalid value", "spec.ordinals.start: Invalid value"}},
		{"management", func(s *appsv1.StatefulSetSpec) { s.PodManagementPolicy = "Odd" }, []string{"spec.podManagementPolicy: Invalid value"}},
		{"strategy", func(s *appsv1.StatefulSetSpec) { s.UpdateStrategy.Type = "Odd" }, []string{"spec.updateStrategy: Invalid value"}},
		{"no strategy", func(s *appsv1.StatefulSetSpec) { s.UpdateStrategy.Type = "" }, []string{"spec.updateStrategy: Required value"}},
		{"rolling on delete", func(s *appsv1.StatefulSetSpec) { s.UpdateStrategy.Type = "OnDelete" }, []string{"spec.updateStrategy.rollingUpdate: Invalid value"}},
		{"partition", func(s *appsv1.StatefulSetSpec) { s.UpdateStrategy.RollingUpdate.Partition = new(int32(-1)) }, []string{"spec.updateStrategy.rollingUpdate.partition: Invalid value"}},
		{"nothing may be unavailable", func(s *appsv1.StatefulSetSpec) {
			s.UpdateStrategy.RollingUpdate.MaxUnavailable = new(intstr.FromInt32(0))
		}, []string{"spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value"}},
		{"more than all", func(s *appsv1.StatefulSetSpec) {
			s.UpdateStrategy.RollingUpdate.MaxUnavailable = new(intstr.FromString("101%"))
		}, []string{"spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value"}},
		{"retention", func(s *appsv1.StatefulSetSpec) { s.PersistentVolumeClaimRetentionPolicy.WhenScaled = "Odd" }, []string{"spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value"}},
		{"service", func(s *appsv1.StatefulSetSpec) { s.ServiceName = "a.b" }, []string{"spec.serviceName: Invalid value"}},
		{"no selector", func(s *appsv1.StatefulSetSpec) { s.Selector = nil }, []string{"spec.selector: Required value"}},
		{"labels", func(s *appsv1.StatefulSetSpec) { s.Template.Labels = nil }, []string{"spec.template.metadata.labels: Invalid value"}},
		{"restarts", func(s *appsv1.StatefulSetSpec) { s.Template.Spec.RestartPolicy = "Never" }, []string{"spec.template.spec.restartPolicy: Unsupported value"}},
		{"mounts", func(s *appsv1.StatefulSetSpec) { s.VolumeClaimTemplates = nil }, []string{"spec.template.spec.containers[0].volumeMounts[0].name: Not found"}},
	} {
		t.Run(test.name, func(t *testing.T) { checkRefusals(t, validateStatefulSet(statefulSet(test.change), nil), test.want...) })
	}
}

func TestUpdateStatefulSet(t *testing.T) {
	allowed := statefulSet(func(s *appsv1.StatefulSetSpec) {
		s.Replicas, s.MinReadySeconds, s.RevisionHistoryLimit = new(int32(3)), 5, new(int32(2))
		s.Ordinals = &appsv1.StatefulSetOrdinals{Start: 1}
		s.Template.Spec.Containers[0].Image = "a:2"
		s.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: "OnDelete"}
		s.PersistentVolumeClaimRetentionPolicy.WhenDeleted = "Delete"
	})
	checkRefusals(t, validateStatefulSet(allowed, statefulSet(nil)))
	for _, change := range []func(*appsv1.StatefulSetSpec){
		func(s *appsv1.StatefulSetSpec) { s.ServiceName = "other" },
		func(s *appsv1.StatefulSetSpec) { s.PodManagementPolicy = "Parallel" },
		func(s *appsv1.StatefulSetSpec) { s.VolumeClaimTemplates[0].Spec.StorageClassName = new("fast") },
	} {
		checkRefusals(t, validateStatefulSet(statefulSet(change), statefulSet(nil)), "spec: Forbidden")
	}
}

func daemonSet(change func(*appsv1.DaemonSet)) *appsv1.DaemonSet {
	d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "log"}, Spec: appsv1.DaemonSetSpec{Selector: selector(), Template: template()}}
	defaultDaemonSet(d)
	if change != nil {
		change(d)
	}
	return d
}

func TestDefaultDaemonSet(t *testing.T) {
	got := daemonSet(nil).Spec
	got.Template, got.Selector = corev1.PodTemplateSpec{}, nil
	want := appsv1.DaemonSetSpec{RevisionHistoryLimit: new(int32(10)), UpdateStrategy: appsv1.DaemonSetUpdateStrategy{
		Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: new(intstr.FromInt32(1)), MaxSurge: new(intstr.FromInt32(0))},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestValidateDaemonSet(t *testing.T) {
	rolling := func(unavailable, surge intstr.IntOrString) func(*appsv1.DaemonSet) {
		return func(d *appsv1.DaemonSet) {
			d.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &unavailable, MaxSurge: &surge}
		}
	}
	const at = "spec.updateStrategy.rollingUpdate."
	for _, test := range []struct {
		name   string
		change func(*appsv1.DaemonSet)
		want   []string
	}{
		{"good", nil, nil},
		{"surge", rolling(intstr.FromInt32(0), intstr.FromString("50%")), nil},
		{"both", rolling(intstr.FromInt32(1), intstr.FromInt32(1)), []string{at + "maxSurge: Invalid value"}},
		{"none", rolling(intstr.FromInt32(0), intstr.FromInt32(0)), []string{at + "maxUnavailable: Required value"}},
		{"much", rolling(intstr.FromString("200%"), intstr.FromInt32(0)), []string{at + "maxUnavailable: Invalid value"}},
		{"no numbers", rolling(intstr.FromString("x"), intstr.FromInt32(1)), []string{at + "maxUnavailable: Invalid value"}},
		{"strategy", func(d *appsv1.DaemonSet) { d.Spec.UpdateStrategy.Type = "Odd" }, []string{"spec.updateStrategy: Unsupported value"}},
		{"no rolling", func(d *appsv1.DaemonSet) { d.Spec.UpdateStrategy.RollingUpdate = nil }, []string{"spec.updateStrategy.rollingUpdate: Required value"}},
		{"numbers", func(d *appsv1.DaemonSet) { d.Spec.MinReadySeconds, d.Spec.RevisionHistoryLimit = -1, new(int32(-1)) }, []string{"spec.minReadySeconds: Invalid value", "spec.revisionHistoryLimit: Invalid value"}},
		{"selector", func(d *appsv1.DaemonSet) { d.Spec.Selector = &metav1.LabelSelector{} }, []string{"spec.selector: Invalid value"}},
		{"deadline", func(d *appsv1.DaemonSet) { d.Spec.Template.Spec.ActiveDeadlineSeconds = new(int64(5)) }, []string{"spec.template.spec.activeDeadlineSeconds: Forbidden"}},
	} {
		t.Run(test.name, func(t *testing.T) { checkRefusals(t, validateDaemonSet(daemonSet(test.change), nil), test.want...) })
	}
	other := daemonSet(func(d *appsv1.DaemonSet) {
		d.Spec.Selector.MatchLabels["tier"], d.Spec.Template.Labels["tier"] = "a", "a"
	})
	checkRefusals(t, validateDaemonSet(other, daemonSet(nil)), "spec.selector: Invalid value")
}

func TestTemplateGeneration(t *testing.T) {
	d := daemonSet(nil)
	prepareDaemonSet(d, nil)
	same, changed := d.DeepCopy(), d.DeepCopy()
	same.Annotations = nil
	prepareDaemonSet(same, d)
	changed.Spec.Template.Spec.Containers[0].Image = "a:2"
	prepareDaemonSet(changed, d)
	got := []int64{templateGeneration(d), templateGeneration(same), templateGeneration(changed)}
	if diff := cmp.Diff([]int64{1, 1, 2}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSetStatuses(t *testing.T) {
	s := statefulSet(nil)
	s.Status = appsv1.StatefulSetStatus{Replicas: 1, ReadyReplicas: 2, CurrentReplicas: 2, UpdatedReplicas: 2, AvailableReplicas: 1, ObservedGeneration: -1}
	checkRefusals(t, validateStatefulSetStatus(s, nil), "status.readyReplicas: Invalid value", "status.currentReplicas: Invalid value",
		"status.updatedReplicas: Invalid value", "status.observedGeneration: Invalid value")
	d := daemonSet(func(d *appsv1.DaemonSet) { d.Status.NumberReady, d.Status.NumberMisscheduled = -1, -1 })
	old := daemonSet(func(d *appsv1.DaemonSet) { d.Status.CollisionCount = new(int32(1)) })
	checkRefusals(t, validateDaemonSetStatus(d, old), "status.numberReady: Invalid value", "status.numberMisscheduled: Invalid value", "status.collisionCount: Invalid value")
}

func TestSetColumns(t *testing.T) {
	s := statefulSet(func(s *appsv1.StatefulSetSpec) { s.Replicas = new(int32(3)) })
	s.Status.ReadyReplicas = 2
	if diff := cmp.Diff([]any{"db", "2/3", "<unknown>", "a,b", "a:1,b:1"}, StatefulSets.Resource().Cells(s)); diff != "" {
		t.Error(diff)
	}
	d := daemonSet(func(d *appsv1.DaemonSet) {
		d.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "ssd"}
		d.Status = appsv1.DaemonSetStatus{DesiredNumberScheduled: 5, CurrentNumberScheduled: 4, NumberReady: 3, UpdatedNumberScheduled: 2, NumberAvailable: 1}
	})
	want := []any{"log", int64(5), int64(4), int64(3), int64(2), int64(1), "disk=ssd", "<unknown>", "a,b", "a:1,b:1", "app=web"}
	if diff := cmp.Diff(want, DaemonSets.Resource().Cells(d)); diff != "" {
		t.Error(diff)
	}
}
