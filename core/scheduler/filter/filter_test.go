package filter

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

func TestFilters(t *testing.T) {
	type edits struct {
		pod  func(*corev1.Pod)
		node func(*corev1.Node)
	}
	taint := func(effect corev1.TaintEffect) func(*corev1.Node) {
		return func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "x", Value: "y", Effect: effect}} }
	}
	tolerate := func(t corev1.Toleration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{t} }
	}
	ask := func(name corev1.ResourceName, amount string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{name: resource.MustParse(amount)}
		}
	}
	port := func(ip string, protocol corev1.Protocol) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80, HostIP: ip, Protocol: protocol}}
		}
	}
	all := []Filter{NodeUnschedulable{}, NodeName{}, TaintToleration{}, NodeAffinity{}, NodePorts{}, NodeResourcesFit{}}
	cordoned := func(n *corev1.Node) { n.Spec.Unschedulable = true }
	for _, tc := range []struct {
		name  string
		edits edits
		want  []Reason
	}{
		{"fits", edits{}, nil},
		{"cordoned", edits{node: cordoned}, unschedulable},
		{"cordon tolerated", edits{pod: tolerate(corev1.Toleration{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists}), node: cordoned}, nil},
		{"by another name", edits{pod: func(p *corev1.Pod) { p.Spec.NodeName = "else" }}, otherName},
		{"tainted", edits{node: taint(corev1.TaintEffectNoSchedule)}, tainted},
		{"tainted for execution", edits{node: taint(corev1.TaintEffectNoExecute)}, tainted},
		{"a preference is no bar", edits{node: taint(corev1.TaintEffectPreferNoSchedule)}, nil},
		{"taint tolerated", edits{pod: tolerate(corev1.Toleration{Key: "x", Value: "y"}), node: taint(corev1.TaintEffectNoSchedule)}, nil},
		{"another value tolerated", edits{pod: tolerate(corev1.Toleration{Key: "x", Value: "z"}), node: taint(corev1.TaintEffectNoSchedule)}, tainted},
		{"selector", edits{pod: func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"zone": "a"} }}, notSelected},
		{"port of all addresses", edits{pod: port("", corev1.ProtocolTCP)}, portTaken},
		{"port of another address", edits{pod: port("10.0.0.2", corev1.ProtocolTCP)}, nil},
		{"port of the address", edits{pod: port("10.0.0.1", corev1.ProtocolTCP)}, portTaken},
		{"port of another protocol", edits{pod: port("", corev1.ProtocolUDP)}, nil},
		{"cpu that is left", edits{pod: ask(corev1.ResourceCPU, "3")}, nil},
		{"too much cpu", edits{pod: ask(corev1.ResourceCPU, "3001m")}, []Reason{{Text: "Insufficient cpu"}}},
		{"too much memory", edits{pod: ask(corev1.ResourceMemory, "5Gi")}, []Reason{{Text: "Insufficient memory", Final: true}}},
		{"a device that is not there", edits{pod: ask("example.com/gpu", "1")}, []Reason{{Text: "Insufficient example.com/gpu", Final: true}}},
		{"no room for pods", edits{node: func(n *corev1.Node) { n.Status.Allocatable[corev1.ResourcePods] = resource.MustParse("1") }}, []Reason{{Text: "Too many pods"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourcePods: resource.MustParse("110"),
			}}}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{}}}}
			there := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "there"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{}}}}
			port("10.0.0.1", corev1.ProtocolTCP)(there)
			ask(corev1.ResourceCPU, "1")(there)
			if tc.edits.pod != nil {
				tc.edits.pod(pod)
			}
			if tc.edits.node != nil {
				tc.edits.node(n)
			}
			cl := snapshot.NewCluster()
			seen := cl.SetNode(n)
			cl.Place(snapshot.PlacedOf(there, "n"))
			p, err := cl.PodOf(pod, snapshot.Digest{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, Check(all, p, seen)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
