package place

import (
	"math"

	"github.com/gantryio/gantry/core/scheduler/score"
)

// scale is what raw scores are scaled by: the extremes among all nodes that fit.
type scale struct {
	taints, prefers         int64
	leastSpread, mostSpread int64
	leastPrefer, mostPrefer int64
	spreads                 bool
	weights                 []float64 // by counter, of soft constraints
}

// measure finds the scale after a scan in which fits nodes fit.
func (c *Class) measure(fits int) scale {
	s := scale{leastSpread: math.MaxInt64, leastPrefer: math.MaxInt64, mostPrefer: math.MinInt64}
	s.weights = c.spreadWeights(fits, &s)
	for _, b := range c.list {
		if !b.fits {
			continue
		}
		s.taints, s.prefers = max(s.taints, b.taints), max(s.prefers, b.prefers)
		b.prefer, b.spread = 0, -1
		raw, ignored := 0.0, false
		for k, n := range c.count {
			at := b.number(k, n)
			switch {
			case n.kind == preference && at != missing:
				b.prefer += at
			case n.kind == softSpread && at != missing:
				raw += float64(at)*s.weights[k] + float64(n.spread.MaxSkew-1)
			case n.kind == softSpread:
				ignored = ignored || !c.Pod.Lenient
			}
		}
		if s.spreads && !ignored {
			b.spread = int64(math.Round(raw))
			s.leastSpread, s.mostSpread = min(s.leastSpread, b.spread), max(s.mostSpread, b.spread)
		}
		s.leastPrefer, s.mostPrefer = min(s.leastPrefer, b.prefer), max(s.mostPrefer, b.prefer)
	}
	return s
}

// spreadWeights are the logarithms by which constraints with many domains count more.
func (c *Class) spreadWeights(fits int, s *scale) []float64 {
	for _, n := range c.count {
		s.spreads = s.spreads || n.kind == softSpread
	}
	if !s.spreads {
		return nil
	}
	c.scans++
	sizes, ignored := make([]int, len(c.count)), 0
	for _, b := range c.list {
		if !b.fits {
			continue
		}
		if !c.Pod.Lenient && b.lacksSoft() {
			ignored += len(b.nodes)
			continue
		}
		for k, n := range c.count {
			if n.kind != softSpread || n.narrow {
				continue
			}
			if b.at[k] == missing {
				sizes[k] |= 1 << 32 // the domain of nodes without the label
			} else if d := &n.domains[b.at[k]]; d.seen != c.scans {
				d.seen = c.scans
				sizes[k]++
			}
		}
	}
	weights := make([]float64, len(c.count))
	for k, n := range c.count {
		size := sizes[k]&(1<<32-1) + sizes[k]>>32
		if n.narrow {
			size = fits - ignored
		}
		weights[k] = math.Log(float64(size + 2))
	}
	return weights
}

func (b *bucket) lacksSoft() bool {
	for k, n := range b.class.count {
		if n.kind == softSpread && b.at[k] == missing {
			return true
		}
	}
	return false
}

// shared is the part of the score that all nodes of a bucket have in common.
func (c *Class) shared(b *bucket, s *scale) int64 {
	p := c.profile
	sum := p.AffinityWeight * score.Scaled(b.prefers, s.prefers)
	sum += p.TaintWeight * (score.Max - score.Scaled(b.taints, s.taints))
	if len(b.sizes) > 0 {
		sum += p.ImageWeight * score.Images(b.sizes, func(i int) int { return c.cluster.Holders(c.Pod.Images[i]) }, c.cluster.Len(), c.Pod.Containers)
	}
	if s.spreads && b.spread >= 0 {
		spread := int64(score.Max)
		if s.mostSpread > 0 {
			spread = score.Max * (s.mostSpread + s.leastSpread - b.spread) / s.mostSpread
		}
		sum += p.SpreadWeight * spread
	}
	if between := s.mostPrefer - s.leastPrefer; between > 0 {
		sum += p.InterPodWeight * int64(score.Max*(float64(b.prefer-s.leastPrefer)/float64(between)))
	}
	return sum
}
