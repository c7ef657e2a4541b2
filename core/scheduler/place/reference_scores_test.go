package place

import (
	"math"

	corev1 "k8s.io/api/core/v1"
)

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
	lenient := p.Annotations[owned] != "" // the built-in defaults take nodes without the labels as they are
	var valid []*corev1.Node
	for _, n := range fits {
		if lenient || hasKeys(n, constraints) {
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
			if _, ok := domains[n.Labels[c.TopologyKey]]; ok && (lenient || hasKeys(n, constraints)) && included(p, n, c) {
				domains[n.Labels[c.TopologyKey]] += w.matching(p, n.Name, c)
			}
		}
		for _, n := range valid {
			if _, ok := n.Labels[c.TopologyKey]; !ok {
				continue
			}
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
