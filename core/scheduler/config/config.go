// Package config reads kube-scheduler's configuration file, kubescheduler.config.k8s.io/v1, and turns it
// into what the scheduler works by. It exists so that a file that was written for kube-scheduler serves
// here, and so that one that cannot be honoured is refused with the path of the field.
package config

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	configv1 "k8s.io/kube-scheduler/config/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/gantryio/gantry/core/scheduler/place"
)

// Config is how pods are scheduled.
type Config struct {
	Profiles []Profile
	// InitialBackoff and MaxBackoff are the delays before a pod is tried again whose binding failed.
	InitialBackoff, MaxBackoff time.Duration
	Extenders                  []configv1.Extender
}

// Profile is how the pods of one schedulerName are placed.
type Profile struct {
	*place.Profile
	// Plugins run in processes of their own.
	Plugins []Plugin
}

// Plugin is one that a profile names and that is not built in.
type Plugin struct {
	Name          string
	Filter, Score bool
	Weight        int64
	// Args are its arguments as JSON, nil for none.
	Args []byte
}

const (
	kind           = "KubeSchedulerConfiguration"
	initialBackoff = time.Second
	maxBackoff     = 10 * time.Second
)

// Default is kube-scheduler's configuration without a file.
func Default() *Config {
	return &Config{
		Profiles:       []Profile{{Profile: place.Default(corev1.DefaultSchedulerName)}},
		InitialBackoff: initialBackoff, MaxBackoff: maxBackoff,
	}
}

// Parse reads a file. Fields that are not known are errors.
func Parse(data []byte) (*Config, error) {
	text, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, fmt.Errorf("read the scheduler's configuration: %w", err)
	}
	var file configv1.KubeSchedulerConfiguration
	strict, err := json.UnmarshalStrict(text, &file)
	if err = errors.Join(append(strict, err)...); err != nil {
		return nil, fmt.Errorf("read the scheduler's configuration: %w", err)
	}
	if file.APIVersion != configv1.SchemeGroupVersion.String() || file.Kind != kind {
		return nil, fmt.Errorf("read the scheduler's configuration: it is a %q of %q, not a %s of %s", file.Kind, file.APIVersion, kind, configv1.SchemeGroupVersion)
	}
	out, errs := build(&file)
	if err := utilerrors.Flatten(errs.ToAggregate()); err != nil && len(errs) > 0 {
		return nil, fmt.Errorf("check the scheduler's configuration: %w", err)
	}
	return out, nil
}

func build(file *configv1.KubeSchedulerConfiguration) (*Config, field.ErrorList) {
	out := &Config{InitialBackoff: initialBackoff, MaxBackoff: maxBackoff, Extenders: file.Extenders}
	errs := validateGlobals(file)
	if s := file.PodInitialBackoffSeconds; s != nil {
		out.InitialBackoff = time.Duration(*s) * time.Second
	}
	if s := file.PodMaxBackoffSeconds; s != nil {
		out.MaxBackoff = time.Duration(*s) * time.Second
	}
	if out.MaxBackoff < out.InitialBackoff {
		errs = append(errs, field.Invalid(field.NewPath("podMaxBackoffSeconds"), int64(out.MaxBackoff/time.Second), "must be greater than or equal to PodInitialBackoffSeconds"))
	}
	profiles := file.Profiles
	if len(profiles) == 0 {
		profiles = []configv1.KubeSchedulerProfile{{}}
	}
	names := map[string]*field.Path{}
	for i := range profiles {
		at := field.NewPath("profiles").Index(i)
		p := &profiles[i]
		if p.SchedulerName == nil && len(profiles) == 1 {
			p.SchedulerName = new(corev1.DefaultSchedulerName)
		}
		if p.SchedulerName == nil || *p.SchedulerName == "" {
			errs = append(errs, field.Required(at.Child("schedulerName"), ""))
			continue
		}
		if first := names[*p.SchedulerName]; first != nil {
			errs = append(errs, field.Duplicate(at.Child("schedulerName"), first.Child("schedulerName").String()))
		}
		names[*p.SchedulerName] = at
		profile, more := buildProfile(at, p)
		errs = append(errs, more...)
		out.Profiles = append(out.Profiles, profile)
	}
	return out, append(errs, validateExtenders(file.Extenders)...)
}

func validateGlobals(file *configv1.KubeSchedulerConfiguration) field.ErrorList {
	var errs field.ErrorList
	if n := file.Parallelism; n != nil && *n <= 0 {
		errs = append(errs, field.Invalid(field.NewPath("parallelism"), *n, "should be an integer value greater than zero"))
	}
	errs = append(errs, validatePercentage(field.NewPath("percentageOfNodesToScore"), file.PercentageOfNodesToScore)...)
	if n := file.PodInitialBackoffSeconds; n != nil && *n <= 0 {
		errs = append(errs, field.Invalid(field.NewPath("podInitialBackoffSeconds"), *n, "must be greater than 0"))
	}
	return errs
}

func validatePercentage(at *field.Path, n *int32) field.ErrorList {
	if n != nil && (*n < 0 || *n > 100) {
		return field.ErrorList{field.Invalid(at, *n, "not in valid range [0-100]")}
	}
	return nil
}
