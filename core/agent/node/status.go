package node

import (
	"maps"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxImages is how many images a node lists, as the kubelet does by default.
const maxImages = 50

// Spec is what an agent wants its Node to say of itself.
type Spec struct {
	Name     string
	Hostname string
	IPs      []string
	Labels   map[string]string
	Taints   []corev1.Taint
	Machine  Machine
	MaxPods  int64
	Reserved corev1.ResourceList
	// Port is the agent's own, 0 when it serves nothing.
	Port int32
}

// Health is what may change from one moment to the next.
type Health struct {
	// NotReady says why the node cannot run pods, "" when it can.
	NotReady       string
	MemoryPressure bool
	DiskPressure   bool
	PIDPressure    bool
	Images         []corev1.ContainerImage
	Handlers       []corev1.NodeRuntimeHandler
	// RuntimeVersion is such as containerd://2.4.2.
	RuntimeVersion string
}

// Labels are the labels that every node has, over those that were chosen.
func (s Spec) allLabels() map[string]string {
	out := map[string]string{
		corev1.LabelHostname: s.Hostname, corev1.LabelOSStable: s.Machine.Info.OperatingSystem,
		corev1.LabelArchStable:  s.Machine.Info.Architecture,
		"beta.kubernetes.io/os": s.Machine.Info.OperatingSystem, "beta.kubernetes.io/arch": s.Machine.Info.Architecture,
	}
	maps.Copy(out, s.Labels)
	return out
}

// Capacity is what the node has, Allocatable what of it pods may use.
func (s Spec) Capacity() (capacity, allocatable corev1.ResourceList) {
	capacity = s.Machine.Capacity.DeepCopy()
	capacity[corev1.ResourcePods] = *resource.NewQuantity(s.MaxPods, resource.DecimalSI)
	allocatable = capacity.DeepCopy()
	for name, q := range s.Reserved {
		if have, ok := allocatable[name]; ok {
			if have.Sub(q); have.Sign() < 0 {
				have = *resource.NewQuantity(0, have.Format)
			}
			allocatable[name] = have
		}
	}
	return capacity, allocatable
}

// New makes the Node for a first registration.
func (s Spec) New(h Health, now time.Time) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.Name, Labels: s.allLabels()}, Spec: corev1.NodeSpec{Taints: s.Taints}}
	n.Annotations = map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
	n.Status = s.Status(corev1.NodeStatus{}, h, now)
	return n
}

// Status computes the status of the node. Conditions of other types stay as they are, and so do resources that others have
// put on the node (those with a domain in their names).
func (s Spec) Status(old corev1.NodeStatus, h Health, now time.Time) corev1.NodeStatus {
	out := *old.DeepCopy()
	out.Capacity, out.Allocatable = s.Capacity()
	for name, q := range old.Capacity {
		if strings.Contains(string(name), "/") {
			out.Capacity[name], out.Allocatable[name] = q.DeepCopy(), q.DeepCopy()
		}
	}
	out.NodeInfo = s.Machine.Info
	out.NodeInfo.ContainerRuntimeVersion = h.RuntimeVersion
	out.Addresses = nil
	for _, ip := range s.IPs {
		out.Addresses = append(out.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
	}
	out.Addresses = append(out.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: s.Hostname})
	out.DaemonEndpoints.KubeletEndpoint.Port = s.Port
	out.Images, out.RuntimeHandlers = h.Images, h.Handlers
	for _, p := range []struct {
		t               corev1.NodeConditionType
		on              bool
		yes, no         string
		yesText, noText string
	}{
		{corev1.NodeMemoryPressure, h.MemoryPressure, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory", "kubelet has insufficient memory available", "kubelet has sufficient memory available"},
		{corev1.NodeDiskPressure, h.DiskPressure, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure", "kubelet has disk pressure", "kubelet has no disk pressure"},
		{corev1.NodePIDPressure, h.PIDPressure, "KubeletHasInsufficientPID", "KubeletHasSufficientPID", "kubelet has insufficient PID available", "kubelet has sufficient PID available"},
	} {
		if p.on {
			set(&out, p.t, true, p.yes, p.yesText, now)
		} else {
			set(&out, p.t, false, p.no, p.noText, now)
		}
	}
	if h.NotReady == "" {
		set(&out, corev1.NodeReady, true, "KubeletReady", "kubelet is posting ready status", now)
	} else {
		set(&out, corev1.NodeReady, false, "KubeletNotReady", h.NotReady, now)
	}
	return out
}

func set(s *corev1.NodeStatus, t corev1.NodeConditionType, ok bool, reason, message string, now time.Time) {
	c := corev1.NodeCondition{
		Type: t, Status: corev1.ConditionFalse, Reason: reason, Message: message,
		LastHeartbeatTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now),
	}
	if ok {
		c.Status = corev1.ConditionTrue
	}
	for i := range s.Conditions {
		if have := &s.Conditions[i]; have.Type == t {
			if have.Status == c.Status {
				c.LastTransitionTime = have.LastTransitionTime
			}
			*have = c
			return
		}
	}
	s.Conditions = append(s.Conditions, c)
}

// Same tells whether two statuses differ in nothing but heartbeats.
func Same(a, b *corev1.NodeStatus) bool {
	x, y := a.DeepCopy(), b.DeepCopy()
	for _, s := range []*corev1.NodeStatus{x, y} {
		for i := range s.Conditions {
			s.Conditions[i].LastHeartbeatTime, s.Conditions[i].LastTransitionTime = metav1.Time{}, metav1.Time{}
		}
	}
	return equality.Semantic.DeepEqual(x, y)
}

// Images turns a runtime's images into those that a Node lists: the biggest ones, with all their names.
func Images(in []*runtimeapi.Image) []corev1.ContainerImage {
	out := make([]corev1.ContainerImage, 0, len(in))
	for _, i := range in {
		names := append(append([]string(nil), i.GetRepoDigests()...), i.GetRepoTags()...)
		if len(names) > 0 {
			out = append(out, corev1.ContainerImage{Names: names, SizeBytes: int64(i.GetSize())})
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].SizeBytes != out[j].SizeBytes {
			return out[i].SizeBytes > out[j].SizeBytes
		}
		return out[i].Names[0] < out[j].Names[0]
	})
	return out[:min(len(out), maxImages)]
}
