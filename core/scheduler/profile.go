package scheduler

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/config"
	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/place"
)

// Config is how pods are scheduled; the package config reads it from a file.
type Config = config.Config

// DefaultConfig is kube-scheduler's.
func DefaultConfig() *Config { return config.Default() }

// profile is a profile with the plugins that it names.
type profile struct {
	*place.Profile
	plugins []*outside
}

func (p *profile) judges() []place.Judge {
	var out []place.Judge
	for _, o := range p.plugins {
		out = append(out, place.Judge{Name: o.Name, Weight: o.Weight, Usage: o.usage})
	}
	return out
}

// configure makes the profiles and extenders of the configuration.
func (s *Scheduler) configure() error {
	s.profiles, s.extenders = map[string]*profile{}, nil
	ignored, err := s.openExtenders()
	if err != nil {
		return err
	}
	for _, p := range s.Config.Profiles {
		own := *p.Profile
		for i, f := range own.Dynamic {
			if fit, ok := f.(filter.NodeResourcesFit); ok && len(ignored) > 0 {
				fit.Ignored = append(append([]string(nil), fit.Ignored...), ignored...)
				own.Dynamic = append([]filter.Filter(nil), own.Dynamic...)
				own.Dynamic[i] = fit
			}
		}
		made := &profile{Profile: &own}
		for _, plugin := range p.Plugins {
			o, err := s.openPlugin(plugin)
			if err != nil {
				return fmt.Errorf("make the scheduler's profile %s: %w", p.Name, err)
			}
			made.plugins = append(made.plugins, o)
		}
		s.profiles[p.Name] = made
	}
	return nil
}

// openExtenders returns the resources that extenders alone look after.
func (s *Scheduler) openExtenders() (ignored []string, err error) {
	for i := range s.Config.Extenders {
		e, err := newExtender(s.Config.Extenders[i])
		if err != nil {
			return nil, fmt.Errorf("make the extender %s: %w", s.Config.Extenders[i].URLPrefix, err)
		}
		s.extenders = append(s.extenders, e)
		for _, r := range e.ManagedResources {
			if r.IgnoredByScheduler {
				ignored = append(ignored, r.Name)
			}
		}
	}
	return ignored, nil
}

// extended tells whether an extender wants to see the pod.
func (s *Scheduler) extended(pod *corev1.Pod) bool {
	for _, e := range s.extenders {
		if e.concerns(pod) {
			return true
		}
	}
	return false
}
