package node

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gantryio/gantry/core/agent/apiwatch/apiwatchtest"
)

func testSpec() Spec {
	return Spec{
		Name: "n", Hostname: "h", IPs: []string{"192.0.2.1"}, MaxPods: 7, Port: 10250,
		Machine:  Machine{Capacity: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")}, Info: corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64"}},
		Reserved: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m")},
	}
}

func TestStatus(t *testing.T) {
	now := time.Unix(1000, 0)
	s := testSpec().Status(corev1.NodeStatus{}, Health{DiskPressure: true, NotReady: "no network"}, now)
	got := map[corev1.NodeConditionType]string{}
	for _, c := range s.Conditions {
		got[c.Type] = string(c.Status) + " " + c.Reason
	}
	want := map[corev1.NodeConditionType]string{
		"Ready": "False KubeletNotReady", "MemoryPressure": "False KubeletHasSufficientMemory",
		"DiskPressure": "True KubeletHasDiskPressure", "PIDPressure": "False KubeletHasSufficientPID",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if q := s.Allocatable[corev1.ResourceCPU]; q.String() != "3500m" {
		t.Errorf("allocatable %s", q.String())
	}
	later := testSpec().Status(s, Health{DiskPressure: true, NotReady: "no network"}, now.Add(time.Hour))
	if !Same(&s, &later) {
		t.Error("a heartbeat alone is a change")
	}
	if !later.Conditions[0].LastTransitionTime.Equal(&s.Conditions[0].LastTransitionTime) {
		t.Error("a heartbeat moved the transition time")
	}
	s.Capacity["example.com/gpu"], s.Capacity["hugepages-2Mi"] = resource.MustParse("5"), resource.MustParse("2Mi")
	ready := testSpec().Status(s, Health{}, now)
	for _, list := range []corev1.ResourceList{ready.Capacity, ready.Allocatable} {
		if gpu := list["example.com/gpu"]; gpu.Value() != 5 {
			t.Errorf("what others have put on the node is %s", gpu.String())
		}
		if _, ok := list["hugepages-2Mi"]; ok {
			t.Error("the node has what its machine does not")
		}
	}
	if Same(&s, &ready) {
		t.Error("becoming ready is no change")
	}
}

// TestRegistrar sees the node become ready once its health does, in an API where the Node exists already.
func TestRegistrar(t *testing.T) {
	old := &corev1.Node{}
	old.Name, old.Labels = "n", map[string]string{"kept": "yes"}
	watched := make(chan struct{}, 10)
	api := fake.NewClientBuilder().WithObjects(old).WithStatusSubresource(&corev1.Node{}).
		WithIndex(&corev1.Node{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithInterceptorFuncs(apiwatchtest.Begun(watched, nil)).Build()
	healthy := make(chan struct{})
	seen := make(chan *corev1.Node, 100)
	r := &Registrar{
		API: api, Clock: clock.RealClock{}, Log: slog.Default(), Spec: testSpec(), Changed: func(n *corev1.Node) { seen <- n },
		Health: func(context.Context) Health {
			select {
			case <-healthy:
				return Health{}
			default:
				return Health{NotReady: "not yet"}
			}
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	until := func(status corev1.ConditionStatus) *corev1.Node {
		t.Helper()
		limit := time.After(10 * time.Second)
		for {
			select {
			case n := <-seen:
				for _, c := range n.Status.Conditions {
					if c.Type == corev1.NodeReady && c.Status == status {
						return n
					}
				}
			case <-limit:
				t.Fatalf("the node never became Ready=%s", status)
			}
		}
	}
	until(corev1.ConditionFalse)
	close(healthy)
	r.Wake()
	n := until(corev1.ConditionTrue)
	if n.Labels["kept"] != "yes" || n.Labels[corev1.LabelHostname] != "h" {
		t.Errorf("labels %v", n.Labels)
	}
	// Unlike the API's, this client's watch begins when it is asked for, not where the list before it ended.
	select {
	case <-watched:
	case <-time.After(10 * time.Second):
		t.Fatal("the node is not watched")
	}
	// What the node controller writes about a silent node is put right at once.
	unknown := n.DeepCopy()
	for i := range unknown.Status.Conditions {
		unknown.Status.Conditions[i].Status = corev1.ConditionUnknown
	}
	if err := api.Status().Update(ctx, unknown); err != nil {
		t.Fatal(err)
	}
	until(corev1.ConditionUnknown)
	until(corev1.ConditionTrue)
	cancel()
	<-done
	var lease coordinationv1.Lease
	if err := api.Get(context.Background(), client.ObjectKey{Namespace: leaseNamespace, Name: "n"}, &lease); err != nil || *lease.Spec.HolderIdentity != "n" {
		t.Errorf("lease %+v, %v", lease.Spec, err)
	}
}
