package control

import (
	"bytes"
	"testing"

	schedulingv1 "k8s.io/api/scheduling/v1"
	migrationv1 "k8s.io/api/storagemigration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// migrate writes all objects of a resource anew and waits for the end.
func (c *cluster) migrate(group, resource string, end migrationv1.MigrationConditionType) {
	c.t.Helper()
	m := &migrationv1.StorageVersionMigration{ObjectMeta: metav1.ObjectMeta{Name: resource}}
	m.Spec.Resource = metav1.GroupResource{Group: group, Resource: resource}
	c.must(c.Create(c.ctx, m))
	until(c, &migrationv1.StorageVersionMigrationList{}, "", func(l *migrationv1.StorageVersionMigrationList) string {
		for i := range l.Items {
			if l.Items[i].Name == resource && meta.IsStatusConditionTrue(l.Items[i].Status.Conditions, string(end)) {
				return ""
			}
		}
		return "the migration of " + resource + " has not ended"
	})
}

func (c *cluster) stored(key string) []byte {
	c.t.Helper()
	kv, ok, err := c.store.Get(c.ctx, key)
	if err != nil || !ok {
		c.t.Fatalf("read %s: %v, %v", key, ok, err)
	}
	return kv.Value
}

// TestMigration writes anew what is stored as JSON, and the objects of a definition whose stored version has changed.
func TestMigration(t *testing.T) {
	c := start(t)
	const key = "/registry/priorityclasses/old"
	if _, err := c.store.Create(c.ctx, key, []byte(`{"apiVersion":"scheduling.k8s.io/v1","kind":"PriorityClass","metadata":{"name":"old","uid":"1","creationTimestamp":"2020-01-01T00:00:00Z"},"value":7}`), 0); err != nil {
		t.Fatal(err)
	}
	until(c, &schedulingv1.PriorityClassList{}, "", func(l *schedulingv1.PriorityClassList) string {
		for _, p := range l.Items {
			if p.Name == "old" {
				return want("value", p.Value, 7)
			}
		}
		return "the class has not come"
	})
	current := c.stored("/registry/priorityclasses/system-node-critical")
	c.migrate("scheduling.k8s.io", "priorityclasses", migrationv1.MigrationSucceeded)
	if got := c.stored(key); !bytes.HasPrefix(got, []byte("k8s\x00")) {
		t.Errorf("still stored as %q", got)
	}
	if got := c.stored("/registry/priorityclasses/system-node-critical"); !bytes.Equal(got, current) {
		t.Error("what was stored in the present form was written anew")
	}

	c.defineWidgets("first")
	d := &apiextensionsv1.CustomResourceDefinition{}
	c.must(c.Get(c.ctx, types.NamespacedName{Name: "widgets.example.com"}, d))
	d = d.DeepCopy()
	next := *d.Spec.Versions[0].DeepCopy()
	next.Name, d.Spec.Versions[0].Storage = "v2", false
	d.Spec.Versions = append(d.Spec.Versions, next)
	c.must(c.Update(c.ctx, d))
	c.server.SyncDefinitions(c.ctx)
	c.migrate("example.com", "widgets", migrationv1.MigrationSucceeded)
	if got := c.stored("/registry/example.com/widgets/first/other"); !bytes.Contains(got, []byte(`"apiVersion":"example.com/v2"`)) {
		t.Errorf("still stored as %q", got)
	}
	until(c, &apiextensionsv1.CustomResourceDefinitionList{}, "", func(l *apiextensionsv1.CustomResourceDefinitionList) string {
		return want("stored versions", len(l.Items[0].Status.StoredVersions), 1) + want("stored version", l.Items[0].Status.StoredVersions[0], "v2")
	})
}
