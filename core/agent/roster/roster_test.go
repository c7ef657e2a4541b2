package roster

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// An agent that has just started knows of no pods, which must not look as if there were none.
func TestWhatWasReportedHoldsUntilThePodsAreKnown(t *testing.T) {
	known := false
	r := &Roster{
		Known: func(kind plugin.Kind) bool { return known || kind != plugin.Runtime },
		Pods: func(kind plugin.Kind) map[string][]string {
			if kind == plugin.Network {
				return map[string][]string{"cni": {"d/b", "d/a"}}
			}
			return nil
		},
	}
	own := &v1alpha1.NodePlugins{Status: v1alpha1.NodePluginsStatus{Plugins: []v1alpha1.NodePlugin{
		{Type: v1alpha1.Runtime, Name: "x", Pods: []string{"d/a"}}, {Type: v1alpha1.Network, Name: "cni", Pods: []string{"d/old"}},
	}}}
	pods, used := r.uses(own)
	want := map[ref][]string{{plugin.Runtime, "x"}: {"d/a"}, {plugin.Network, "cni"}: {"d/a", "d/b"}}
	if d := cmp.Diff(want, pods, cmp.AllowUnexported(ref{})); d != "" || !used[ref{plugin.Runtime, "x"}] {
		t.Errorf("%s, used %v", d, used)
	}
	known = true
	if pods, used = r.uses(own); len(pods) != 1 || used[ref{plugin.Runtime, "x"}] {
		t.Errorf("known are %v, used %v", pods, used)
	}
}
