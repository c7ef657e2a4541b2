package core

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func refused(errs field.ErrorList) []string {
	out := []string{}
	for _, err := range errs {
		out = append(out, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	slices.Sort(out)
	return out
}

func claim(change func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	DefaultPersistentVolumeClaim(c)
	prepareClaim(c, nil)
	if change != nil {
		change(c)
	}
	return c
}

func TestValidateClaim(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*corev1.PersistentVolumeClaim)
		want   []string
	}{
		{"good", nil, []string{}},
		{"no modes", func(c *corev1.PersistentVolumeClaim) { c.Spec.AccessModes = nil }, []string{"spec.accessModes: Required value"}},
		{"odd mode", func(c *corev1.PersistentVolumeClaim) { c.Spec.AccessModes[0] = "Odd" }, []string{"spec.accessModes: Unsupported value"}},
		{"exclusive mode", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.AccessModes = append(c.Spec.AccessModes, corev1.ReadWriteOncePod)
		}, []string{"spec.accessModes: Forbidden"}},
		{"no size", func(c *corev1.PersistentVolumeClaim) { c.Spec.Resources.Requests = nil }, []string{"spec.resources[storage]: Required value"}},
		{"empty", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Resources.Requests[corev1.ResourceStorage] = resource.Quantity{}
		}, []string{"spec.resources[storage]: Invalid value"}},
		{"class", func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = new("A_b") }, []string{"spec.storageClassName: Invalid value"}},
		{"mode", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.VolumeMode = new(corev1.PersistentVolumeMode("Odd"))
		}, []string{"spec.volumeMode: Unsupported value"}},
		{"source", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "Pod"}
		}, []string{"spec.dataSource.name: Required value", "spec.dataSource: Invalid value"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, refused(validateClaim(claim(tc.change), nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUpdateClaim(t *testing.T) {
	size := func(s string) func(*corev1.PersistentVolumeClaim) {
		return func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse(s)
		}
	}
	bound := func(then func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
		return claim(func(c *corev1.PersistentVolumeClaim) {
			c.Spec.VolumeName, c.Status.Phase = "pv", corev1.ClaimBound
			c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
			if then != nil {
				then(c)
			}
		})
	}
	for _, tc := range []struct {
		name     string
		now, old *corev1.PersistentVolumeClaim
		want     []string
	}{
		{"bind", claim(func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "pv" }), claim(nil), []string{}},
		{"bind anew", bound(func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "other" }), bound(nil), []string{"spec: Forbidden"}},
		{"grow", bound(size("2Gi")), bound(nil), []string{}},
		{"grow unbound", claim(size("2Gi")), claim(nil), []string{"spec: Forbidden"}},
		{"shrink", bound(size("512Mi")), bound(nil), []string{"spec.resources.requests.storage: Forbidden"}},
		{"take back a growth", bound(size("2Gi")), bound(size("3Gi")), []string{}},
		{"modes", claim(func(c *corev1.PersistentVolumeClaim) { c.Spec.AccessModes[0] = corev1.ReadWriteMany }), claim(nil), []string{"spec: Forbidden"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, refused(validateClaim(tc.now, tc.old))); diff != "" {
				t.Error(diff)
			}
		})
	}
	want := []any{"data", "Bound", "pv", "1Gi", "RWO", "", "<unset>", "<unknown>", "Filesystem"}
	if diff := cmp.Diff(want, PersistentVolumeClaims.Resource().Cells(bound(func(c *corev1.PersistentVolumeClaim) { c.Status.AccessModes = c.Spec.AccessModes }))); diff != "" {
		t.Error(diff)
	}
}

func TestReplicationController(t *testing.T) {
	made := func(change func(*corev1.ReplicationController)) *corev1.ReplicationController {
		rc := &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ReplicationControllerSpec{Template: &corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a:1"}}},
		}}}
		defaultReplicationController(rc)
		if change != nil {
			change(rc)
		}
		return rc
	}
	rc := made(nil)
	if diff := cmp.Diff([]any{int32(1), map[string]string{"app": "web"}, map[string]string{"app": "web"}}, []any{*rc.Spec.Replicas, rc.Spec.Selector, rc.Labels}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{"web", int64(1), int64(0), int64(0), "<unknown>", "a", "a:1", "app=web"}, ReplicationControllers.Resource().Cells(rc)); diff != "" {
		t.Error(diff)
	}
	for _, tc := range []struct {
		name   string
		change func(*corev1.ReplicationController)
		want   []string
	}{
		{"good", nil, []string{}},
		{"no selector", func(rc *corev1.ReplicationController) { rc.Spec.Selector = nil }, []string{"spec.selector: Required value"}},
		{"no template", func(rc *corev1.ReplicationController) { rc.Spec.Template = nil }, []string{"spec.template: Required value"}},
		{"numbers", func(rc *corev1.ReplicationController) { rc.Spec.Replicas, rc.Spec.MinReadySeconds = new(int32(-1)), -1 }, []string{"spec.minReadySeconds: Invalid value", "spec.replicas: Invalid value"}},
		{"labels", func(rc *corev1.ReplicationController) { rc.Spec.Selector = map[string]string{"app": "db"} }, []string{"spec.template.metadata.labels: Invalid value"}},
		{"restarts", func(rc *corev1.ReplicationController) { rc.Spec.Template.Spec.RestartPolicy = "Never" }, []string{"spec.template.spec.restartPolicy: Unsupported value"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, refused(validateReplicationController(made(tc.change), nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
