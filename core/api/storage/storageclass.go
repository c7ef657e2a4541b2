package storage

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// The annotations that make a class the default one.
const (
	defaultClass     = "storageclass.kubernetes.io/is-default-class"
	betaDefaultClass = "storageclass.beta.kubernetes.io/is-default-class"
)

// StorageClasses is all that the server, the printer and the docs know of StorageClass.
var StorageClasses = api.Kind[storagev1.StorageClass]{
	Group: "storage.k8s.io", Version: "v1", Name: "StorageClass", Plural: "storageclasses", Short: []string{"sc"},
	Earlier:  []string{"storage.k8s.io/v1beta1"},
	Default:  defaultStorageClass,
	Validate: validateStorageClass,
	Columns: []api.Column[storagev1.StorageClass]{
		{Name: "Name", Format: "name", Description: "Name must be unique within a namespace.", Cell: func(c *storagev1.StorageClass) any { return className(c) }},
		{Name: "Provisioner", Description: "Who makes the volumes of the class.", Cell: func(c *storagev1.StorageClass) any { return c.Provisioner }},
		{Name: "ReclaimPolicy", Description: "What becomes of a volume when its claim is gone.", Cell: func(c *storagev1.StorageClass) any { return reclaimPolicy(c) }},
		{Name: "VolumeBindingMode", Description: "When claims are bound.", Cell: func(c *storagev1.StorageClass) any { return bindingMode(c) }},
		{Name: "AllowVolumeExpansion", Description: "Whether claims may grow.", Cell: func(c *storagev1.StorageClass) any { return isTrue(c.AllowVolumeExpansion) }},
		api.AgeColumn[storagev1.StorageClass](),
	},
}

// IsDefault tells whether claims that name no class may get this one.
func IsDefault(c *storagev1.StorageClass) bool {
	return c.Annotations[defaultClass] == "true" || c.Annotations[betaDefaultClass] == "true"
}

// Preferred is the class that claims without one get: of several defaults the newest, nil when there is none.
func Preferred(classes []*storagev1.StorageClass) *storagev1.StorageClass {
	var out *storagev1.StorageClass
	for _, c := range classes {
		if !IsDefault(c) {
			continue
		}
		newer := out == nil || out.CreationTimestamp.Before(&c.CreationTimestamp)
		if newer || out.CreationTimestamp.Equal(&c.CreationTimestamp) && c.Name < out.Name {
			out = c
		}
	}
	return out
}

func className(c *storagev1.StorageClass) string {
	if IsDefault(c) {
		return c.Name + " (default)"
	}
	return c.Name
}

func reclaimPolicy(c *storagev1.StorageClass) string {
	if c.ReclaimPolicy == nil {
		return string(corev1.PersistentVolumeReclaimDelete)
	}
	return string(*c.ReclaimPolicy)
}

func bindingMode(c *storagev1.StorageClass) string {
	if c.VolumeBindingMode == nil {
		return "<unset>"
	}
	return string(*c.VolumeBindingMode)
}

func defaultStorageClass(c *storagev1.StorageClass) {
	if c.ReclaimPolicy == nil {
		c.ReclaimPolicy = new(corev1.PersistentVolumeReclaimDelete)
	}
	if c.VolumeBindingMode == nil {
		c.VolumeBindingMode = new(storagev1.VolumeBindingImmediate)
	}
}

func validateStorageClass(c, old *storagev1.StorageClass) field.ErrorList {
	errs := validateDriver(c.Provisioner, field.NewPath("provisioner"))
	errs = append(errs, validateParameters(c.Parameters, field.NewPath("parameters"))...)
	policies := []corev1.PersistentVolumeReclaimPolicy{corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain}
	if p := c.ReclaimPolicy; *p != "" && !slices.Contains(policies, *p) {
		errs = append(errs, field.NotSupported(field.NewPath("reclaimPolicy"), *p, policies))
	}
	modes := []storagev1.VolumeBindingMode{storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer}
	if m := c.VolumeBindingMode; !slices.Contains(modes, *m) {
		errs = append(errs, field.NotSupported(field.NewPath("volumeBindingMode"), *m, modes))
	}
	errs = append(errs, validateTopologies(c.AllowedTopologies, field.NewPath("allowedTopologies"))...)
	if old == nil {
		return errs
	}
	if !maps.Equal(c.Parameters, old.Parameters) {
		errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
	}
	if c.Provisioner != old.Provisioner {
		errs = append(errs, field.Forbidden(field.NewPath("provisioner"), "updates to provisioner are forbidden."))
	}
	if *c.ReclaimPolicy != *old.ReclaimPolicy {
		errs = append(errs, field.Forbidden(field.NewPath("reclaimPolicy"), "updates to reclaimPolicy are forbidden."))
	}
	return append(errs, validation.ValidateImmutableField(c.VolumeBindingMode, old.VolumeBindingMode, field.NewPath("volumeBindingMode"))...)
}

func validateTopologies(terms []corev1.TopologySelectorTerm, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	var seen []map[string]sets.Set[string]
	for i := range terms {
		term, more := validateTopology(terms[i], p.Index(i).Child("matchLabelExpressions"))
		errs = append(errs, more...)
		if slices.ContainsFunc(seen, func(o map[string]sets.Set[string]) bool { return equality.Semantic.DeepEqual(o, term) }) {
			errs = append(errs, field.Duplicate(p.Index(i).Child("matchLabelExpressions"), ""))
		}
		seen = append(seen, term)
	}
	return errs
}

func validateTopology(term corev1.TopologySelectorTerm, p *field.Path) (map[string]sets.Set[string], field.ErrorList) {
	var errs field.ErrorList
	out := map[string]sets.Set[string]{}
	for i, r := range term.MatchLabelExpressions {
		values := sets.New[string]()
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(p.Index(i).Child("values"), ""))
		}
		for j, v := range r.Values {
			if values.Has(v) {
				errs = append(errs, field.Duplicate(p.Index(i).Child("values").Index(j), v))
			}
			values.Insert(v)
		}
		errs = append(errs, metavalidation.ValidateLabelName(r.Key, p.Index(i).Child("key"))...)
		if _, ok := out[r.Key]; ok {
			errs = append(errs, field.Duplicate(p.Index(i).Child("key"), r.Key))
		}
		out[r.Key] = values
	}
	return out, errs
}
