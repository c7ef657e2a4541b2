package place

import (
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// world is a cluster as its objects say. The functions of this file are the rules again, from the objects,
// for one pod and all nodes, remembering nothing: slow, and as plain as can be.
type world struct {
	nodes      map[string]*corev1.Node
	pods       map[string]*corev1.Pod // by name, with nodeName
	nominated  map[string]*corev1.Pod // with nodeName for the nominated node
	namespaces map[string]labels.Set
	storage
}

func (w *world) on(node string) []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range w.pods {
		if p.Spec.NodeName == node {
			out = append(out, p)
		}
	}
	return out
}

// with is the world with more pods, without those named.
func (w *world) with(more []*corev1.Pod, without ...string) *world {
	out := *w
	out.pods = map[string]*corev1.Pod{}
	for name, p := range w.pods {
		if !slices.Contains(without, name) {
			out.pods[name] = p
		}
	}
	for _, p := range more {
		out.pods[p.Name] = p
	}
	return &out
}

// why says why the node cannot take the pod, with and without the pods nominated for it.
func (w *world) why(p *corev1.Pod, n *corev1.Node) string {
	if why := w.blocked(p); why != "" {
		return why
	}
	var nominated []*corev1.Pod
	for _, o := range w.nominated {
		if o.Spec.NodeName == n.Name && o.Name != p.Name && *o.Spec.Priority >= *p.Spec.Priority {
			nominated = append(nominated, o)
		}
	}
	if len(nominated) > 0 {
		if why := w.with(nominated).whyAlone(p, n); why != "" {
			return why
		}
	}
	return w.whyAlone(p, n)
}

func (w *world) whyAlone(p *corev1.Pod, n *corev1.Node) string {
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !refTolerates(p, t) {
			return "node(s) had untolerated taint(s)"
		}
	}
	if !refSelected(p, n) {
		return "node(s) didn't match Pod's node affinity/selector"
	}
	for _, o := range w.on(n.Name) {
		for _, a := range o.Spec.Containers[0].Ports {
			for _, b := range p.Spec.Containers[0].Ports {
				if a.HostPort == b.HostPort {
					return "node(s) didn't have free ports for the requested pod ports"
				}
			}
		}
	}
	if refCPU(p) > 0 && refCPU(p)+w.usedCPU(n.Name, false) > n.Status.Allocatable.Cpu().MilliValue() {
		return "Insufficient cpu"
	}
	if why := w.whyVolumes(p, n); why != "" {
		return why
	}
	if why := w.whySpread(p, n); why != "" {
		return why
	}
	return w.whyAffinity(p, n)
}

func refTolerates(p *corev1.Pod, t corev1.Taint) bool {
	for _, o := range p.Spec.Tolerations {
		if o.Key == t.Key {
			return true
		}
	}
	return false
}

func refSelected(p *corev1.Pod, n *corev1.Node) bool {
	ok, err := nodeaffinity.GetRequiredNodeAffinity(p).Match(n)
	return ok && err == nil
}

func refCPU(p *corev1.Pod) int64 { return p.Spec.Containers[0].Resources.Requests.Cpu().MilliValue() }

func refNonZero(p *corev1.Pod) (cpu, memory int64) {
	cpu, memory = 100, 200<<20
	if _, ok := p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU]; ok {
		cpu = refCPU(p)
	}
	return cpu, memory
}

func (w *world) usedCPU(node string, nonZero bool) int64 {
	sum := int64(0)
	for _, o := range w.on(node) {
		if cpu, _ := refNonZero(o); nonZero {
			sum += cpu
		} else {
			sum += refCPU(o)
		}
	}
	return sum
}

func refSelector(s *metav1.LabelSelector) labels.Selector {
	out, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		panic(err)
	}
	return out
}

func hard(p *corev1.Pod, want bool) []corev1.TopologySpreadConstraint {
	var out []corev1.TopologySpreadConstraint
	for _, c := range p.Spec.TopologySpreadConstraints {
		if (c.WhenUnsatisfiable == corev1.DoNotSchedule) == want {
			out = append(out, c)
		}
	}
	return out
}

func hasKeys(n *corev1.Node, list []corev1.TopologySpreadConstraint) bool {
	for _, c := range list {
		if _, ok := n.Labels[c.TopologyKey]; !ok {
			return false
		}
	}
	return true
}

func included(p *corev1.Pod, n *corev1.Node, c corev1.TopologySpreadConstraint) bool {
	if (c.NodeAffinityPolicy == nil || *c.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor) && !refSelected(p, n) {
		return false
	}
	if c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor {
		for _, t := range n.Spec.Taints {
			if t.Effect != corev1.TaintEffectPreferNoSchedule && !refTolerates(p, t) {
				return false
			}
		}
	}
	return true
}

func (w *world) matching(p *corev1.Pod, node string, c corev1.TopologySpreadConstraint) int64 {
	s, count := refSelector(c.LabelSelector), int64(0)
	for _, o := range w.on(node) {
		if !s.Empty() && o.DeletionTimestamp == nil && o.Namespace == p.Namespace && s.Matches(labels.Set(o.Labels)) {
			count++
		}
	}
	return count
}

func (w *world) whySpread(p *corev1.Pod, n *corev1.Node) string {
	constraints := hard(p, true)
	for _, c := range constraints {
		value, ok := n.Labels[c.TopologyKey]
		if !ok {
			return "node(s) didn't match pod topology spread constraints (missing required label)"
		}
		counts := map[string]int64{}
		for _, o := range w.nodes {
			if hasKeys(o, constraints) && included(p, o, c) {
				counts[o.Labels[c.TopologyKey]] += w.matching(p, o.Name, c)
			}
		}
		least := int64(math.MaxInt32)
		for _, count := range counts {
			least = min(least, count)
		}
		domains := int32(1)
		if c.MinDomains != nil {
			domains = *c.MinDomains
		}
		if int32(len(counts)) < domains {
			least = 0
		}
		self := int64(0)
		if refSelector(c.LabelSelector).Matches(labels.Set(p.Labels)) {
			self = 1
		}
		if counts[value]+self-least > int64(c.MaxSkew) {
			return "node(s) didn't match pod topology spread constraints"
		}
	}
	return ""
}

// about tells whether a term of the owner is about the other pod.
func (w *world) about(t corev1.PodAffinityTerm, owner, other *corev1.Pod) bool {
	in := slices.Contains(t.Namespaces, other.Namespace)
	if len(t.Namespaces) == 0 && t.NamespaceSelector == nil {
		in = owner.Namespace == other.Namespace
	}
	if t.NamespaceSelector != nil && refSelector(t.NamespaceSelector).Matches(w.namespaces[other.Namespace]) {
		in = true
	}
	return in && refSelector(t.LabelSelector).Matches(labels.Set(other.Labels))
}

func required(p *corev1.Pod) (affinity, anti []corev1.PodAffinityTerm) {
	if a := p.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			affinity = a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		}
		if a.PodAntiAffinity != nil {
			anti = a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		}
	}
	return affinity, anti
}

// near tells whether two nodes are in one domain.
func near(a, b *corev1.Node, key string) bool {
	x, ok := a.Labels[key]
	y, ok2 := b.Labels[key]
	return ok && ok2 && x == y
}

func (w *world) whyAffinity(p *corev1.Pod, n *corev1.Node) string {
	affinity, anti := required(p)
	all := func(o *corev1.Pod) bool {
		return !slices.ContainsFunc(affinity, func(t corev1.PodAffinityTerm) bool { return !w.about(t, p, o) })
	}
	everywhere, anywhere := true, false
	for _, t := range affinity {
		if _, ok := n.Labels[t.TopologyKey]; !ok {
			return "node(s) didn't match pod affinity rules"
		}
		there := false
		for _, o := range w.pods {
			if on := w.nodes[o.Spec.NodeName]; on != nil && all(o) {
				if _, ok := on.Labels[t.TopologyKey]; ok {
					anywhere = true
				}
				there = there || near(on, n, t.TopologyKey)
			}
		}
		everywhere = everywhere && there
	}
	if !everywhere && (anywhere || !all(p)) {
		return "node(s) didn't match pod affinity rules"
	}
	existing := ""
	for _, o := range w.pods {
		on := w.nodes[o.Spec.NodeName]
		if on == nil {
			continue
		}
		for _, t := range anti {
			if w.about(t, p, o) && near(on, n, t.TopologyKey) {
				return "node(s) didn't match pod anti-affinity rules"
			}
		}
		_, others := required(o)
		for _, t := range others {
			if w.about(t, o, p) && near(on, n, t.TopologyKey) {
				existing = "node(s) didn't satisfy existing pods anti-affinity rules"
			}
		}
	}
	return existing
}
