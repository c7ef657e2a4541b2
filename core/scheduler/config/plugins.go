package config

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
	configv1 "k8s.io/kube-scheduler/config/v1"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/place"
	"github.com/gantryio/gantry/core/scheduler/score"
)

// builtin are kube-scheduler's default plugins, in its order and with its weights; at which points they
// act here.
var builtin = []struct {
	name          string
	weight        int32
	filter, score bool
}{
	{name: "SchedulingGates"},
	{name: "PrioritySort"},
	{name: "NodeUnschedulable", filter: true},
	{name: "NodeName", filter: true},
	{name: "TaintToleration", weight: 3, filter: true, score: true},
	{name: "NodeAffinity", weight: 2, filter: true, score: true},
	{name: "NodePorts", filter: true},
	{name: "NodeResourcesFit", weight: 1, filter: true, score: true},
	{name: "VolumeRestrictions", filter: true},
	{name: "NodeVolumeLimits", filter: true},
	{name: "VolumeBinding", filter: true},
	{name: "VolumeZone", filter: true},
	{name: "PodTopologySpread", weight: 2, filter: true, score: true},
	{name: "InterPodAffinity", weight: 2, filter: true, score: true},
	{name: "DefaultPreemption"},
	{name: "NodeResourcesBalancedAllocation", weight: 1, score: true},
	{name: "ImageLocality", weight: 1, score: true},
	{name: "DefaultBinder"},
}

func isBuiltin(name string) bool {
	for _, b := range builtin {
		if b.name == name {
			return true
		}
	}
	return false
}

// enabled is the plugins of a point with their weights, in order.
type enabled []configv1.Plugin

func (e enabled) weight(name string) (int64, bool) {
	for _, p := range e {
		if p.Name == name {
			if p.Weight == nil || *p.Weight == 0 {
				return 1, true
			}
			return int64(*p.Weight), true
		}
	}
	return 0, false
}

// multiPoint merges what is enabled and disabled at all points into the defaults.
func multiPoint(set configv1.PluginSet) enabled {
	var out enabled
	replaced := map[string]bool{}
	for _, b := range builtin {
		if disables(set, b.name) {
			continue
		}
		p := configv1.Plugin{Name: b.name, Weight: new(b.weight)}
		if i := slices.IndexFunc(set.Enabled, func(e configv1.Plugin) bool { return e.Name == b.name }); i >= 0 {
			p, replaced[b.name] = set.Enabled[i], true
		}
		out = append(out, p)
	}
	for _, p := range set.Enabled {
		if !replaced[p.Name] {
			out = append(out, p)
		}
	}
	return out
}

func disables(set configv1.PluginSet, name string) bool {
	return slices.ContainsFunc(set.Disabled, func(p configv1.Plugin) bool { return p.Name == name || p.Name == "*" })
}

// at is what is enabled at one point, given what is at all points.
func at(all enabled, set configv1.PluginSet) enabled {
	var out enabled
	for _, p := range all {
		named := slices.ContainsFunc(set.Enabled, func(e configv1.Plugin) bool { return e.Name == p.Name })
		if !named && !disables(set, p.Name) {
			out = append(out, p)
		}
	}
	return append(out, set.Enabled...)
}

func buildProfile(path *field.Path, p *configv1.KubeSchedulerProfile) (Profile, field.ErrorList) {
	plugins := p.Plugins
	if plugins == nil {
		plugins = &configv1.Plugins{}
	}
	errs := validatePercentage(path.Child("percentageOfNodesToScore"), p.PercentageOfNodesToScore)
	args, more := parseArgs(path.Child("pluginConfig"), p.PluginConfig)
	errs = append(append(errs, more...), validatePoints(path.Child("plugins"), plugins)...)
	all := multiPoint(plugins.MultiPoint)
	filters, scores := at(all, plugins.Filter), at(all, plugins.Score)
	out := Profile{Profile: &place.Profile{Name: *p.SchedulerName}}
	buildFilters(out.Profile, filters, args)
	buildScores(out.Profile, scores, args)
	if _, ok := at(all, plugins.PostFilter).weight("DefaultPreemption"); ok {
		out.Preempt, out.CandidatePercent, out.Candidates = true, int(*args.preemption.MinCandidateNodesPercentage), int(*args.preemption.MinCandidateNodesAbsolute)
	}
	out.Plugins = outside(filters, scores, args)
	return out, errs
}

func buildFilters(out *place.Profile, on enabled, args *arguments) {
	has := func(name string) bool { _, ok := on.weight(name); return ok }
	add := func(list *[]filter.Filter, f filter.Filter) {
		if has(f.Name()) {
			*list = append(*list, f)
		}
	}
	add(&out.Static, filter.NodeUnschedulable{})
	add(&out.Static, filter.NodeName{})
	add(&out.Static, filter.TaintToleration{})
	add(&out.Static, filter.NodeAffinity{Added: args.addedRequired})
	add(&out.Dynamic, filter.NodePorts{})
	add(&out.Dynamic, filter.NodeResourcesFit{Ignored: args.fit.IgnoredResources, IgnoredGroups: args.fit.IgnoredResourceGroups})
	add(&out.Dynamic, filter.VolumeRestrictions{})
	add(&out.Dynamic, filter.NodeVolumeLimits{})
	add(&out.Dynamic, filter.VolumeBinding{})
	add(&out.Dynamic, filter.VolumeZone{})
	if has("VolumeBinding") {
		out.BindTimeout = place.DefaultBindTimeout
		if t := args.volumes.BindTimeoutSeconds; t != nil && *t > 0 {
			out.BindTimeout = time.Duration(*t) * time.Second
		}
	}
	out.FilterSpread, out.FilterInterPod = has("PodTopologySpread"), has("InterPodAffinity")
}

func buildScores(out *place.Profile, on enabled, args *arguments) {
	if w, ok := on.weight("NodeResourcesFit"); ok {
		out.Scores = append(out.Scores, score.Weighted{Score: args.fitScore(), Weight: w})
	}
	if w, ok := on.weight("NodeResourcesBalancedAllocation"); ok {
		out.Scores = append(out.Scores, score.Weighted{Score: score.NodeResourcesBalancedAllocation{Resources: resources(args.balanced.Resources)}, Weight: w})
	}
	out.TaintWeight, _ = on.weight("TaintToleration")
	out.AffinityWeight, _ = on.weight("NodeAffinity")
	out.ImageWeight, _ = on.weight("ImageLocality")
	out.SpreadWeight, _ = on.weight("PodTopologySpread")
	out.InterPodWeight, _ = on.weight("InterPodAffinity")
	out.AddedPreferred = args.addedPreferred
	out.HardWeight, out.IgnoreExisting = int64(*args.interPod.HardPodAffinityWeight), args.interPod.IgnorePreferredTermsOfExistingPods
	out.Spread = args.spreadDefaults()
}

// outside lists the plugins that are not built in.
func outside(filters, scores enabled, args *arguments) []Plugin {
	var out []Plugin
	find := func(name string) *Plugin {
		for i := range out {
			if out[i].Name == name {
				return &out[i]
			}
		}
		out = append(out, Plugin{Name: name, Args: args.others[name]})
		return &out[len(out)-1]
	}
	for _, p := range filters {
		if !isBuiltin(p.Name) {
			find(p.Name).Filter = true
		}
	}
	for _, p := range scores {
		if !isBuiltin(p.Name) {
			o := find(p.Name)
			o.Score = true
			o.Weight, _ = scores.weight(p.Name)
		}
	}
	return out
}

// validatePoints refuses what cannot be honoured, lest it be ignored silently.
func validatePoints(path *field.Path, p *configv1.Plugins) field.ErrorList {
	var errs field.ErrorList
	sets := []struct {
		name   string
		set    configv1.PluginSet
		needed string // the built-in plugin that the point cannot do without
		others bool   // plugins of one's own may act there
	}{
		{"multiPoint", p.MultiPoint, "", true},
		{"filter", p.Filter, "", true},
		{"score", p.Score, "", true},
		{"queueSort", p.QueueSort, "PrioritySort", false},
		{"bind", p.Bind, "DefaultBinder", false},
		{"preEnqueue", p.PreEnqueue, "SchedulingGates", false},
		{"preFilter", p.PreFilter, "", false},
		{"preScore", p.PreScore, "", false},
		{"postFilter", p.PostFilter, "", false},
		{"reserve", p.Reserve, "", false},
		{"permit", p.Permit, "", false},
		{"preBind", p.PreBind, "", false},
		{"postBind", p.PostBind, "", false},
		{"placementGenerate", p.PlacementGenerate, "", false},
		{"placementScore", p.PlacementScore, "", false},
		{"podGroupPostFilter", p.PodGroupPostFilter, "", false},
	}
	for _, s := range sets {
		seen := map[string]bool{}
		for i, e := range s.set.Enabled {
			at := path.Child(s.name, "enabled").Index(i)
			switch {
			case e.Name == "":
				errs = append(errs, field.Required(at.Child("name"), ""))
			case seen[e.Name]:
				errs = append(errs, field.Duplicate(at.Child("name"), e.Name))
			case !s.others && !isBuiltin(e.Name):
				errs = append(errs, field.NotSupported(at.Child("name"), e.Name, builtinNames()))
			}
			if e.Weight != nil && (*e.Weight < 0 || *e.Weight > maxWeight) {
				errs = append(errs, field.Invalid(at.Child("weight"), *e.Weight, fmt.Sprintf("not in valid range [0, %d]", maxWeight)))
			}
			seen[e.Name] = true
		}
		if s.needed != "" && disables(s.set, s.needed) && !seen[s.needed] {
			errs = append(errs, field.Forbidden(path.Child(s.name, "disabled"), s.needed+" cannot be done without"))
		}
	}
	for _, needed := range []string{"SchedulingGates", "PrioritySort", "DefaultBinder"} {
		if _, ok := multiPoint(p.MultiPoint).weight(needed); !ok && !slices.ContainsFunc(append(slices.Clone(p.QueueSort.Enabled), append(p.Bind.Enabled, p.PreEnqueue.Enabled...)...), func(e configv1.Plugin) bool { return e.Name == needed }) {
			errs = append(errs, field.Forbidden(path.Child("multiPoint", "disabled"), needed+" cannot be done without"))
		}
	}
	return errs
}

// maxWeight keeps sums of scores far from overflow.
const maxWeight = 1 << 20

func builtinNames() []string {
	var out []string
	for _, b := range builtin {
		out = append(out, b.name)
	}
	return out
}
