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

func TestScores(t *testing.T) {
	plain := func(*corev1.Node) {}
	for _, tc := range []struct {
		name   string
		score  Score
		pod    *corev1.Pod
		node   func(*corev1.Node)
		placed []string // CPU of pods of the same owner on the node
		want   int64
	}{
		{"empty node", NodeResourcesFit{}, pod("1", "1Gi"), plain, nil, 75},
		{"used node", NodeResourcesFit{}, pod("1", "1Gi"), plain, []string{"1"}, 50},
		{"no requests count too", NodeResourcesFit{}, pod("0", "0"), plain, nil, 100},
		{"balanced", NodeResourcesBalancedAllocation{}, pod("1", "1Gi"), plain, nil, 100},
		{"unbalanced", NodeResourcesBalancedAllocation{}, pod("4", "0"), plain, nil, 50},
		{"no soft taints", TaintToleration{}, pod("1", "1Gi"), plain, nil, 100},
		{"a soft taint", TaintToleration{}, pod("1", "1Gi"), func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectPreferNoSchedule}}
		}, nil, 50},
		{"nothing preferred", NodeAffinity{}, pod("1", "1Gi"), plain, nil, 0},
		{"partly preferred", NodeAffinity{}, preferring("a"), func(n *corev1.Node) { n.Labels = map[string]string{"zone": "a"} }, nil, 75},
		{"alone", OwnerSpread{}, pod("1", "1Gi"), plain, nil, 100},
		{"three of the owner", OwnerSpread{}, pod("1", "1Gi"), plain, []string{"0", "0", "0"}, 25},
		{"no image", ImageLocality{}, pod("1", "1Gi"), plain, nil, 0},
		{"a big image", ImageLocality{}, pod("1", "1Gi"), func(n *corev1.Node) {
			n.Status.Images = []corev1.ContainerImage{{Names: []string{"img"}, SizeBytes: 2 << 30}}
		}, nil, 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cl := snapshot.NewCluster()
			n := cl.SetNode(node(tc.node))
			for i, cpu := range tc.placed {
				p := pod(cpu, "1Gi")
				p.UID = types.UID(fmt.Sprint("placed-", i))
				cl.Place(snapshot.PlacedOf(p, "n"))
			}
			p, err := snapshot.PodOf(tc.pod)
			if err != nil {
				t.Fatal(err)
			}
			if got := tc.score.Score(p, n); got != tc.want {
				t.Errorf("%s is %d, want %d", tc.score.Name(), got, tc.want)
			}
		})
	}
}
