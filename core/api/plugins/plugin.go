// Package plugins declares the kinds of plugins.gantry.dev: which plugins run where, and swaps between them.
package plugins

import (
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// Plugins is all that the server, the printer and the docs know of Plugin.
var Plugins = api.Kind[v1alpha1.Plugin]{
	Group: "plugins.gantry.dev", Version: "v1alpha1", Name: "Plugin", Plural: "plugins", StoragePrefix: "plugins.gantry.dev/plugins", Categories: []string{"gantry"},
	Subresources: api.Status, Generation: true,
	Default: func(p *v1alpha1.Plugin) {
		r := &p.Spec.Rollout
		setDefault(&r.MaxUnavailable, intstr.FromInt32(1))
		setDefault(&r.HealthTimeoutSeconds, 60)
		setDefault(&r.AutomaticRollback, true)
		if p.Spec.Limits == nil {
			p.Spec.Limits = corev1.ResourceList{}
		}
		for name, value := range map[corev1.ResourceName]string{corev1.ResourceMemory: v1alpha1.DefaultMemory, corev1.ResourceCPU: v1alpha1.DefaultCPU} {
			if _, set := p.Spec.Limits[name]; !set {
				p.Spec.Limits[name] = resource.MustParse(value)
			}
		}
	},
	ValidateName: func(name string, _ bool) []string { return utilvalidation.IsDNS1123Label(name) },
	Validate:     validatePlugin,
	Columns: []api.Column[v1alpha1.Plugin]{
		api.NameColumn[v1alpha1.Plugin](),
		{Name: "Type", Description: "The contract that the plugin serves.", Cell: func(p *v1alpha1.Plugin) any { return string(p.Spec.Type) }},
		{Name: "Wanted", Type: "integer", Description: "Nodes that the selector picks.", Cell: func(p *v1alpha1.Plugin) any { return p.Status.NodesWanted }},
		{Name: "Ready", Type: "integer", Description: "Nodes where it answers.", Cell: func(p *v1alpha1.Plugin) any { return p.Status.NodesReady }},
		{Name: "Updated", Type: "integer", Description: "Nodes that run this generation.", Cell: func(p *v1alpha1.Plugin) any { return p.Status.NodesUpdated }},
		{Name: "Pods", Type: "integer", Description: "Pods that depend on it.", Cell: func(p *v1alpha1.Plugin) any { return p.Status.Pods }},
		api.AgeColumn[v1alpha1.Plugin](),
		{Name: "Source", Priority: 1, Description: "Where it comes from.", Cell: func(p *v1alpha1.Plugin) any { return p.Spec.Source.String() }},
		{Name: "Priority", Type: "integer", Priority: 1, Description: "The highest of a type is the default.", Cell: func(p *v1alpha1.Plugin) any { return p.Spec.Priority }},
		{Name: "Status", Priority: 1, Description: "What is wrong, if something is.", Cell: pluginState},
	},
}

func setDefault[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

func pluginState(p *v1alpha1.Plugin) any {
	if p.Spec.Disabled {
		return "Disabled"
	}
	for _, name := range []string{v1alpha1.Degraded, v1alpha1.Progressing} {
		if c := meta.FindStatusCondition(p.Status.Conditions, name); c != nil && c.Status == metav1.ConditionTrue {
			return c.Reason
		}
	}
	if meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.Available) {
		return "Available"
	}
	return "Unknown"
}

// types lists them as error messages do.
var types = []v1alpha1.Type{v1alpha1.Network, v1alpha1.Runtime, v1alpha1.Scheduler, v1alpha1.Service, v1alpha1.Storage}

func validateType(t v1alpha1.Type, path *field.Path) field.ErrorList {
	if t == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if !slices.Contains(types, t) {
		return field.ErrorList{field.NotSupported(path, t, types)}
	}
	return nil
}

func validatePlugin(p, old *v1alpha1.Plugin) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateType(p.Spec.Type, spec.Child("type"))
	errs = append(errs, validateSource(&p.Spec.Source, spec.Child("source"))...)
	errs = append(errs, metavalidation.ValidateLabels(p.Spec.NodeSelector, spec.Child("nodeSelector"))...)
	handlers := spec.Child("handlers")
	if len(p.Spec.Handlers) > 0 && p.Spec.Type != v1alpha1.Runtime {
		errs = append(errs, field.Forbidden(handlers, "only runtimes have handlers"))
	}
	for i, h := range p.Spec.Handlers {
		for _, text := range utilvalidation.IsDNS1123Label(h) {
			errs = append(errs, field.Invalid(handlers.Index(i), h, text))
		}
		if slices.Contains(p.Spec.Handlers[:i], h) {
			errs = append(errs, field.Duplicate(handlers.Index(i), h))
		}
	}
	errs = append(errs, validateLimits(p.Spec.Limits, spec.Child("limits"))...)
	rollout := spec.Child("rollout")
	errs = append(errs, validateUnavailable(p.Spec.Rollout.MaxUnavailable, rollout.Child("maxUnavailable"))...)
	errs = append(errs, validateTimeout(p.Spec.Rollout.HealthTimeoutSeconds, rollout.Child("healthTimeoutSeconds"))...)
	if old != nil {
		errs = append(errs, validation.ValidateImmutableField(p.Spec.Type, old.Spec.Type, spec.Child("type"))...)
	}
	return errs
}

// limitable are the resources that plugins can be limited in.
var limitable = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}

func validateLimits(l corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if !slices.Contains(limitable, name) {
			errs = append(errs, field.NotSupported(path.Key(string(name)), name, limitable))
		}
		if q := l[name]; q.Sign() < 0 {
			errs = append(errs, field.Invalid(path.Key(string(name)), q.String(), "must be greater than or equal to 0"))
		}
	}
	return errs
}

func validateUnavailable(v *intstr.IntOrString, path *field.Path) field.ErrorList {
	if v == nil {
		return nil
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, 100, true)
	if err != nil {
		return field.ErrorList{field.Invalid(path, v.String(), "must be an integer or a percentage (e.g. '5%')")}
	}
	if n < 1 {
		return field.ErrorList{field.Invalid(path, v.String(), "must be greater than 0")}
	}
	return nil
}

func validateTimeout(seconds *int32, path *field.Path) field.ErrorList {
	if seconds != nil && *seconds < 1 {
		return field.ErrorList{field.Invalid(path, *seconds, "must be greater than 0")}
	}
	return nil
}

var (
	digest = regexp.MustCompile(`^[0-9a-f]{64}$`)
	pinned = regexp.MustCompile(`^[^@\s]+@sha256:[0-9a-f]{64}$`)
)

func validateSource(s *v1alpha1.Source, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var set []string
	if s.Builtin != "" {
		set = append(set, "builtin")
		for _, text := range utilvalidation.IsDNS1123Label(s.Builtin) {
			errs = append(errs, field.Invalid(path.Child("builtin"), s.Builtin, text))
		}
	}
	if e := s.Executable; e != nil {
		set = append(set, "executable")
		errs = append(errs, validateFile(e.Path, path.Child("executable", "path"))...)
		if _, err := hex.DecodeString(e.SHA256); err != nil || !digest.MatchString(e.SHA256) {
			errs = append(errs, field.Invalid(path.Child("executable", "sha256"), e.SHA256, "must be a SHA-256 digest of 64 lower-case hexadecimal digits"))
		}
	}
	if i := s.Image; i != nil {
		set = append(set, "image")
		if !pinned.MatchString(i.Reference) {
			errs = append(errs, field.Invalid(path.Child("image", "reference"), i.Reference, "must end in @sha256: and a digest"))
		}
		if block, _ := pem.Decode([]byte(i.PublicKey)); i.PublicKey != "" && block == nil {
			errs = append(errs, field.Invalid(path.Child("image", "publicKey"), i.PublicKey, "must be a PEM block"))
		}
	}
	if s.Endpoint != "" {
		set = append(set, "endpoint")
		errs = append(errs, validateFile(s.Endpoint, path.Child("endpoint"))...)
	}
	switch len(set) {
	case 0:
		errs = append(errs, field.Required(path, "one of builtin, executable, image and endpoint"))
	case 1:
	default:
		errs = append(errs, field.Forbidden(path.Child(set[1]), fmt.Sprintf("may not be set together with %s", set[0])))
	}
	return errs
}

func validateFile(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if !filepath.IsAbs(name) || filepath.Clean(name) != name || strings.ContainsRune(name, 0) {
		return field.ErrorList{field.Invalid(path, name, "must be an absolute path without . and ..")}
	}
	return nil
}
