package plugin

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// node is what is seen of a node.
type node struct {
	name    string
	labels  map[string]string
	plugins []v1alpha1.NodePlugin
	// granted are the generations that may take the place of what runs there.
	granted map[string]int64
	// away tells that nothing can be expected of the node now.
	away bool
}

// maxNamed is how many pods or nodes a message names.
const maxNamed = 5

// sum is what is seen of a plugin on all nodes.
type sum struct {
	status v1alpha1.PluginStatus
	// runs tells that some node has it still, users the pods that depend on it.
	runs  bool
	users []string
	// digests are those of the executables on the nodes that run this generation.
	digests []string
}

// progress names the nodes where it does not answer, which run another generation, where it fails, and where this
// generation was given up.
type progress struct{ down, behind, failed, back []string }

// aggregate is pure; nodes are sorted by name.
func aggregate(p *v1alpha1.Plugin, nodes []node) sum {
	out := sum{status: v1alpha1.PluginStatus{ObservedGeneration: p.Generation, Verification: p.Status.Verification}}
	st := &out.status
	var down, failed, behind, back []string
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
		switch u := here.Update; {
		case u != nil && u.RolledBack && u.Generation == p.Generation:
			back = append(back, n.name+": "+u.Error)
		case here.Ready && here.Generation == p.Generation:
			st.NodesUpdated++
			out.digests = append(out.digests, here.Digest)
		case u != nil && u.Error != "":
			behind = append(behind, n.name+" ("+u.Error+")")
		default:
			behind = append(behind, n.name)
		}
		if !here.Ready && here.LastError != "" {
			st.NodesFailed++
			failed = append(failed, n.name+": "+here.LastError)
		}
	}
	st.Pods = int32(len(out.users))
	st.Conditions = conditions(p, &out, progress{down, behind, failed, back})
	return out
}

// grant names the nodes that may change to the plugin's generation now: so many that no more than maxUnavailable change
// at once. Nodes that are away change when they come back. Where one has rolled back, no further one changes.
func grant(p *v1alpha1.Plugin, nodes []node) []string {
	var waiting, away []string
	wanted, changing := 0, 0
	for _, n := range nodes {
		if p.Spec.Disabled || p.DeletionTimestamp != nil || !labels.SelectorFromSet(p.Spec.NodeSelector).Matches(labels.Set(n.labels)) {
			continue
		}
		wanted++
		i := slices.IndexFunc(n.plugins, func(x v1alpha1.NodePlugin) bool { return x.Type == p.Spec.Type && x.Name == p.Name })
		if i < 0 {
			continue // It is launched there without more.
		}
		here, granted := &n.plugins[i], n.granted[p.Name] >= p.Generation
		switch u := here.Update; {
		case u != nil && u.RolledBack && u.Generation == p.Generation:
			return nil
		case n.away && !granted:
			away = append(away, n.name)
		case granted && !n.away && !(here.Ready && here.Generation == p.Generation):
			changing++
		case !granted && here.Generation != p.Generation:
			waiting = append(waiting, n.name)
		}
	}
	limit, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(p.Spec.Rollout.MaxUnavailable, intstr.FromInt32(1)), wanted, true)
	if err != nil {
		limit = 1
	}
	return append(away, waiting[:min(len(waiting), max(0, max(1, limit)-changing))]...)
}

// conditions keeps the times of those that have not changed, and what others wrote.
func conditions(p *v1alpha1.Plugin, s *sum, on progress) []metav1.Condition {
	list := slices.Clone(p.Status.Conditions)
	set := func(kind string, yes bool, reasonYes, reasonNo, message string) {
		c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reasonNo, Message: message, ObservedGeneration: p.Generation}
		if yes {
			c.Status, c.Reason = metav1.ConditionTrue, reasonYes
		}
		meta.SetStatusCondition(&list, c)
	}
	text := ""
	if len(on.down) > 0 {
		text = "it does not answer on " + some(on.down)
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
		set(v1alpha1.Available, len(on.down) == 0, "AllNodesReady", "NodesNotReady", text)
	}
	text = ""
	if len(on.behind) > 0 {
		text = "waits for " + some(on.behind)
	}
	reason := "RolledOut"
	if len(on.back) > 0 {
		reason = "RolledBack"
	}
	set(v1alpha1.Progressing, len(on.behind) > 0, "RollingOut", reason, text)
	switch {
	case len(on.failed) == 0 && len(on.back) > 0:
		set(v1alpha1.Degraded, true, "RolledBack", "", fmt.Sprintf("generation %d is not healthy, what ran before serves on: %s", p.Generation, some(on.back)))
	default:
		set(v1alpha1.Degraded, len(on.failed) > 0, "PluginFails", "AsWanted", some(on.failed))
	}
	c := verified(p, s, append(slices.Clone(on.failed), on.back...))
	c.Type, c.ObservedGeneration = v1alpha1.Verified, p.Generation
	meta.SetStatusCondition(&list, c)
	return list
}

// notVerified is how the nodes' errors of what does not have the declared digest or signature begin.
const notVerified = "verify plugin "

// verified judges by what the nodes have checked before they launched it, and by what was reported of its suite.
func verified(p *v1alpha1.Plugin, s *sum, failed []string) metav1.Condition {
	condition := func(status metav1.ConditionStatus, reason, text string) metav1.Condition {
		return metav1.Condition{Status: status, Reason: reason, Message: text}
	}
	for _, f := range failed {
		if strings.Contains(f, notVerified) {
			return condition(metav1.ConditionFalse, "VerificationFailed", f)
		}
	}
	source := p.Spec.Source
	if v := p.Status.Verification; v != nil && concerns(v, s.digests) {
		at := v.Time.UTC().Format("2006-01-02 15:04:05Z")
		if !v.OK() {
			return condition(metav1.ConditionFalse, "SuiteFailed", fmt.Sprintf("%d of %d checks failed on %s: %s", v.Failed, v.Failed+v.Passed, at, v.Message))
		}
		return condition(metav1.ConditionTrue, "SuitePassed", fmt.Sprintf("%d checks passed on %s", v.Passed, at))
	}
	switch {
	case source.Endpoint != "":
		return condition(metav1.ConditionUnknown, "NotVerified", "who serves a socket is not known; gantry plugin verify --report runs the suite against it")
	case len(s.digests) == 0:
		return condition(metav1.ConditionUnknown, "NotLaunched", "no node has looked at it yet")
	case source.Image != nil && source.Image.PublicKey != "":
		return condition(metav1.ConditionTrue, "SignatureMatches", "the public key has signed the digest")
	}
	return condition(metav1.ConditionTrue, "DigestMatches", "the executable has the digest that is declared or shipped")
}

// concerns tells that what was verified is what runs.
func concerns(v *v1alpha1.Verification, digests []string) bool {
	return v.Digest == "" || len(digests) > 0 && !slices.ContainsFunc(digests, func(d string) bool { return d != v.Digest })
}

// some names a few.
func some(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}
