package storage

import (
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const (
	minTokenSeconds  = 10 * 60
	maxTokenSeconds  = 1 << 32
	minUpdateSeconds = 10
)

// CSIDrivers is all that the server, the printer and the docs know of CSIDriver.
var CSIDrivers = api.Kind[storagev1.CSIDriver]{
	Group: "storage.k8s.io", Version: "v1", Name: "CSIDriver", Plural: "csidrivers",
	Earlier:                      []string{"storage.k8s.io/v1beta1"},
	UnconditionalUpdateForbidden: true,
	Default:                      defaultDriver,
	Prepare:                      prepareDriver,
	Validate:                     validateCSIDriver,
	Columns: []api.Column[storagev1.CSIDriver]{
		api.NameColumn[storagev1.CSIDriver](),
		{Name: "AttachRequired", Type: "boolean", Description: "Whether volumes are attached before they are mounted.", Cell: func(d *storagev1.CSIDriver) any { return d.Spec.AttachRequired == nil || *d.Spec.AttachRequired }},
		{Name: "PodInfoOnMount", Type: "boolean", Description: "Whether the driver is told of the pod.", Cell: func(d *storagev1.CSIDriver) any { return isTrue(d.Spec.PodInfoOnMount) }},
		{Name: "StorageCapacity", Type: "boolean", Description: "Whether the driver tells how much room there is.", Cell: func(d *storagev1.CSIDriver) any { return isTrue(d.Spec.StorageCapacity) }},
		{Name: "TokenRequests", Description: "The audiences of the tokens that the driver gets.", Cell: func(d *storagev1.CSIDriver) any { return audiences(d) }},
		{Name: "RequiresRepublish", Type: "boolean", Description: "Whether volumes are published again and again.", Cell: func(d *storagev1.CSIDriver) any { return isTrue(d.Spec.RequiresRepublish) }},
		{Name: "Modes", Description: "The kinds of volumes that the driver has.", Cell: func(d *storagev1.CSIDriver) any { return lifecycleModes(d) }},
		api.AgeColumn[storagev1.CSIDriver](),
	},
}

func audiences(d *storagev1.CSIDriver) string {
	if d.Spec.TokenRequests == nil {
		return "<unset>"
	}
	var out []string
	for _, t := range d.Spec.TokenRequests {
		out = append(out, t.Audience)
	}
	return strings.Join(out, ",")
}

func lifecycleModes(d *storagev1.CSIDriver) string {
	if len(d.Spec.VolumeLifecycleModes) == 0 {
		return "<none>"
	}
	var out []string
	for _, m := range d.Spec.VolumeLifecycleModes {
		out = append(out, string(m))
	}
	return strings.Join(out, ",")
}

func defaultDriver(d *storagev1.CSIDriver) {
	s := &d.Spec
	for _, f := range []struct {
		field **bool
		value bool
	}{{&s.AttachRequired, true}, {&s.PodInfoOnMount, false}, {&s.StorageCapacity, false}, {&s.RequiresRepublish, false}, {&s.SELinuxMount, false}} {
		if *f.field == nil {
			*f.field = new(f.value)
		}
	}
	if s.FSGroupPolicy == nil {
		s.FSGroupPolicy = new(storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
	}
	if len(s.VolumeLifecycleModes) == 0 {
		s.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}
	}
}

// prepareDriver counts changes; a new driver has the generation 0, as in Kubernetes.
func prepareDriver(d, old *storagev1.CSIDriver) {
	if old != nil && !equality.Semantic.DeepEqual(d.Spec, old.Spec) {
		d.Generation = old.Generation + 1
	}
}

func validateCSIDriver(d, old *storagev1.CSIDriver) field.ErrorList {
	p, s := field.NewPath("spec"), &d.Spec
	var errs field.ErrorList
	policies := []storagev1.FSGroupPolicy{storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy}
	if f := s.FSGroupPolicy; f != nil && !slices.Contains(policies, *f) {
		errs = append(errs, field.NotSupported(p.Child("fsGroupPolicy"), *f, policies))
	}
	errs = append(errs, validateTokenRequests(s.TokenRequests, p.Child("tokenRequests"))...)
	modes := []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral}
	for _, m := range s.VolumeLifecycleModes {
		if !slices.Contains(modes, m) {
			errs = append(errs, field.NotSupported(p.Child("volumeLifecycleModes"), m, modes))
		}
	}
	if u := s.NodeAllocatableUpdatePeriodSeconds; u != nil && *u < minUpdateSeconds {
		errs = append(errs, field.Invalid(p.Child("nodeAllocatableUpdatePeriodSeconds"), *u, "must be greater than or equal to 10 seconds"))
	}
	if s.ServiceAccountTokenInSecrets != nil && len(s.TokenRequests) == 0 {
		errs = append(errs, field.Invalid(p.Child("serviceAccountTokenInSecrets"), *s.ServiceAccountTokenInSecrets, "serviceAccountTokenInSecrets is only valid when tokenRequests is set"))
	}
	if old == nil {
		return errs
	}
	// Kubernetes spells the path so.
	errs = append(errs, validation.ValidateImmutableField(s.AttachRequired, old.Spec.AttachRequired, p.Child("attachedRequired"))...)
	return append(errs, validation.ValidateImmutableField(s.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes, p.Child("volumeLifecycleModes"))...)
}

func validateTokenRequests(list []storagev1.TokenRequest, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, r := range list {
		if seen[r.Audience] {
			errs = append(errs, field.Duplicate(p.Index(i).Child("audience"), r.Audience))
			continue
		}
		seen[r.Audience] = true
		switch s := r.ExpirationSeconds; {
		case s == nil:
		case *s < minTokenSeconds:
			errs = append(errs, field.Invalid(p.Index(i).Child("expirationSeconds"), *s, "may not specify a duration less than 10 minutes"))
		case *s > maxTokenSeconds:
			errs = append(errs, field.Invalid(p.Index(i).Child("expirationSeconds"), *s, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	return errs
}
