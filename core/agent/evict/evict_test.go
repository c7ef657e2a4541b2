package evict

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestFind(t *testing.T) {
	roomy := Filesystem{Capacity: 1000, Available: 500, Inodes: 100, InodesFree: 50}
	for _, tc := range []struct {
		name string
		s    Signals
		want string
	}{
		{"nothing", Signals{MemoryAvailable: 1 << 30, Node: roomy, Image: roomy}, ""},
		{"memory", Signals{MemoryAvailable: 99 << 20, Node: roomy, Image: roomy}, "low on resource: memory. Threshold quantity: 100Mi, available: 99Mi"},
		{"the node's disk", Signals{MemoryAvailable: 1 << 30, Node: Filesystem{Capacity: 1000, Available: 99}, Image: roomy}, "ephemeral-storage. Threshold quantity: 10%"},
		{"the images' disk", Signals{MemoryAvailable: 1 << 30, Node: roomy, Image: Filesystem{Capacity: 1000, Available: 149}}, "Threshold quantity: 15%"},
		{"inodes", Signals{MemoryAvailable: 1 << 30, Node: Filesystem{Capacity: 10, Available: 9, Inodes: 100, InodesFree: 4}, Image: roomy}, "inodes"},
		{"not measured", Signals{}, ""},
	} {
		p := Find(tc.s)
		if got := ""; p != nil && !strings.Contains(p.Message, tc.want) || (p == nil) != (tc.want == got) {
			t.Errorf("%s: %+v, want %q", tc.name, p, tc.want)
		}
	}
}

func TestRank(t *testing.T) {
	pod := func(name string, priority int32, request string, used int64) Candidate {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Priority: &priority, Containers: []corev1.Container{{
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(request)}},
		}}}}
		return Candidate{Pod: p, Used: used}
	}
	in := []Candidate{
		pod("critical", 2000000000, "0", 900), pod("modest", 0, "500", 400), pod("greedy but important", 10, "100", 900),
		pod("greedy", 0, "100", 300), pod("greediest", 0, "100", 600),
	}
	var got []string
	for _, c := range Rank(corev1.ResourceMemory, in) {
		got = append(got, c.Pod.Name)
	}
	if diff := cmp.Diff([]string{"greediest", "greedy", "greedy but important", "modest"}, got); diff != "" {
		t.Error(diff)
	}
}
