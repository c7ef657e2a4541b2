package storagemigration

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	migrationv1 "k8s.io/api/storagemigration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func refused(errs field.ErrorList) []string {
	out := []string{}
	for _, err := range errs {
		out = append(out, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	return out
}

func of(group, resource string) *migration {
	m := &migration{ObjectMeta: metav1.ObjectMeta{Name: "m"}}
	m.Spec.Resource = metav1.GroupResource{Group: group, Resource: resource}
	return m
}

func TestSpec(t *testing.T) {
	for _, test := range []struct {
		name   string
		m, old *migration
		want   []string
	}{
		{"core", of("", "pods"), nil, []string{}},
		{"nothing", of("", ""), nil, []string{"spec.resource.resource: Required value"}},
		{"odd", of("A", "pods/status"), nil, []string{"spec.resource.resource: Invalid value", "spec.resource.group: Invalid value"}},
		{"changed", of("apps", "deployments"), of("", "pods"), []string{"spec: Invalid value"}},
	} {
		if diff := cmp.Diff(test.want, refused(validateMigration(test.m, test.old))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestStatus(t *testing.T) {
	status := func(version string, conditions ...migrationv1.MigrationConditionType) *migration {
		m := of("", "pods")
		m.Status.ResourceVersion = version
		for _, c := range conditions {
			m.Status.Conditions = append(m.Status.Conditions, metav1.Condition{Type: string(c), Status: "True", Reason: "R", LastTransitionTime: metav1.Unix(1, 0)})
		}
		return m
	}
	const running, done, failed = migrationv1.MigrationRunning, migrationv1.MigrationSucceeded, migrationv1.MigrationFailed
	for _, test := range []struct {
		name   string
		m, old *migration
		want   []string
		state  string
	}{
		{"first", status("7"), status(""), []string{}, "Unknown"},
		{"running", status("7", running), status("7"), []string{}, "Running"},
		{"done", status("7", running, done), status("7", running), []string{}, "Succeeded"},
		{"another version", status("8"), status("7"), []string{"status.resourceVersion: Invalid value"}, "Unknown"},
		{"no version", status("x"), status(""), []string{"status.resourceVersion: Invalid value"}, "Unknown"},
		{"both", status("7", done, failed), status("7"), []string{"status.conditions: Invalid value"}, "Failed"},
		{"undone", status("7", running), status("7", done), []string{"status.conditions: Invalid value"}, "Running"},
		{"repaired", status("7", running), status("7", failed), []string{"status.conditions: Invalid value"}, "Running"},
	} {
		if diff := cmp.Diff(test.want, refused(validateStatus(test.m, test.old))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if got := state(test.m); got != test.state {
			t.Errorf("%s: state %q, want %q", test.name, got, test.state)
		}
	}
}
