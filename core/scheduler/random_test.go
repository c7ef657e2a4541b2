package scheduler

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/scheduler/place"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

func randomPod(rng *rand.Rand, name string) *corev1.Pod {
	p := pod(name, fmt.Sprintf("%dm", 250*(1+rng.IntN(6))), labelled(fmt.Sprint(rng.IntN(3))), priority(int32(rng.IntN(2))), never)
	term := []corev1.PodAffinityTerm{{TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": fmt.Sprint(rng.IntN(3))}}}}
	switch rng.IntN(6) {
	case 3:
		pinned(fmt.Sprint("n", rng.IntN(6)))(p)
	case 0:
		p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: term}}
	case 1:
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: term}}
	case 2:
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: term[0].LabelSelector,
		}}
	}
	return p
}

// Whatever happens, no pod is left waiting that fits somewhere, and none is lost or bound twice.
func TestNothingIsForgotten(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 11))
		h := newHarness(t)
		placed, pending := map[string]*corev1.Pod{}, map[string]*corev1.Pod{}
		for i := range 60 {
			h.disturb(rng, i, placed, pending)
			for _, b := range h.run() {
				name, node := cut(b)
				if pending[name] == nil {
					t.Fatalf("seed %d: %s is bound, and was not pending", seed, name)
				}
				p := pending[name].DeepCopy()
				p.Spec.NodeName = node
				placed[name] = p
				delete(pending, name)
				h.setPod(p)
			}
			h.checkWaiting(seed, pending)
		}
	}
}

func cut(binding string) (pod, node string) {
	for i, r := range binding {
		if r == '→' {
			return binding[:i], binding[i+len("→"):]
		}
	}
	return binding, ""
}

// disturb does something to the cluster.
func (h *harness) disturb(rng *rand.Rand, i int, placed, pending map[string]*corev1.Pod) {
	some := func(m map[string]*corev1.Pod) *corev1.Pod {
		names := slices.Sorted(maps.Keys(m))
		if len(names) == 0 {
			return nil
		}
		return m[names[rng.IntN(len(names))]]
	}
	switch rng.IntN(6) {
	case 0:
		h.setNode(node(fmt.Sprint("n", rng.IntN(6)), fmt.Sprint(1+rng.IntN(4))))
	case 1:
		if p := some(placed); p != nil {
			delete(placed, p.Name)
			h.podEvents().OnDelete(p)
		}
	case 2:
		if p := some(placed); p != nil {
			changed := p.DeepCopy()
			changed.Labels = map[string]string{"app": fmt.Sprint(rng.IntN(3))}
			placed[p.Name] = changed
			h.podEvents().OnUpdate(p, changed)
		}
	case 3:
		if p := some(pending); p != nil {
			delete(pending, p.Name)
			h.podEvents().OnDelete(p)
		}
	default:
		p := randomPod(rng, fmt.Sprint("p", i))
		pending[p.Name] = p
		h.setPod(p)
	}
}

// checkWaiting compares the queue with classes that know nothing from before.
func (h *harness) checkWaiting(seed uint64, pending map[string]*corev1.Pod) {
	h.t.Helper()
	if len(h.queue.items) != len(pending) {
		h.t.Fatalf("seed %d: %d pods are in the queue, want %d", seed, len(h.queue.items), len(pending))
	}
	for name, p := range pending {
		it := h.queue.items[p.UID]
		if it == nil || it.class.waiting[p.UID] != it {
			h.t.Fatalf("seed %d: %s does not wait", seed, name)
		}
		digest, profile, err := h.digest(p)
		if err != nil {
			h.t.Fatal(err)
		}
		fresh := place.NewClass(digest, profile.Profile, h.cluster)
		fresh.Refresh()
		n, _ := fresh.Best()
		if pin := snapshot.Pin(p); pin != "" {
			n, _ = fresh.Only(h.cluster.Node(pin))
		}
		if n != nil {
			h.t.Fatalf("seed %d: %s waits and fits on %s", seed, name, n.Object.Name)
		}
	}
}
