package core

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNamespace(t *testing.T) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", CreationTimestamp: ago(time.Hour)}}
	defaultNamespace(ns)
	prepareNamespace(ns, nil)
	want := &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "a", CreationTimestamp: ns.CreationTimestamp, Labels: map[string]string{"kubernetes.io/metadata.name": "a"}},
		Spec:       corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{"kubernetes"}},
		Status:     corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
	}
	if diff := cmp.Diff(want, ns); diff != "" {
		t.Errorf("new namespace (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"a", "Active", "60m"}, row(Namespaces, ns)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	later := ns.DeepCopy()
	later.Spec.Finalizers = nil
	prepareNamespace(later, ns)
	if diff := cmp.Diff(ns.Spec, later.Spec); diff != "" {
		t.Errorf("an update changed the finalizers (-want +got):\n%s", diff)
	}
	ns.Spec.Finalizers = []corev1.FinalizerName{"kubernetes", "plain", "example.com/ok", "-"}
	checkRefusals(t, validateNamespace(ns, nil), "spec.finalizers[1]: Invalid value", "spec.finalizers[3]: Invalid value")
	later.Status.Phase = corev1.NamespaceTerminating
	checkRefusals(t, validateNamespaceStatus(later, ns), "status.Phase: Invalid value")
}

func TestConfigMap(t *testing.T) {
	fixed := &corev1.ConfigMap{Immutable: new(true), Data: map[string]string{"k": "v"}}
	for _, test := range []struct {
		name    string
		cm, old *corev1.ConfigMap
		want    []string
	}{
		{"good", &corev1.ConfigMap{Data: map[string]string{"k.e-y_1": ""}}, nil, nil},
		{"keys", &corev1.ConfigMap{Data: map[string]string{"a/b": "", "..": ""}}, nil, []string{"data[..]: Invalid value", "data[a/b]: Invalid value"}},
		{"key twice", &corev1.ConfigMap{Data: map[string]string{"k": ""}, BinaryData: map[string][]byte{"k": nil}}, nil, []string{"data[k]: Invalid value"}},
		{"too long", &corev1.ConfigMap{Data: map[string]string{"k": strings.Repeat("x", 1<<20+1)}}, nil, []string{"[]: Too long"}},
		{"just not too long", &corev1.ConfigMap{Data: map[string]string{"k": strings.Repeat("x", 1<<20)}}, nil, nil},
		{"immutable and the same", fixed.DeepCopy(), fixed, nil},
		{"immutable", &corev1.ConfigMap{Data: map[string]string{"k": "w"}}, fixed, []string{"data: Forbidden", "immutable: Forbidden"}},
	} {
		t.Run(test.name, func(t *testing.T) { checkRefusals(t, validateConfigMap(test.cm, test.old), test.want...) })
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Data: map[string]string{"a": ""}, BinaryData: map[string][]byte{"b": nil}}
	if diff := cmp.Diff([]any{"c", int64(2), "<unknown>"}, row(ConfigMaps, cm)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

func TestSecret(t *testing.T) {
	data := func(kv ...string) map[string][]byte {
		out := map[string][]byte{}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i]] = []byte(kv[i+1])
		}
		return out
	}
	for _, test := range []struct {
		name   string
		s, old *corev1.Secret
		want   []string
	}{
		{"good", &corev1.Secret{Data: data("k", "v")}, nil, nil},
		{"key", &corev1.Secret{Data: data("a b", "v")}, nil, []string{"data[a b]: Invalid value"}},
		{"too long", &corev1.Secret{Data: data("k", strings.Repeat("x", 1<<20+1))}, nil, []string{"data: Too long"}},
		{"tls", &corev1.Secret{Type: "kubernetes.io/tls", Data: data("tls.crt", "")}, nil, []string{"data[tls.key]: Required value"}},
		{"docker", &corev1.Secret{Type: "kubernetes.io/dockerconfigjson", Data: data(".dockerconfigjson", "{")}, nil, []string{"data[.dockerconfigjson]: Invalid value"}},
		{"docker without", &corev1.Secret{Type: "kubernetes.io/dockercfg"}, nil, []string{"data[.dockercfg]: Required value"}},
		{"basic", &corev1.Secret{Type: "kubernetes.io/basic-auth"}, nil, []string{"data[password]: Required value", "data[username]: Required value"}},
		{"ssh", &corev1.Secret{Type: "kubernetes.io/ssh-auth", Data: data("ssh-privatekey", "")}, nil, []string{"data[ssh-privatekey]: Required value"}},
		{"token", &corev1.Secret{Type: "kubernetes.io/service-account-token"}, nil, []string{"metadata.annotations[kubernetes.io/service-account.name]: Required value"}},
		{"other type", &corev1.Secret{Type: "a"}, &corev1.Secret{Type: "Opaque"}, []string{"type: Invalid value"}},
		{"immutable", &corev1.Secret{Type: "Opaque"}, &corev1.Secret{Type: "Opaque", Immutable: new(true), Data: data("k", "v")}, []string{"data: Forbidden", "immutable: Forbidden"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			Secrets.Default(test.s)
			checkRefusals(t, validateSecret(test.s, test.old), test.want...)
		})
	}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"a": "new", "b": "x"}, Data: data("a", "old")}
	Secrets.Default(s)
	prepareSecret(s, nil)
	if diff := cmp.Diff(&corev1.Secret{ObjectMeta: s.ObjectMeta, Type: "Opaque", Data: data("a", "new", "b", "x")}, s); diff != "" {
		t.Errorf("stringData (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"s", "Opaque", int64(2), "<unknown>"}, row(Secrets, s)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

func TestNode(t *testing.T) {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n", CreationTimestamp: ago(2 * time.Hour), Labels: map[string]string{
			"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "",
		}},
		Status: corev1.NodeStatus{
			Capacity:   corev1.ResourceList{"cpu": resource.MustParse("2")},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.1.1.1"}},
			NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: "v1.37.0", OSImage: "Debian", ContainerRuntimeVersion: "containerd://2.4.2"},
		},
	}
	defaultNode(n)
	if diff := cmp.Diff(n.Status.Capacity, n.Status.Allocatable); diff != "" {
		t.Errorf("allocatable (-want +got):\n%s", diff)
	}
	want := []any{"n", "Ready", "control-plane,worker", "120m", "v1.37.0", "10.1.1.1", "<none>", "Debian", "<unknown>", "containerd://2.4.2"}
	if diff := cmp.Diff(want, row(Nodes, n)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	n.Spec.Unschedulable = true
	for status, want := range map[corev1.ConditionStatus]string{
		corev1.ConditionTrue: "Ready,SchedulingDisabled", corev1.ConditionUnknown: "NotReady,SchedulingDisabled",
	} {
		n.Status.Conditions[0].Status = status
		if got := nodeStatus(n); got != want {
			t.Errorf("status of a node that is ready %s is %q, want %q", status, got, want)
		}
	}
}

func TestValidateNode(t *testing.T) {
	old := &corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24"}, ProviderID: "a"}}
	for _, test := range []struct {
		name string
		spec corev1.NodeSpec
		old  *corev1.Node
		want []string
	}{
		{"good", corev1.NodeSpec{Taints: []corev1.Taint{{Key: "k", Effect: "NoSchedule"}, {Key: "k", Effect: "NoExecute"}}}, nil, nil},
		{
			"taints",
			corev1.NodeSpec{Taints: []corev1.Taint{{Key: "k", Effect: "NoSchedule"}, {Key: "k", Effect: "NoSchedule"}, {Key: "", Effect: "Odd"}}},
			nil,
			[]string{"spec.taints[1]: Duplicate value", "spec.taints[2].effect: Unsupported value", "spec.taints[2].key: Invalid value"},
		},
		{"two of a family", corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24", "10.0.1.0/24"}}, nil, []string{"spec.podCIDRs: Invalid value"}},
		{"moved", corev1.NodeSpec{PodCIDRs: []string{"10.0.1.0/24"}, ProviderID: "b"}, old, []string{"spec.podCIDRs: Forbidden", "spec.providerID: Forbidden"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &corev1.Node{Spec: test.spec}
			prepareNode(n, test.old)
			checkRefusals(t, validateNode(n, test.old), test.want...)
		})
	}
}

func TestEvent(t *testing.T) {
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: "p.1", Namespace: "a"},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "p", Namespace: "a", FieldPath: "spec.containers{c}"},
		Type:           "Warning", Reason: "BackOff", Message: " again\n", Count: 4,
		Source:         corev1.EventSource{Component: "agent", Host: "n"},
		FirstTimestamp: ago(10 * time.Minute), LastTimestamp: ago(30 * time.Second),
	}
	want := []any{"30s", "Warning", "BackOff", "pod/p", "spec.containers{c}", "agent, n", "again", "10m", "4", "p.1"}
	if diff := cmp.Diff(want, row(Events, e)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	series := &corev1.Event{
		EventTime: metav1.NewMicroTime(time.Now().Add(-time.Hour)), InvolvedObject: corev1.ObjectReference{Kind: "Node"},
		Series: &corev1.EventSeries{Count: 9, LastObservedTime: metav1.NewMicroTime(time.Now().Add(-time.Minute))},
	}
	if got := []string{lastSeen(series), firstSeen(series), eventCount(series), eventObject(series)}; !cmp.Equal(got, []string{"60s", "60m", "9", "node"}) {
		t.Errorf("series prints as %q", got)
	}
	checkRefusals(t, validateEvent(e, nil))
	e.InvolvedObject.Namespace = "b"
	checkRefusals(t, validateEvent(e, nil), "involvedObject.namespace: Invalid value")
	e.InvolvedObject.Namespace, e.EventTime, e.Reason = "a", metav1.NowMicro(), ""
	checkRefusals(t, validateEvent(e, nil), "reportingComponent: Required value", "reportingInstance: Required value", "action: Required value", "reason: Required value")
	if got := Events.Resource().Fields["source"](e); got != "agent" {
		t.Errorf("source is %q", got)
	}
}

func TestEndpoints(t *testing.T) {
	e := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Subsets: []corev1.EndpointSubset{{
		Addresses: []corev1.EndpointAddress{{IP: "10.0.0.1"}, {IP: "10.0.0.2"}}, Ports: []corev1.EndpointPort{{Name: "a", Port: 80}, {Name: "b", Port: 81}},
	}}}
	defaultEndpoints(e)
	if got := e.Subsets[0].Ports[0].Protocol; got != corev1.ProtocolTCP {
		t.Errorf("protocol is %q", got)
	}
	want := []any{"web", "10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more...", "<unknown>"}
	if diff := cmp.Diff(want, row(Endpoints, e)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	checkRefusals(t, validateEndpoints(e, nil))
	e.Subsets = append(e.Subsets, corev1.EndpointSubset{})
	e.Subsets[0].Addresses[0].IP = "127.0.0.1"
	e.Subsets[0].Ports[0] = corev1.EndpointPort{Port: 0, Protocol: "X"}
	checkRefusals(t, validateEndpoints(e, nil), "subsets[1]: Required value", "subsets[0].addresses[0].ip: Invalid value",
		"subsets[0].ports[0].name: Required value", "subsets[0].ports[0].port: Invalid value", "subsets[0].ports[0].protocol: Unsupported value")
}
