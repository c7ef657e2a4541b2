package storageversionmigration

import (
	"fmt"
	"time"

	migrationv1 "k8s.io/api/storagemigration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

type migration = migrationv1.StorageVersionMigration

// patience is for how long the kind may be unknown: its definition may have been made just before.
const patience = time.Minute

// step is what is to be done next.
type step int

const (
	nothing step = iota
	// begin notes up to which version objects are to be written anew.
	begin
	// write writes them.
	write
	// wait looks again in a moment whether the kind is known.
	wait
	fail
)

// next decides by the migration and by whether its kind is known.
func next(m *migration, known bool, now time.Time) step {
	switch {
	case m.DeletionTimestamp != nil || holds(m, migrationv1.MigrationSucceeded) || holds(m, migrationv1.MigrationFailed):
		return nothing
	case !known && now.Before(m.CreationTimestamp.Add(patience)):
		return wait
	case !known:
		return fail
	case m.Status.ResourceVersion == "":
		return begin
	}
	return write
}

func holds(m *migration, kind migrationv1.MigrationConditionType) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, string(kind))
}

// former are the objects that have not been written since the version.
func former(list []metav1.PartialObjectMetadata, version string) ([]*metav1.PartialObjectMetadata, error) {
	var out []*metav1.PartialObjectMetadata
	for i := range list {
		order, err := resourceversion.CompareResourceVersion(list[i].ResourceVersion, version)
		if err != nil {
			return nil, fmt.Errorf("compare version %q of %s: %w", list[i].ResourceVersion, list[i].Name, err)
		}
		if order <= 0 {
			out = append(out, &list[i])
		}
	}
	return out, nil
}

// verdict tells what the end of a write means.
type verdict int

const (
	// written: or somebody else has written or deleted the object, which is as good.
	written verdict = iota
	// again: the server could not do it now.
	again
	// refused: it never will.
	refused
)

func judge(err error) verdict {
	switch {
	case err == nil, apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return written
	case apierrors.IsServerTimeout(err), apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err), apierrors.IsInternalError(err), apierrors.IsTimeout(err):
		return again
	}
	return refused
}

// report sets the conditions: how many of all objects are left, and what has gone wrong.
func report(m *migration, left, all int, failure error, final bool, now metav1.Time) {
	text := "The migration is running"
	switch {
	case all > 0 && left > 0:
		text += fmt.Sprintf(", %d/%d objects not yet migrated", left, all)
	case all > 0:
		text += fmt.Sprintf(", %d objects verified migrated", all)
	}
	if failure != nil && !final {
		text += fmt.Sprintf("; transient error: %s", failure)
	}
	set := func(kind migrationv1.MigrationConditionType, reason, message string) {
		meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{
			Type: string(kind), Status: metav1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: now,
		})
	}
	set(migrationv1.MigrationRunning, "MigrationRunning", text)
	switch {
	case final && failure != nil:
		set(migrationv1.MigrationFailed, "StorageVersionMigrationFailed", fmt.Sprintf("migration encountered unhandled error: %s", failure))
	case final:
		set(migrationv1.MigrationSucceeded, "StorageVersionMigrationSucceeded", "Migration completed")
	}
}

// migrating sets the condition of a definition whose objects are written anew, or that this has ended. With it the definition
// forgets its former stored versions, if it is still the one that it was at the beginning.
func migrating(d *apiextensionsv1.CustomResourceDefinition, running, success bool, now metav1.Time) {
	c := apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.StorageMigrating, Status: apiextensionsv1.ConditionTrue, Reason: "MigrationRunning",
		Message: "The migration is running", LastTransitionTime: now, ObservedGeneration: d.Generation,
	}
	if !running {
		c.Status, c.Reason, c.Message = apiextensionsv1.ConditionFalse, "MigrationFailed", "The migration has failed"
	}
	if success {
		c.Reason, c.Message = "MigrationSucceeded", "The migration has succeeded"
	}
	same := false
	found := false
	for i := range d.Status.Conditions {
		have := &d.Status.Conditions[i]
		if have.Type != c.Type {
			continue
		}
		found, same = true, have.ObservedGeneration == d.Generation && have.Status == apiextensionsv1.ConditionTrue
		*have = c
	}
	if !found {
		d.Status.Conditions = append(d.Status.Conditions, c)
	}
	if !success || !same {
		return
	}
	for _, v := range d.Spec.Versions {
		if v.Storage {
			d.Status.StoredVersions = []string{v.Name}
		}
	}
}
