package score

import "github.com/gantryio/gantry/core/scheduler/snapshot"

// The sizes between which the score of a node rises from 0 to Max: for each container a gigabyte at most.
const (
	leastBytes = 23 << 20
	mostBytes  = 1000 << 20
)

// ImageLocality prefers nodes that have much of the pod's images.
type ImageLocality struct{}

var _ Score = ImageLocality{}

// Name implements Score.
func (ImageLocality) Name() string { return "ImageLocality" }

// Score implements Score.
func (ImageLocality) Score(p *snapshot.Pod, n *snapshot.Node) int64 {
	bytes := int64(0)
	for _, image := range p.Images {
		bytes += n.Images[image]
	}
	most := mostBytes * int64(max(1, len(p.Images)))
	bytes = min(max(bytes, leastBytes), most)
	return Max * (bytes - leastBytes) / (most - leastBytes)
}
