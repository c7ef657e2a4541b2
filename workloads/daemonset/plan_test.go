package daemonset

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	logs  = map[string]string{"app": "log"}
)

func set(edit ...func(*appsv1.DaemonSet)) *appsv1.DaemonSet {
	ds := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "log", UID: "set", Generation: 2},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: logs},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: logs},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a:2"}}},
			},
		},
	}
	missing(1)(ds)
	for _, e := range edit {
		e(ds)
	}
	return ds
}

func missing(n int32) func(*appsv1.DaemonSet) {
	return func(ds *appsv1.DaemonSet) {
		ds.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: new(intstr.FromInt32(n))}}
	}
}

func surge(v intstr.IntOrString) func(*appsv1.DaemonSet) {
	return func(ds *appsv1.DaemonSet) {
		ds.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateDaemonSet{MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: &v}
	}
}

func onDelete(ds *appsv1.DaemonSet) {
	ds.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: "OnDelete"}
}
func patient(ds *appsv1.DaemonSet) { ds.Spec.MinReadySeconds = 10 }
func choosy(ds *appsv1.DaemonSet) {
	ds.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "ssd"}
}

func node(name string, edit ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, e := range edit {
		e(n)
	}
	return n
}

func ssd(n *corev1.Node) { n.Labels = map[string]string{"disk": "ssd"} }

func tainted(key string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: effect}) }
}

// pod is on a node, "1" or "2" its template, ready for four seconds.
func pod(on, template string, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := newPod(set(), "h"+template, on)
	p.Name, p.UID = fmt.Sprint("p-", on, template), types.UID("u-"+on+template)
	p.Spec.NodeName = on
	p.CreationTimestamp = metav1.NewTime(start.Add(-time.Hour))
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{
		Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(start.Add(-4 * time.Second)),
	}}}
	for _, e := range edit {
		e(p)
	}
	return p
}

func unready(p *corev1.Pod)     { p.Status.Conditions[0].Status = corev1.ConditionFalse }
func going(p *corev1.Pod)       { p.DeletionTimestamp = &metav1.Time{Time: start} }
func failed(p *corev1.Pod)      { p.Status = corev1.PodStatus{Phase: corev1.PodFailed} }
func succeeded(p *corev1.Pod)   { p.Status = corev1.PodStatus{Phase: corev1.PodSucceeded} }
func unscheduled(p *corev1.Pod) { p.Spec.NodeName = "" }
func younger(p *corev1.Pod) {
	p.Name += "y"
	p.CreationTimestamp = metav1.NewTime(start)
}

func outline(p plan) []string {
	out := []string{}
	for _, n := range p.create {
		out = append(out, "create "+n)
	}
	for _, x := range p.remove {
		out = append(out, "remove "+x.Name)
	}
	return out
}

func TestDecide(t *testing.T) {
	type nodes = []*corev1.Node
	type pods = []*corev1.Pod
	abc := nodes{node("a"), node("b"), node("c")}
	for _, tc := range []struct {
		name  string
		ds    *appsv1.DaemonSet
		nodes nodes
		pods  pods
		want  []string
	}{
		{"one on each", set(), abc, pods{pod("b", "2")}, []string{"create a", "create c"}},
		{"one that waits for its node counts", set(), nodes{node("a")}, pods{pod("a", "2", unscheduled)}, []string{}},
		{"one that waits for a node that is gone", set(), nil, pods{pod("a", "2", unscheduled)}, []string{"remove p-a2"}},
		{"one on a node that is gone is not ours to remove", set(), nil, pods{pod("a", "2")}, []string{}},
		{"a selector", set(choosy), nodes{node("a"), node("b", ssd)}, pods{pod("a", "2")}, []string{"create b", "remove p-a2"}},
		{"an unschedulable node is good enough", set(), nodes{node("a", tainted(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule))}, nil, []string{"create a"}},
		{"a lost node too", set(), nodes{node("a", tainted(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute))}, nil, []string{"create a"}},
		{"a reserved node gets none", set(), nodes{node("a", tainted("x", corev1.TaintEffectNoSchedule))}, nil, []string{}},
		{"but keeps what it has", set(), nodes{node("a", tainted("x", corev1.TaintEffectNoSchedule))}, pods{pod("a", "2")}, []string{}},
		{"unless it evicts", set(), nodes{node("a", tainted("x", corev1.TaintEffectNoExecute))}, pods{pod("a", "2")}, []string{"remove p-a2"}},
		{"no network", set(), nodes{node("a", tainted(corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule))}, nil, []string{}},
		{"no need of one", set(func(ds *appsv1.DaemonSet) { ds.Spec.Template.Spec.HostNetwork = true }), nodes{node("a", tainted(corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule))}, nil, []string{"create a"}},
		{"a named node", set(func(ds *appsv1.DaemonSet) { ds.Spec.Template.Spec.NodeName = "b" }), abc, nil, []string{"create b"}},
		{"two on a node", set(), nodes{node("a")}, pods{pod("a", "2", younger), pod("a", "2")}, []string{"remove p-a2y"}},
		{"one that goes is waited for", set(), nodes{node("a")}, pods{pod("a", "2", going)}, []string{}},
		{"failed", set(), nodes{node("a")}, pods{pod("a", "2", failed)}, []string{"remove p-a2"}},
		{"failed on a node of failures", set(), nodes{node("held")}, pods{pod("held", "2", failed)}, []string{}},
		{"succeeded", set(), nodes{node("held")}, pods{pod("held", "2", succeeded)}, []string{"remove p-held2"}},

		{"update one by one", set(), abc, pods{pod("a", "1"), pod("b", "1"), pod("c", "1")}, []string{"remove p-a1"}},
		{"update two at a time", set(missing(2)), abc, pods{pod("a", "1"), pod("b", "1"), pod("c", "1")}, []string{"remove p-a1", "remove p-b1"}},
		{"update waits for the new", set(), abc, pods{pod("a", "2", unready), pod("b", "1"), pod("c", "1")}, []string{}},
		{"update waits for the old to go", set(), abc, pods{pod("a", "1", going), pod("b", "1"), pod("c", "1")}, []string{}},
		{"update waits for minReadySeconds", set(patient), abc, pods{pod("a", "2"), pod("b", "1", ripe), pod("c", "1", ripe)}, []string{}},
		{"a broken old one costs nothing", set(), abc, pods{pod("a", "2", unready), pod("b", "1", unready), pod("c", "1")}, []string{"remove p-b1"}},
		{"on delete", set(onDelete), abc, pods{pod("a", "1"), pod("b", "1"), pod("c", "1")}, []string{}},

		{"surge", set(surge(intstr.FromInt32(1))), abc, pods{pod("a", "1"), pod("b", "1"), pod("c", "1")}, []string{"create a"}},
		{"surge in percent", set(surge(intstr.FromString("50%"))), abc, pods{pod("a", "1"), pod("b", "1"), pod("c", "1")}, []string{"create a", "create b"}},
		{"surging waits", set(surge(intstr.FromInt32(1))), abc, pods{pod("a", "1"), pod("a", "2", unready), pod("b", "1"), pod("c", "1")}, []string{}},
		{"surged", set(surge(intstr.FromInt32(1))), abc, pods{pod("a", "1"), pod("a", "2"), pod("b", "1"), pod("c", "2")}, []string{"create b", "remove p-a1"}},
		{"a broken old one makes room", set(surge(intstr.FromInt32(1))), abc, pods{pod("a", "1", unready), pod("a", "2", unready), pod("b", "1", unready), pod("c", "1")}, []string{"create b", "remove p-a1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hold := func(node string) time.Duration {
				if node == "held" {
					return 7 * time.Second
				}
				return 0
			}
			p := decide(state{ds: tc.ds, hash: "h2", pods: tc.pods, nodes: tc.nodes, hold: hold, now: start})
			if diff := cmp.Diff(tc.want, outline(p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func ripe(p *corev1.Pod) {
	p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(start.Add(-time.Minute))
}

func TestStatus(t *testing.T) {
	nodes := []*corev1.Node{node("a", ssd), node("b", ssd), node("c", ssd), node("d"), node("e", ssd)}
	pods := []*corev1.Pod{pod("a", "2", ripe), pod("b", "1", unready), pod("c", "1"), pod("d", "1")}
	p := decide(state{ds: set(choosy, patient), hash: "h2", pods: pods, nodes: nodes, now: start})
	want := appsv1.DaemonSetStatus{
		ObservedGeneration: 2, DesiredNumberScheduled: 4, CurrentNumberScheduled: 3, NumberMisscheduled: 1,
		NumberReady: 2, NumberAvailable: 1, NumberUnavailable: 3, UpdatedNumberScheduled: 1,
	}
	if diff := cmp.Diff(want, p.status); diff != "" {
		t.Error(diff)
	}
	if p.wakeAfter != 6*time.Second {
		t.Errorf("wakes after %s, want 6s", p.wakeAfter)
	}
}

func TestNewPod(t *testing.T) {
	ds := set(choosy)
	ds.Annotations = map[string]string{appsv1.DeprecatedTemplateGeneration: "3"}
	p := newPod(ds, "h2", "a")
	if diff := cmp.Diff(map[string]string{"app": "log", "controller-revision-hash": "h2", "pod-template-generation": "3"}, p.Labels); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{"a", "log-", 6}, []any{nodeOf(p), p.GenerateName, len(p.Spec.Tolerations)}); diff != "" {
		t.Error(diff)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	got := []time.Duration{b.left("u", "a", start)}
	now := start
	for range 3 {
		b.failed("u", "a", now)
		got = append(got, b.left("u", "a", now), b.left("u", "b", now))
		now = now.Add(time.Minute)
	}
	now = now.Add(time.Hour)
	b.failed("u", "a", now)
	got = append(got, b.left("u", "a", now))
	b.forget("u")
	got = append(got, b.left("u", "a", now))
	if diff := cmp.Diff([]time.Duration{0, time.Second, 0, 2 * time.Second, 0, 4 * time.Second, 0, time.Second, 0}, got); diff != "" {
		t.Error(diff)
	}
}
