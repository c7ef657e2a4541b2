package config

import (
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	configv1 "k8s.io/kube-scheduler/config/v1"
	"sigs.k8s.io/json"

	"github.com/gantryio/gantry/core/scheduler/score"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// arguments are those of all plugins, with defaults.
type arguments struct {
	fit            configv1.NodeResourcesFitArgs
	balanced       configv1.NodeResourcesBalancedAllocationArgs
	interPod       configv1.InterPodAffinityArgs
	spread         configv1.PodTopologySpreadArgs
	affinity       configv1.NodeAffinityArgs
	preemption     configv1.DefaultPreemptionArgs
	volumes        configv1.VolumeBindingArgs
	addedRequired  *nodeaffinity.NodeSelector
	addedPreferred *nodeaffinity.PreferredSchedulingTerms
	others         map[string][]byte
}

func parseArgs(path *field.Path, list []configv1.PluginConfig) (*arguments, field.ErrorList) {
	a := &arguments{others: map[string][]byte{}}
	into := map[string]any{
		"NodeResourcesFit": &a.fit, "NodeResourcesBalancedAllocation": &a.balanced, "InterPodAffinity": &a.interPod,
		"PodTopologySpread": &a.spread, "NodeAffinity": &a.affinity, "DefaultPreemption": &a.preemption, "VolumeBinding": &a.volumes,
	}
	at, seen := map[string]*field.Path{}, map[string]bool{}
	for name := range into {
		at[name] = path.Key(name).Child("args")
	}
	var errs field.ErrorList
	for i := range list {
		c := &list[i]
		here := path.Index(i)
		if seen[c.Name] {
			errs = append(errs, field.Duplicate(here, c.Name))
			continue
		}
		seen[c.Name] = true
		at[c.Name] = here.Child("args")
		target := into[c.Name]
		if target == nil {
			if isBuiltin(c.Name) && len(c.Args.Raw) > 0 {
				errs = append(errs, field.Forbidden(here.Child("args"), c.Name+" takes no arguments"))
			}
			a.others[c.Name] = c.Args.Raw
			continue
		}
		if err := decodeArgs(c.Name, c.Args, target); err != nil {
			errs = append(errs, field.Invalid(here.Child("args"), string(c.Args.Raw), err.Error()))
		}
	}
	a.setDefaults()
	return a, append(errs, a.validate(at)...)
}

func decodeArgs(name string, raw runtime.RawExtension, target any) error {
	if len(raw.Raw) == 0 {
		return nil
	}
	strict, err := json.UnmarshalStrict(raw.Raw, target)
	if err = errors.Join(append(strict, err)...); err != nil {
		return err
	}
	var header struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(raw.Raw, &header); err != nil {
		return err
	}
	if header.Kind != "" && header.Kind != name+"Args" {
		return errors.New("has to match plugin args")
	}
	if header.APIVersion != "" && header.APIVersion != configv1.SchemeGroupVersion.String() {
		return errors.New("must be of " + configv1.SchemeGroupVersion.String())
	}
	return nil
}

func (a *arguments) setDefaults() {
	resources := func(list *[]configv1.ResourceSpec) {
		if len(*list) == 0 {
			*list = []configv1.ResourceSpec{{Name: string(corev1.ResourceCPU), Weight: 1}, {Name: string(corev1.ResourceMemory), Weight: 1}}
		}
		for i := range *list {
			if (*list)[i].Weight == 0 {
				(*list)[i].Weight = 1
			}
		}
	}
	if a.fit.ScoringStrategy == nil {
		a.fit.ScoringStrategy = &configv1.ScoringStrategy{Type: configv1.LeastAllocated}
	}
	resources(&a.fit.ScoringStrategy.Resources)
	resources(&a.balanced.Resources)
	if a.interPod.HardPodAffinityWeight == nil {
		a.interPod.HardPodAffinityWeight = new(int32(1))
	}
	if a.spread.DefaultingType == "" {
		a.spread.DefaultingType = configv1.SystemDefaulting
	}
	if a.preemption.MinCandidateNodesPercentage == nil {
		a.preemption.MinCandidateNodesPercentage = new(int32(10))
	}
	if a.preemption.MinCandidateNodesAbsolute == nil {
		a.preemption.MinCandidateNodesAbsolute = new(int32(100))
	}
}

func (a *arguments) spreadDefaults() *snapshot.SpreadDefaults {
	if a.spread.DefaultingType == configv1.SystemDefaulting {
		system := snapshot.SystemSpread
		return &system
	}
	return &snapshot.SpreadDefaults{Constraints: a.spread.DefaultConstraints}
}

func resources(list []configv1.ResourceSpec) []score.Resource {
	out := make([]score.Resource, len(list))
	for i, r := range list {
		out[i] = score.Resource{Name: corev1.ResourceName(r.Name), Weight: r.Weight}
	}
	return out
}

// fitScore is the strategy that is asked for. The scores of a shape go up to 10 in the file.
func (a *arguments) fitScore() score.NodeResourcesFit {
	s := a.fit.ScoringStrategy
	out := score.NodeResourcesFit{Resources: resources(s.Resources), Strategy: score.LeastAllocated}
	switch s.Type {
	case configv1.MostAllocated:
		out.Strategy = score.MostAllocated
	case configv1.RequestedToCapacityRatio:
		if s.RequestedToCapacityRatio == nil || len(s.RequestedToCapacityRatio.Shape) == 0 {
			return out // refused elsewhere
		}
		var points []score.Point
		for _, p := range s.RequestedToCapacityRatio.Shape {
			points = append(points, score.Point{Utilization: int64(p.Utilization), Score: int64(p.Score) * (score.Max / maxShapeScore)})
		}
		out.Strategy, out.Ratio = score.Shape(points), true
	}
	return out
}

const maxShapeScore = 10
