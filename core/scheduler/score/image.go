package score

// The sizes between which the score of a node rises from 0 to Max: for each container a gigabyte at most.
const (
	leastBytes = 23 << 20
	mostBytes  = 1000 << 20
)

// Images prefers nodes that have much of the pod's images (ImageLocality). sizes are those of the images
// that the node has, 0 for the others; holders is how many of all nodes have each.
func Images(sizes []int64, holders func(i int) int, nodes, containers int) int64 {
	sum := int64(0)
	for i, size := range sizes {
		if size > 0 {
			// What few nodes have counts less, lest these get all pods.
			sum += int64(float64(size) * (float64(holders(i)) / float64(nodes)))
		}
	}
	most := int64(mostBytes) * int64(max(1, containers))
	sum = min(max(sum, leastBytes), most)
	return Max * (sum - leastBytes) / (most - leastBytes)
}
