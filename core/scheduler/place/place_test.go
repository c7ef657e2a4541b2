package place

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

var clusters = flag.Int("clusters", 250, "how many random clusters are compared with the reference")

// owned is an annotation of pods that get the default constraints, with the selector ownedBy.
const owned = "owned"

var ownedBy = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}

const zone, rack = corev1.LabelTopologyZone, "rack"

func randomNode(rng *rand.Rand, name string) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}},
		Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourceCPU: *resource.NewMilliQuantity(int64(1000+500*rng.IntN(4)), resource.DecimalSI), corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourcePods: resource.MustParse("110"),
		}},
	}
	for key, n2 := range map[string]int{zone: 3, rack: 5} {
		if rng.IntN(8) > 0 {
			n.Labels[key] = fmt.Sprint(rng.IntN(n2))
		}
	}
	if rng.IntN(10) > 0 {
		n.Labels[corev1.LabelHostname] = name
		if rng.IntN(10) == 0 {
			n.Labels[corev1.LabelHostname] = "shared"
		}
	}
	effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
	for _, key := range []string{"x", "y"} {
		if rng.IntN(5) == 0 {
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: effects[rng.IntN(3)]})
		}
	}
	if rng.IntN(2) == 0 {
		n.Status.Images = []corev1.ContainerImage{{Names: []string{"img:1"}, SizeBytes: int64(rng.IntN(3)) << 29}}
	}
	return n
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func randomSelector(rng *rand.Rand) *metav1.LabelSelector {
	switch rng.IntN(8) {
	case 0:
		return &metav1.LabelSelector{}
	case 1:
		return nil
	case 2:
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: pick(rng, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist)}}}
	}
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": pick(rng, "a", "b")}}
}

func randomTerm(rng *rand.Rand) corev1.PodAffinityTerm {
	t := corev1.PodAffinityTerm{TopologyKey: pick(rng, zone, rack, corev1.LabelHostname), LabelSelector: randomSelector(rng)}
	switch rng.IntN(4) {
	case 0:
		t.Namespaces = []string{pick(rng, "one", "two")}
	case 1:
		t.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "red"}}
	}
	return t
}

func randomPod(rng *rand.Rand, name string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: pick(rng, "one", "one", "two"), UID: types.UID(name), Labels: map[string]string{"app": pick(rng, "a", "b"), "unique": name}},
		Spec:       corev1.PodSpec{Priority: new(int32(rng.IntN(3))), Containers: []corev1.Container{{Image: pick(rng, "img:1", "other:1")}}},
	}
	if rng.IntN(2) == 0 {
		p.Labels["tier"] = "back"
	}
	if rng.IntN(6) > 0 {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(int64(50*rng.IntN(8)), resource.DecimalSI)}
	}
	if rng.IntN(6) == 0 {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: pick(rng, int32(80), 81)}}
	}
	if rng.IntN(2) == 0 {
		p.Spec.Tolerations = []corev1.Toleration{{Key: pick(rng, "x", "y"), Operator: corev1.TolerationOpExists}}
	}
	if rng.IntN(5) == 0 {
		p.Spec.NodeSelector = map[string]string{zone: fmt.Sprint(rng.IntN(3))}
	}
	randomSpread(rng, p)
	randomAffinity(rng, p)
	randomUses(rng, p)
	if len(p.Spec.TopologySpreadConstraints) == 0 && rng.IntN(2) == 0 {
		p.Annotations = map[string]string{owned: "yes"}
	}
	return p
}

func randomSpread(rng *rand.Rand, p *corev1.Pod) {
	for _, key := range []string{zone, rack, corev1.LabelHostname} {
		for _, when := range []corev1.UnsatisfiableConstraintAction{corev1.DoNotSchedule, corev1.ScheduleAnyway} {
			if rng.IntN(7) > 0 {
				continue
			}
			c := corev1.TopologySpreadConstraint{TopologyKey: key, WhenUnsatisfiable: when, MaxSkew: int32(1 + rng.IntN(2)), LabelSelector: randomSelector(rng)}
			if when == corev1.DoNotSchedule && rng.IntN(3) == 0 {
				c.MinDomains = new(int32(1 + rng.IntN(4)))
			}
			if rng.IntN(3) == 0 {
				c.NodeAffinityPolicy = new(pick(rng, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore))
			}
			if rng.IntN(3) == 0 {
				c.NodeTaintsPolicy = new(pick(rng, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore))
			}
			p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, c)
		}
	}
}

func randomAffinity(rng *rand.Rand, p *corev1.Pod) {
	a := &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}, PodAffinity: &corev1.PodAffinity{}, PodAntiAffinity: &corev1.PodAntiAffinity{}}
	p.Spec.Affinity = a
	if rng.IntN(4) == 0 {
		a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.PreferredSchedulingTerm{{
			Weight: int32(1 + rng.IntN(9)), Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: rack, Operator: corev1.NodeSelectorOpIn, Values: []string{"1"}}}},
		}}
	}
	for range 2 {
		if rng.IntN(8) == 0 {
			a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution = append(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, randomTerm(rng))
		}
		if rng.IntN(8) == 0 {
			a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution = append(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, randomTerm(rng))
		}
		if rng.IntN(5) == 0 {
			a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution = append(a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution, corev1.WeightedPodAffinityTerm{Weight: int32(1 + rng.IntN(9)), PodAffinityTerm: randomTerm(rng)})
		}
		if rng.IntN(5) == 0 {
			a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution = append(a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution, corev1.WeightedPodAffinityTerm{Weight: int32(1 + rng.IntN(9)), PodAffinityTerm: randomTerm(rng)})
		}
	}
}

// lab is a world, and a cluster and classes that have been kept up with it.
type lab struct {
	*world
	rng     *rand.Rand
	cluster *snapshot.Cluster
	classes map[string]*Class
	count   int
}

func newLab(seed uint64) *lab {
	l := &lab{
		world: &world{nodes: map[string]*corev1.Node{}, pods: map[string]*corev1.Pod{}, nominated: map[string]*corev1.Pod{}, namespaces: map[string]labels.Set{}, storage: newStorage()},
		rng:   rand.New(rand.NewPCG(seed, 7)), cluster: snapshot.NewCluster(), classes: map[string]*Class{},
	}
	for i := range 2 + l.rng.IntN(10) {
		l.setNode(randomNode(l.rng, fmt.Sprint("n", i)))
	}
	l.setNamespace("one", "red")
	l.setNamespace("two", "blue")
	for range 60 {
		l.changeVolumes()
	}
	return l
}

func (l *lab) setNode(n *corev1.Node) {
	l.nodes[n.Name] = n
	l.cluster.SetNode(n)
}

func (l *lab) setNamespace(name, team string) {
	l.namespaces[name] = labels.Set{"team": team}
	l.cluster.SetNamespace(name, labels.Set{"team": team})
}

func (l *lab) class(p *corev1.Pod) *Class {
	d := snapshot.Digest{}
	if p.Annotations[owned] != "" {
		d.Defaults, d.Owner = &snapshot.SystemSpread, refSelector(ownedBy)
	}
	digest, err := l.cluster.PodOf(p, d)
	if err != nil {
		panic(err)
	}
	c := l.classes[digest.Key]
	if c == nil {
		c = NewClass(digest, Default("default-scheduler"), l.cluster)
		l.classes[digest.Key] = c
	}
	c.Refresh()
	return c
}

func anyOf[T any](rng *rand.Rand, m map[string]T) (string, bool) {
	if len(m) == 0 {
		return "", false
	}
	return slices.Sorted(maps.Keys(m))[rng.IntN(len(m))], true
}

// change does something to the cluster.
func (l *lab) change() {
	switch l.rng.IntN(16) {
	case 12, 13, 14, 15:
		l.changeVolumes()
	case 0:
		if name, ok := anyOf(l.rng, l.nodes); ok {
			l.setNode(randomNode(l.rng, name))
		}
	case 1:
		if name, ok := anyOf(l.rng, l.nodes); ok && len(l.nodes) > 1 {
			delete(l.nodes, name)
			l.cluster.DropNode(name)
		}
	case 2:
		l.setNode(randomNode(l.rng, fmt.Sprint("n", l.rng.IntN(14))))
	case 3, 4:
		if name, ok := anyOf(l.rng, l.pods); ok {
			delete(l.pods, name)
			l.cluster.Remove(types.UID(name))
		}
	case 5:
		if name, ok := anyOf(l.rng, l.pods); ok {
			p := l.pods[name].DeepCopy()
			p.Labels["app"] = pick(l.rng, "a", "b", "c")
			if l.rng.IntN(2) == 0 {
				p.DeletionTimestamp = new(metav1.Now())
			}
			l.pods[name] = p
			l.cluster.Place(snapshot.PlacedOf(p, p.Spec.NodeName))
		}
	case 6:
		l.setNamespace("two", pick(l.rng, "red", "blue"))
	case 7:
		l.nominate()
	}
}

func (l *lab) nominate() {
	if name, ok := anyOf(l.rng, l.nominated); ok && l.rng.IntN(2) == 0 {
		delete(l.nominated, name)
		l.cluster.Nominate(&snapshot.Placed{UID: types.UID(name)})
		return
	}
	if node, ok := anyOf(l.rng, l.nodes); ok {
		l.count++
		p := randomPod(l.rng, fmt.Sprint("m", l.count))
		p.Spec.NodeName = node
		l.nominated[p.Name] = p
		l.cluster.Nominate(snapshot.PlacedOf(p, node))
	}
}

// expected is what the reference says of every node.
func (l *lab) expected(p *corev1.Pod) (scores map[string]int64, why map[string]string) {
	if p.Annotations[owned] != "" {
		p = p.DeepCopy()
		for _, c := range snapshot.SystemSpread.Constraints {
			c.LabelSelector = ownedBy
			p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, c)
		}
	}
	var fits []*corev1.Node
	why = map[string]string{}
	for name, n := range l.nodes {
		if w := l.why(p, n); w != "" {
			why[name] = w
		} else {
			fits = append(fits, n)
		}
	}
	return l.scores(p, fits), why
}

func (l *lab) got(c *Class) (scores map[string]int64, why map[string]string) {
	scores, why = map[string]int64{}, map[string]string{}
	for _, a := range c.All() {
		scores[a.Node.Object.Name] = a.Score
	}
	for name := range l.nodes {
		if reasons := c.Why(l.cluster.Node(name).Index); len(reasons) > 0 {
			why[name] = reasons[0].Text
		}
	}
	return scores, why
}

// What is remembered decides as an evaluation of everything does, whatever happened before: the same nodes
// fit, the others refuse for the same reasons, and all scores are the same.
func TestSameAsReference(t *testing.T) {
	for seed := range uint64(*clusters) {
		l := newLab(seed)
		// Few kinds of pods, so that classes are used again.
		var kinds []*corev1.Pod
		for i := range 4 {
			kinds = append(kinds, randomPod(l.rng, fmt.Sprint("kind", i)))
		}
		for i := range 40 {
			l.change()
			p := pick(l.rng, kinds...).DeepCopy()
			p.Name = fmt.Sprint("p", i)
			p.UID, p.Labels["unique"] = types.UID(p.Name), p.Name
			c := l.class(p)
			wantScores, wantWhy := l.expected(p)
			gotScores, gotWhy := l.got(c)
			if diff := cmp.Diff(wantScores, gotScores) + cmp.Diff(wantWhy, gotWhy); diff != "" {
				t.Fatalf("seed %d, pod %d: %s", seed, i, diff)
			}
			n, most := c.Best()
			for _, s := range wantScores {
				if n == nil || s > most {
					t.Fatalf("seed %d, pod %d: best is %v with %d, there is %d", seed, i, n, most, s)
				}
			}
			if n == nil {
				continue
			}
			if wantScores[n.Object.Name] != most {
				t.Fatalf("seed %d, pod %d: the best node's score is %d, want %d", seed, i, most, wantScores[n.Object.Name])
			}
			l.takeVolumes(t, seed, c, p, n.Object.Name)
			placed := p.DeepCopy()
			placed.Spec.NodeName = n.Object.Name
			l.pods[p.Name] = placed
			l.cluster.Place(c.Pod.PlacedAs(p, n.Object.Name))
		}
	}
}

// A cluster that was kept by events is as one that is built from the objects.
func TestSnapshotAsRebuilt(t *testing.T) {
	for seed := range uint64(*clusters / 4) {
		l := newLab(seed)
		for i := range 60 {
			l.change()
			node, _ := anyOf(l.rng, l.nodes)
			p := randomPod(l.rng, fmt.Sprint("p", i))
			p.Spec.NodeName = node
			l.pods[p.Name] = p
			l.cluster.Place(snapshot.PlacedOf(p, node))
		}
		fresh := snapshot.NewCluster()
		for _, n := range l.nodes {
			fresh.SetNode(n)
		}
		for _, p := range l.pods {
			fresh.Place(snapshot.PlacedOf(p, p.Spec.NodeName))
		}
		for name := range l.nodes {
			if diff := cmp.Diff(describe(fresh.Node(name)), describe(l.cluster.Node(name))); diff != "" {
				t.Fatalf("seed %d, node %s: %s", seed, name, diff)
			}
		}
		if fresh.Pods() != l.cluster.Pods() || fresh.Holders("img:1") != l.cluster.Holders("img:1") {
			t.Fatalf("seed %d: %d pods and %d holders, want %d and %d", seed, l.cluster.Pods(), l.cluster.Holders("img:1"), fresh.Pods(), fresh.Holders("img:1"))
		}
	}
}

func describe(n *snapshot.Node) map[string]any {
	shapes := map[string]int64{}
	for _, s := range n.Shapes {
		shapes[fmt.Sprint(s.Namespace, s.Labels, s.Terminating, len(s.Terms))] += s.Count
	}
	return map[string]any{
		"requested": n.Requested, "load": n.Load, "count": n.Count, "ports": n.Ports, "pods": slices.Sorted(maps.Keys(n.Pods)), "shapes": shapes, "max": n.MaxPods,
	}
}
