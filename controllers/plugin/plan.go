package plugin

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// node is what is seen of a node.
type node struct {
	name    string
	labels  map[string]string
	plugins []v1alpha1.NodePlugin
}

// maxNamed is how many pods or nodes a message names.
const maxNamed = 5

// sum is what is seen of a plugin on all nodes.
type sum struct {
	status v1alpha1.PluginStatus
	// runs tells that some node has it still, users the pods that depend on it.
	runs  bool
	users []string
}

// aggregate is pure; nodes are sorted by name.
func aggregate(p *v1alpha1.Plugin, nodes []node) sum {
	out := sum{status: v1alpha1.PluginStatus{ObservedGeneration: p.Generation}}
	st := &out.status
	var down, failed, behind []string
	for _, n := range nodes {
		wanted := !p.Spec.Disabled && p.DeletionTimestamp == nil && labels.SelectorFromSet(p.Spec.NodeSelector).Matches(labels.Set(n.labels))
		i := slices.IndexFunc(n.plugins, func(x v1alpha1.NodePlugin) bool { return x.Type == p.Spec.Type && x.Name == p.Name })
		if i >= 0 {
			out.runs = true
			out.users = append(out.users, n.plugins[i].Pods...)
		}
		if !wanted {
			continue
		}
		st.NodesWanted++
		if i < 0 {
			down, behind = append(down, n.name), append(behind, n.name)
			continue
		}
		here := &n.plugins[i]
		if here.Ready {
			st.NodesReady++
		} else {
			down = append(down, n.name)
		}
		if here.Ready && here.Generation == p.Generation {
			st.NodesUpdated++
		} else {
			behind = append(behind, n.name)
		}
		if !here.Ready && here.LastError != "" {
			st.NodesFailed++
			failed = append(failed, n.name+": "+here.LastError)
		}
	}
	st.Pods = int32(len(out.users))
	st.Conditions = conditions(p, &out, down, behind, failed)
	return out
}

// conditions keeps the times of those that have not changed, and what others wrote.
func conditions(p *v1alpha1.Plugin, s *sum, down, behind, failed []string) []metav1.Condition {
	list := slices.Clone(p.Status.Conditions)
	set := func(kind string, yes bool, reasonYes, reasonNo, message string) {
		c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reasonNo, Message: message, ObservedGeneration: p.Generation}
		if yes {
			c.Status, c.Reason = metav1.ConditionTrue, reasonYes
		}
		meta.SetStatusCondition(&list, c)
	}
	text := ""
	if len(down) > 0 {
		text = "it does not answer on " + some(down)
	}
	switch {
	case p.DeletionTimestamp != nil && len(s.users) > 0:
		set(v1alpha1.Available, true, "InUse", "", "it goes when no pod depends on it any more: "+some(s.users))
	case p.DeletionTimestamp != nil:
		set(v1alpha1.Available, false, "", "Terminating", "")
	case p.Spec.Disabled:
		set(v1alpha1.Available, false, "", "Disabled", "")
	case s.status.NodesWanted == 0:
		set(v1alpha1.Available, false, "", "NoNodes", "the selector picks no node")
	default:
		set(v1alpha1.Available, len(down) == 0, "AllNodesReady", "NodesNotReady", text)
	}
	text = ""
	if len(behind) > 0 {
		text = "waits for " + some(behind)
	}
	set(v1alpha1.Progressing, len(behind) > 0, "RollingOut", "RolledOut", text)
	set(v1alpha1.Degraded, len(failed) > 0, "PluginFails", "AsWanted", some(failed))
	return list
}

// some names a few.
func some(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}
