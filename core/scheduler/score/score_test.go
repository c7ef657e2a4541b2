package score

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

func node(edit func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}}}
	edit(n)
	return n
}

func pod(cpu, memory string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: "p", OwnerReferences: []metav1.OwnerReference{{UID: "owner", Controller: new(true)}}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "img", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
		}}}}},
	}
}

func preferring(zone string) *corev1.Pod {
	p := pod("1", "1Gi")
	p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
		{Weight: 30, Preference: term("zone", zone)}, {Weight: 10, Preference: term("disk", "ssd")},
	}}}
	return p
}

func term(key, value string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{value}}}}
}

func TestResourceScores(t *testing.T) {
	least := NodeResourcesFit{Resources: CPUAndMemory, Strategy: LeastAllocated}
	most := NodeResourcesFit{Resources: CPUAndMemory, Strategy: MostAllocated}
	ratio := NodeResourcesFit{Resources: CPUAndMemory, Strategy: Shape([]Point{{0, 0}, {50, 100}, {100, 20}}), Ratio: true}
	devices := NodeResourcesFit{Resources: []Resource{{"example.com/gpu", 3}, {corev1.ResourceCPU, 1}}, Strategy: MostAllocated}
	balanced := NodeResourcesBalancedAllocation{Resources: CPUAndMemory}
	gpus := func(n *corev1.Node) { n.Status.Allocatable["example.com/gpu"] = resource.MustParse("2") }
	gpu := func(p *corev1.Pod) *corev1.Pod {
		p.Spec.Containers[0].Resources.Requests["example.com/gpu"] = resource.MustParse("1")
		return p
	}
	plain := func(*corev1.Node) {}
	for _, tc := range []struct {
		name   string
		score  Score
		pod    *corev1.Pod
		node   func(*corev1.Node)
		placed []string // CPU of pods with a gigabyte each on the node
		want   int64
	}{
		{"empty node", least, pod("1", "1Gi"), plain, nil, 75},
		{"used node", least, pod("1", "1Gi"), plain, []string{"1"}, 50},
		{"no requests count too", least, noRequests(), plain, nil, 96},
		{"beyond the node", least, pod("5", "1Gi"), plain, nil, 37},
		{"most allocated", most, pod("1", "1Gi"), plain, []string{"1"}, 50},
		{"most allocated beyond", most, pod("5", "1Gi"), plain, nil, 62},
		{"shape", ratio, pod("1", "2Gi"), plain, nil, 75},
		{"shape falls", ratio, pod("4", "2Gi"), plain, nil, 60},
		{"shape of nothing", ratio, pod("4", "0"), plain, nil, 20},
		{"device asked for", devices, gpu(pod("4", "0")), gpus, nil, 62},
		{"device not asked for", devices, pod("2", "0"), gpus, nil, 50},
		{"balance kept", balanced, pod("1", "1Gi"), plain, nil, 75},
		{"balance lost", balanced, pod("4", "0"), plain, nil, 50},
		{"balance found", balanced, pod("2", "0"), plain, []string{"0", "0"}, 87},
		{"nothing to balance", balanced, noRequests(), plain, nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cl := snapshot.NewCluster()
			n := cl.SetNode(node(tc.node))
			for i, cpu := range tc.placed {
				p := pod(cpu, "1Gi")
				p.UID = types.UID(fmt.Sprint("placed-", i))
				cl.Place(snapshot.PlacedOf(p, "n"))
			}
			p, err := cl.PodOf(tc.pod, snapshot.Digest{})
			if err != nil {
				t.Fatal(err)
			}
			if got := tc.score.Score(p, n); got != tc.want {
				t.Errorf("%s is %d, want %d", tc.score.Name(), got, tc.want)
			}
		})
	}
}

func noRequests() *corev1.Pod {
	p := pod("1", "1Gi")
	p.Spec.Containers[0].Resources.Requests = nil
	return p
}

func TestRawScores(t *testing.T) {
	cl := snapshot.NewCluster()
	n := cl.SetNode(node(func(n *corev1.Node) {
		n.Labels = map[string]string{"zone": "a"}
		n.Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectPreferNoSchedule}, {Key: "y", Effect: corev1.TaintEffectNoSchedule}}
	}))
	p, err := cl.PodOf(preferring("a"), snapshot.Digest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := Affinity(p, nil, n); got != 30 {
		t.Errorf("affinity is %d, want 30", got)
	}
	if got := Taints(p, n); got != 1 {
		t.Errorf("taints are %d, want 1", got)
	}
}

func TestImages(t *testing.T) {
	for _, tc := range []struct {
		name    string
		sizes   []int64
		holders int
		want    int64
	}{
		{"none", nil, 0, 0},
		{"small", []int64{20 << 20}, 2, 0},
		{"half a gigabyte", []int64{500 << 20}, 2, 48},
		{"on half of the nodes", []int64{500 << 20}, 1, 23},
		{"huge", []int64{5 << 30}, 2, 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Images(tc.sizes, func(int) int { return tc.holders }, 2, 1); got != tc.want {
				t.Errorf("score is %d, want %d", got, tc.want)
			}
		})
	}
}
