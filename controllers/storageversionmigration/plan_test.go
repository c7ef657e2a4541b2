package storageversionmigration

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	migrationv1 "k8s.io/api/storagemigration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestNext(t *testing.T) {
	made := time.Unix(1000, 0)
	for _, test := range []struct {
		name  string
		set   func(*migration)
		known bool
		after time.Duration
		want  step
	}{
		{"new", func(*migration) {}, true, 0, begin},
		{"begun", func(m *migration) { m.Status.ResourceVersion = "7" }, true, 0, write},
		{"unknown kind", func(*migration) {}, false, 59 * time.Second, wait},
		{"unknown kind for long", func(*migration) {}, false, 61 * time.Second, fail},
		{"done", func(m *migration) { report(m, 0, 1, nil, true, metav1.Now()) }, true, 0, nothing},
		{"failed", func(m *migration) { report(m, 0, 1, errors.New("no"), true, metav1.Now()) }, true, 0, nothing},
		{"being deleted", func(m *migration) { m.DeletionTimestamp = &metav1.Time{} }, true, 0, nothing},
	} {
		m := &migration{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(made)}}
		test.set(m)
		if got := next(m, test.known, made.Add(test.after)); got != test.want {
			t.Errorf("%s: step %d, want %d", test.name, got, test.want)
		}
	}
}

func TestFormer(t *testing.T) {
	object := func(version string) metav1.PartialObjectMetadata {
		return metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}}
	}
	got, err := former([]metav1.PartialObjectMetadata{object("9"), object("10"), object("11")}, "10")
	if err != nil || len(got) != 2 || got[1].ResourceVersion != "10" {
		t.Errorf("former objects: %v, %v", got, err)
	}
	if _, err := former([]metav1.PartialObjectMetadata{object("x")}, "10"); err == nil {
		t.Error("a version that is no number was compared")
	}
}

func TestJudge(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for _, test := range []struct {
		err  error
		want verdict
	}{
		{nil, written},
		{apierrors.NewConflict(pods, "a", errors.New("changed")), written},
		{apierrors.NewNotFound(pods, "a"), written},
		{apierrors.NewTooManyRequests("later", 1), again},
		{apierrors.NewForbidden(pods, "a", errors.New("no")), refused},
	} {
		if got := judge(test.err); got != test.want {
			t.Errorf("%v: verdict %d, want %d", test.err, got, test.want)
		}
	}
}

func TestReport(t *testing.T) {
	type condition struct{ Type, Message string }
	for _, test := range []struct {
		name      string
		left, all int
		err       error
		final     bool
		want      []condition
	}{
		{"half", 1, 2, nil, false, []condition{{"Running", "The migration is running, 1/2 objects not yet migrated"}}},
		{"trouble", 1, 2, errors.New("busy"), false, []condition{{"Running", "The migration is running, 1/2 objects not yet migrated; transient error: busy"}}},
		{"done", 0, 2, nil, true, []condition{{"Running", "The migration is running, 2 objects verified migrated"}, {"Succeeded", "Migration completed"}}},
		{"failed", 0, 0, errors.New("no"), true, []condition{{"Running", "The migration is running"}, {"Failed", "migration encountered unhandled error: no"}}},
	} {
		m := &migrationv1.StorageVersionMigration{}
		report(m, test.left, test.all, test.err, test.final, metav1.Now())
		var got []condition
		for _, c := range m.Status.Conditions {
			got = append(got, condition{c.Type, c.Message})
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestMigrating(t *testing.T) {
	d := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
	d.Spec.Versions = []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1"}, {Name: "v2", Storage: true}}
	d.Status.StoredVersions = []string{"v1", "v2"}
	migrating(d, true, false, metav1.Now())
	changed := d.DeepCopy()
	changed.Generation = 4
	for want, d := range map[string]*apiextensionsv1.CustomResourceDefinition{"v2": d, "v1": changed} {
		migrating(d, false, true, metav1.Now())
		if d.Status.StoredVersions[0] != want || d.Status.Conditions[0].Status != apiextensionsv1.ConditionFalse {
			t.Errorf("stored versions %v, conditions %v", d.Status.StoredVersions, d.Status.Conditions)
		}
	}
}
