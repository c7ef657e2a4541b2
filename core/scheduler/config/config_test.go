package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/place"
)

const header = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

func TestEmptyFileIsTheDefault(t *testing.T) {
	got, err := Parse([]byte(header))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	if diff := cmp.Diff(summary(want), summary(got)); diff != "" {
		t.Error(diff)
	}
}

// summary is what of a configuration can be compared.
func summary(c *Config) map[string]any {
	out := map[string]any{"initial": c.InitialBackoff, "max": c.MaxBackoff, "extenders": len(c.Extenders)}
	for _, p := range c.Profiles {
		out[p.Name] = describe(p)
	}
	return out
}

func describe(p Profile) map[string]any {
	names := func(list []filter.Filter) (out []string) {
		for _, f := range list {
			out = append(out, f.Name())
		}
		return out
	}
	scores := map[string]int64{
		"TaintToleration": p.TaintWeight, "NodeAffinity": p.AffinityWeight, "ImageLocality": p.ImageWeight,
		"PodTopologySpread": p.SpreadWeight, "InterPodAffinity": p.InterPodWeight,
	}
	for _, s := range p.Scores {
		scores[s.Name()] = s.Weight
	}
	return map[string]any{
		"static": names(p.Static), "dynamic": names(p.Dynamic), "scores": scores, "spread": p.FilterSpread, "interpod": p.FilterInterPod,
		"hard": p.HardWeight, "ignore": p.IgnoreExisting, "preempt": p.Preempt, "candidates": []int{p.CandidatePercent, p.Candidates},
		"plugins": p.Plugins, "defaults": *p.Spread,
	}
}

func TestProfile(t *testing.T) {
	got, err := Parse([]byte(header + `
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 20
percentageOfNodesToScore: 50
parallelism: 4
leaderElection: {leaderElect: false}
profiles:
- schedulerName: packing
  plugins:
    multiPoint:
      disabled: [{name: ImageLocality}]
      enabled: [{name: NodeAffinity, weight: 7}]
    filter:
      disabled: [{name: NodePorts}]
      enabled: [{name: price}]
    score:
      disabled: [{name: TaintToleration}]
      enabled: [{name: NodeResourcesFit, weight: 5}, {name: price, weight: 4}]
    postFilter:
      disabled: [{name: "*"}]
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 3}, {name: example.com/gpu}]}, ignoredResourceGroups: [example.org]}
  - name: InterPodAffinity
    args: {hardPodAffinityWeight: 9, ignorePreferredTermsOfExistingPods: true}
  - name: PodTopologySpread
    args: {apiVersion: kubescheduler.config.k8s.io/v1, kind: PodTopologySpreadArgs, defaultingType: List}
  - name: price
    args: {most: 3}
- schedulerName: plain
`))
	if err != nil {
		t.Fatal(err)
	}
	if got.InitialBackoff != 2*time.Second || got.MaxBackoff != 20*time.Second || len(got.Profiles) != 2 {
		t.Errorf("configuration is %+v", got)
	}
	want := describe(Profile{Profile: place.Default("packing")})
	want["dynamic"], want["preempt"], want["candidates"], want["hard"], want["ignore"] = []string{"NodeResourcesFit", "VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone"}, false, []int{0, 0}, int64(9), true
	scores := want["scores"].(map[string]int64)
	scores["ImageLocality"], scores["NodeAffinity"], scores["TaintToleration"], scores["NodeResourcesFit"] = 0, 7, 0, 5
	want["plugins"] = []Plugin{{Name: "price", Filter: true, Score: true, Weight: 4, Args: []byte(`{"most":3}`)}}
	packing := describe(got.Profiles[0])
	delete(want, "defaults")
	delete(packing, "defaults")
	if diff := cmp.Diff(want, packing); diff != "" {
		t.Error(diff)
	}
	if n := len(got.Profiles[0].Spread.Constraints); n != 0 {
		t.Errorf("%d default constraints, want none", n)
	}
	if diff := cmp.Diff(describe(Profile{Profile: place.Default("plain")}), describe(got.Profiles[1])); diff != "" {
		t.Error(diff)
	}
}

func TestRefusals(t *testing.T) {
	profile := func(text string) string {
		return header + "profiles:\n- schedulerName: x\n  " + strings.ReplaceAll(text, "\n", "\n  ")
	}
	args := func(name, text string) string {
		return profile("pluginConfig:\n- name: " + name + "\n  args: " + text)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"another kind":          {"apiVersion: v1\nkind: Pod\n", "not a KubeSchedulerConfiguration"},
		"an unknown field":      {header + "paralelism: 3\n", `unknown field "paralelism"`},
		"no parallelism":        {header + "parallelism: 0\n", "parallelism: Invalid value: 0"},
		"a percentage":          {header + "percentageOfNodesToScore: 101\n", "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]"},
		"a back-off":            {header + "podInitialBackoffSeconds: 0\n", "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0"},
		"back-offs":             {header + "podMaxBackoffSeconds: 0\n", "podMaxBackoffSeconds: Invalid value: 0: must be greater than or equal"},
		"two of a name":         {header + "profiles: [{schedulerName: a}, {schedulerName: a}]\n", "profiles[1].schedulerName: Duplicate value"},
		"no name":               {header + "profiles: [{schedulerName: a}, {}]\n", "profiles[1].schedulerName: Required value"},
		"an unknown argument":   {args("NodeResourcesFit", "{strategy: x}"), `unknown field "strategy"`},
		"another's arguments":   {args("NodeAffinity", "{kind: NodeResourcesFitArgs}"), "profiles[0].pluginConfig[0].args: Invalid value"},
		"a strategy":            {args("NodeResourcesFit", "{scoringStrategy: {type: Best}}"), `profiles[0].pluginConfig[0].args.scoringStrategy.type: Unsupported value: "Best"`},
		"a resource's weight":   {args("NodeResourcesFit", "{scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 101}]}}"), "scoringStrategy.resources[0].weight: Invalid value: 101"},
		"no shape":              {args("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio}}"), "scoringStrategy.requestedToCapacityRatio: Required value"},
		"a shape out of order":  {args("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio, requestedToCapacityRatio: {shape: [{utilization: 50, score: 1}, {utilization: 0, score: 1}]}}}"), "shape[1].utilization: Invalid value: 0"},
		"a balanced weight":     {args("NodeResourcesBalancedAllocation", "{resources: [{name: cpu, weight: 2}]}"), "args.resources[0].weight: Invalid value: 2: must be 1"},
		"a hard weight":         {args("InterPodAffinity", "{hardPodAffinityWeight: 101}"), "args.hardPodAffinityWeight: Invalid value: 101"},
		"system constraints":    {args("PodTopologySpread", "{defaultConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}"), "args.defaultingType: Invalid value"},
		"a selector by default": {args("PodTopologySpread", "{defaultingType: List, defaultConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {}}]}"), "defaultConstraints[0].labelSelector: Forbidden"},
		"no candidates":         {args("DefaultPreemption", "{minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}"), "args.minCandidateNodesPercentage: Invalid value: 0"},
		"arguments twice":       {profile("pluginConfig:\n- name: a\n- name: a\n"), "profiles[0].pluginConfig[1]: Duplicate value"},
		"no queue":              {profile("plugins: {queueSort: {disabled: [{name: PrioritySort}]}}"), "profiles[0].plugins.queueSort.disabled: Forbidden"},
		"a foreign binder":      {profile("plugins: {bind: {enabled: [{name: mine}]}}"), "profiles[0].plugins.bind.enabled[0].name: Unsupported value"},
		"an extender's weight":  {header + "extenders: [{urlPrefix: 'http://x', prioritizeVerb: p}]\n", "extenders[0].weight: Invalid value: 0"},
		"an extender's URL":     {header + "extenders: [{urlPrefix: nowhere}]\n", "extenders[0].urlPrefix: Invalid value"},
		"two binders":           {header + "extenders: [{urlPrefix: 'http://x', bindVerb: b}, {urlPrefix: 'http://y', bindVerb: b}]\n", "only one extender can implement bind"},
		"a managed resource":    {header + "extenders: [{urlPrefix: 'http://x', managedResources: [{name: cpu}]}]\n", "extenders[0].managedResources[0].name: Invalid value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
}
