package place

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// The victims on a node are enough, none is superfluous, and all are of lower priority.
func TestVictims(t *testing.T) {
	tried := 0
	for seed := range uint64(*clusters) {
		l := newLab(seed)
		for i := range 50 {
			p := randomPod(l.rng, fmt.Sprint("p", i))
			p.Spec.Affinity, p.Spec.TopologySpreadConstraints, p.Spec.Priority = nil, nil, new(int32(l.rng.IntN(5)))
			c := l.class(p)
			if n, _ := c.Best(); n != nil {
				p.Spec.NodeName = n.Object.Name
				l.pods[p.Name] = p
				l.cluster.Place(c.Pod.PlacedAs(p, n.Object.Name))
				continue
			}
			found, reasons := c.Preempt(p.UID, "", nil)
			if len(found) == 0 && len(reasons) == 0 {
				t.Fatalf("seed %d: neither victims nor reasons", seed)
			}
			for _, v := range found {
				tried++
				l.checkVictims(t, p, v)
			}
		}
	}
	if tried < *clusters {
		t.Errorf("only %d preemptions were tried", tried)
	}
}

func (l *lab) checkVictims(t *testing.T, p *corev1.Pod, v Victims) {
	t.Helper()
	var names []string
	for _, victim := range v.Pods {
		names = append(names, victim.Name)
		if victim.Priority >= *p.Spec.Priority {
			t.Errorf("victim %s has priority %d, the pod %d", victim.Name, victim.Priority, *p.Spec.Priority)
		}
	}
	n := l.nodes[v.Node.Object.Name]
	if why := l.with(nil, names...).why(p, n); why != "" {
		t.Errorf("without its victims, node %s refuses: %s", n.Name, why)
	}
	for i := range names {
		kept := slices.Delete(slices.Clone(names), i, i+1)
		if l.with(nil, kept...).why(p, n) == "" {
			t.Errorf("victim %s is superfluous", names[i])
		}
	}
}
