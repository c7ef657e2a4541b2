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

// scores rates the nodes that fit.
func (w *world) scores(p *corev1.Pod, fits []*corev1.Node) map[string]int64 {
	out, taints, prefers := map[string]int64{}, map[string]int64{}, map[string]int64{}
	for _, n := range fits {
		for _, t := range n.Spec.Taints {
			if t.Effect == corev1.TaintEffectPreferNoSchedule && !refTolerates(p, t) {
				taints[n.Name]++
			}
		}
		if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil {
			for _, t := range a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
				if n.Labels[t.Preference.MatchExpressions[0].Key] == t.Preference.MatchExpressions[0].Values[0] {
					prefers[n.Name] += int64(t.Weight)
				}
			}
		}
	}
	spread, inter := w.spreadScores(p, fits), w.interScores(p, fits)
	for _, n := range fits {
		out[n.Name] = w.resourceScore(p, n) + w.imageScore(p, n) + 2*spread[n.Name] + 2*inter[n.Name]
		out[n.Name] += 3 * (100 - refScaled(taints, n.Name))
		out[n.Name] += 2 * refScaled(prefers, n.Name)
	}
	return out
}

func refScaled(raw map[string]int64, name string) int64 {
	most := int64(0)
	for _, v := range raw {
		most = max(most, v)
	}
	if most == 0 {
		return 0
	}
	return 100 * raw[name] / most
}

func (w *world) resourceScore(p *corev1.Pod, n *corev1.Node) int64 {
	cpu, memory := n.Status.Allocatable.Cpu().MilliValue(), n.Status.Allocatable.Memory().Value()
	podCPU, podMemory := refNonZero(p)
	left := func(used, all int64) int64 {
		if used > all {
			return 0
		}
		return (all - used) * 100 / all
	}
	fit := (left(w.usedCPU(n.Name, true)+podCPU, cpu) + left(int64(len(w.on(n.Name)))*(200<<20)+podMemory, memory)) / 2
	if refCPU(p) == 0 {
		return fit
	}
	share := func(used int64) int64 {
		return int64((1 - min(1, float64(used)/float64(cpu))/2) * 100) // memory is never requested
	}
	used := w.usedCPU(n.Name, false)
	return fit + 50 + (50+share(used+refCPU(p))-share(used))/2
}

func (w *world) imageScore(p *corev1.Pod, n *corev1.Node) int64 {
	size, holders := int64(0), 0
	for _, o := range w.nodes {
		for _, i := range o.Status.Images {
			if i.Names[0] == p.Spec.Containers[0].Image {
				holders++
				if o.Name == n.Name {
					size = i.SizeBytes
				}
			}
		}
	}
	const mb = 1 << 20
	sum := int64(float64(size) * (float64(holders) / float64(len(w.nodes))))
	return 100 * (min(max(sum, 23*mb), 1000*mb) - 23*mb) / (977 * mb)
}

func (w *world) spreadScores(p *corev1.Pod, fits []*corev1.Node) map[string]int64 {
	constraints := hard(p, false)
	out := map[string]int64{}
	if len(constraints) == 0 {
		return out
	}
	var valid []*corev1.Node
	for _, n := range fits {
		if hasKeys(n, constraints) {
			valid = append(valid, n)
		}
	}
	raw := map[string]float64{}
	for _, c := range constraints {
		domains := map[string]int64{}
		for _, n := range valid {
			domains[n.Labels[c.TopologyKey]] = 0
		}
		size := len(domains)
		if c.TopologyKey == corev1.LabelHostname {
			size = len(valid)
		}
		for _, n := range w.nodes {
			if _, ok := domains[n.Labels[c.TopologyKey]]; ok && hasKeys(n, constraints) && included(p, n, c) {
				domains[n.Labels[c.TopologyKey]] += w.matching(p, n.Name, c)
			}
		}
		for _, n := range valid {
			count := domains[n.Labels[c.TopologyKey]]
			if c.TopologyKey == corev1.LabelHostname {
				count = w.matching(p, n.Name, c)
			}
			raw[n.Name] += float64(count)*math.Log(float64(size+2)) + float64(c.MaxSkew-1)
		}
	}
	least, most := int64(math.MaxInt64), int64(0)
	for _, n := range valid {
		r := int64(math.Round(raw[n.Name]))
		least, most = min(least, r), max(most, r)
	}
	for _, n := range valid {
		out[n.Name] = 100
		if most > 0 {
			out[n.Name] = 100 * (most + least - int64(math.Round(raw[n.Name]))) / most
		}
	}
	return out
}

func preferred(p *corev1.Pod) []corev1.WeightedPodAffinityTerm {
	var out []corev1.WeightedPodAffinityTerm
	if a := p.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			out = append(out, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution...)
		}
		if a.PodAntiAffinity != nil {
			for _, t := range a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
				t.Weight = -t.Weight
				out = append(out, t)
			}
		}
	}
	return out
}

func (w *world) interScores(p *corev1.Pod, fits []*corev1.Node) map[string]int64 {
	raw := map[string]int64{}
	for _, n := range fits {
		for _, o := range w.pods {
			on := w.nodes[o.Spec.NodeName]
			if on == nil {
				continue
			}
			add := func(t corev1.PodAffinityTerm, owner, other *corev1.Pod, weight int64) {
				if w.about(t, owner, other) && near(on, n, t.TopologyKey) {
					raw[n.Name] += weight
				}
			}
			for _, t := range preferred(p) {
				add(t.PodAffinityTerm, p, o, int64(t.Weight))
			}
			for _, t := range preferred(o) {
				add(t.PodAffinityTerm, o, p, int64(t.Weight))
			}
			affinity, _ := required(o)
			for _, t := range affinity {
				add(t, o, p, 1)
			}
		}
	}
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for _, n := range fits {
		least, most = min(least, raw[n.Name]), max(most, raw[n.Name])
	}
	out := map[string]int64{}
	for _, n := range fits {
		if most > least {
			out[n.Name] = int64(100 * (float64(raw[n.Name]-least) / float64(most-least)))
		}
	}
	return out
}
