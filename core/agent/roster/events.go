package roster

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// told is what was last said of each plugin, so that nothing is said twice.
type told map[string]string

// news is an event about a plugin.
type news struct{ kind, reason, text string }

// tell makes events of what has changed on this node since the last time.
func (r *Roster) tell(objects []v1alpha1.Plugin, now []v1alpha1.NodePlugin) {
	if r.Recorder == nil {
		return
	}
	if r.told == nil {
		r.told = told{}
	}
	for i := range now {
		n := r.told.changed(&now[i], r.Node)
		if n == nil {
			continue
		}
		for j := range objects {
			if o := &objects[j]; o.Name == now[i].Name && o.Spec.Type == now[i].Type {
				r.Recorder.Event(o, n.kind, n.reason, n.text)
			}
		}
	}
}

// changed says what is new of a plugin; nil for nothing.
func (t told) changed(p *v1alpha1.NodePlugin, node string) *news {
	key := string(p.Type) + "/" + p.Name
	state, n := "ready", news{corev1.EventTypeNormal, "PluginReady", fmt.Sprintf("It answers on node %s again", node)}
	switch u := p.Update; {
	case u != nil && u.RolledBack:
		state = "rolled back " + fmt.Sprint(u.Generation)
		n = news{corev1.EventTypeWarning, "PluginRolledBack", fmt.Sprintf("Generation %d is not healthy on node %s, what ran before serves on: %s", u.Generation, node, u.Error)}
	case !p.Ready && p.LastError != "":
		state = "down " + p.LastError
		n = news{corev1.EventTypeWarning, "PluginNotReady", fmt.Sprintf("It does not answer on node %s: %s", node, p.LastError)}
	case !p.Ready:
		return nil
	}
	before, known := t[key]
	t[key] = state
	if before == state || !known && state == "ready" {
		return nil
	}
	return &n
}
