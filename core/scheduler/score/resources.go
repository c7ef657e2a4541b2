package score

import (
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// Resource is a resource and how much it counts.
type Resource struct {
	Name   corev1.ResourceName
	Weight int64
}

// CPUAndMemory are the resources that count unless others are configured.
var CPUAndMemory = []Resource{{corev1.ResourceCPU, 1}, {corev1.ResourceMemory, 1}}

// Strategy rates how much of a resource is used.
type Strategy func(used, all int64) int64

// LeastAllocated prefers nodes of which little is requested.
func LeastAllocated(used, all int64) int64 {
	if all == 0 || used > all {
		return 0
	}
	return (all - used) * Max / all
}

// MostAllocated prefers nodes of which much is requested.
func MostAllocated(used, all int64) int64 {
	if all == 0 {
		return 0
	}
	return min(used, all) * Max / all
}

// Point says how to score a utilization, both in percent.
type Point struct{ Utilization, Score int64 }

// Shape scores utilizations on straight lines between the points, which are in order.
func Shape(points []Point) Strategy {
	rate := func(p int64) int64 {
		for i, to := range points {
			if p > to.Utilization {
				continue
			}
			if i == 0 {
				return to.Score
			}
			from := points[i-1]
			return from.Score + (to.Score-from.Score)*(p-from.Utilization)/(to.Utilization-from.Utilization)
		}
		return points[len(points)-1].Score
	}
	return func(used, all int64) int64 {
		if all == 0 || used > all {
			return rate(Max)
		}
		return rate(used * Max / all)
	}
}

// NodeResourcesFit prefers nodes by how much of them is requested.
type NodeResourcesFit struct {
	Resources []Resource
	Strategy  Strategy
	// Ratio is set for RequestedToCapacityRatio: resources without a score do not count, and the mean is rounded.
	Ratio bool
}

var _ Score = NodeResourcesFit{}

// Name implements Score.
func (NodeResourcesFit) Name() string { return "NodeResourcesFit" }

// Score implements Score.
func (s NodeResourcesFit) Score(p *snapshot.Pod, n *snapshot.Node) int64 {
	sum, weights := int64(0), int64(0)
	for _, r := range s.Resources {
		used, all, counts := usage(p, n, r.Name, true)
		if !counts || all == 0 {
			continue
		}
		got := s.Strategy(used, all)
		if s.Ratio && got <= 0 {
			continue
		}
		sum += got * r.Weight
		weights += r.Weight
	}
	switch {
	case weights == 0:
		return 0
	case s.Ratio:
		return int64(math.Round(float64(sum) / float64(weights)))
	}
	return sum / weights
}

// usage is what of a resource would be requested, and what there is. An extended resource counts only for
// pods that ask for it. With load, containers without requests count for the default.
func usage(p *snapshot.Pod, n *snapshot.Node, name corev1.ResourceName, load bool) (used, all int64, counts bool) {
	if load && (name == corev1.ResourceCPU || name == corev1.ResourceMemory) {
		return p.Load.Of(name) + n.Load.Of(name), n.Allocatable.Of(name), true
	}
	asked := p.Requests.Of(name)
	if asked == 0 && scalar(name) {
		return 0, 0, false
	}
	return asked + n.Requested.Of(name), n.Allocatable.Of(name), true
}

func scalar(name corev1.ResourceName) bool {
	return strings.Contains(string(name), "/") || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) || strings.HasPrefix(string(name), corev1.ResourceAttachableVolumesPrefix)
}

// NodeResourcesBalancedAllocation prefers nodes whose resources come to be used to a more equal degree by
// the pod: 75 changes nothing, more is better balanced than before.
type NodeResourcesBalancedAllocation struct{ Resources []Resource }

var _ Score = NodeResourcesBalancedAllocation{}

// Name implements Score.
func (NodeResourcesBalancedAllocation) Name() string { return "NodeResourcesBalancedAllocation" }

// Score implements Score.
func (s NodeResourcesBalancedAllocation) Score(p *snapshot.Pod, n *snapshot.Node) int64 {
	var few [2][4]float64
	with, without, asks := few[0][:0], few[1][:0], false
	for _, r := range s.Resources {
		asked := p.Requests.Of(r.Name)
		asks = asks || asked > 0
		if used, all, counts := usage(p, n, r.Name, false); counts && all > 0 {
			with = append(with, min(1, float64(used)/float64(all)))
			without = append(without, min(1, float64(used-asked)/float64(all)))
		}
	}
	if !asks {
		return 0 // a pod without requests balances nothing; it is spread by the other scores
	}
	return Max/2 + (Max/2+balance(with)-balance(without))/2
}

func balance(shares []float64) int64 { return int64((1 - deviation(shares)) * Max) }

func deviation(shares []float64) float64 {
	switch len(shares) {
	case 0, 1:
		return 0
	case 2:
		return math.Abs((shares[0] - shares[1]) / 2)
	}
	mean, sum := 0.0, 0.0
	for _, s := range shares {
		mean += s
	}
	mean /= float64(len(shares))
	for _, s := range shares {
		sum += (s - mean) * (s - mean)
	}
	return math.Sqrt(sum / float64(len(shares)))
}
