package networking

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

func check(t *testing.T, errs field.ErrorList, want []string) {
	t.Helper()
	got := []string{}
	for _, err := range errs {
		got = append(got, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	slices.Sort(got)
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("refusals (-want +got):\n%s\n%v", diff, errs)
	}
}

// tried is a change of a good object, and what is said of it; update changes an object that is stored already.
type tried[T any] struct {
	name   string
	update bool
	edit   func(*T)
	want   []string
}

func try[T any](t *testing.T, k api.Kind[T], good *T, cases []tried[T]) {
	t.Helper()
	r := k.Resource()
	old := any(good).(api.Object)
	if r.Default != nil {
		r.Default(old)
	}
	check(t, r.Validate(old, nil), nil)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			obj := old.DeepCopyObject().(api.Object)
			tc.edit(any(obj).(*T))
			if tc.update {
				check(t, r.Validate(obj, old), tc.want)
			} else {
				check(t, r.Validate(obj, nil), tc.want)
			}
		})
	}
}

func rule(host, path string, kind networkingv1.PathType) networkingv1.IngressRule {
	return networkingv1.IngressRule{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
		Paths: []networkingv1.HTTPIngressPath{{Path: path, PathType: &kind, Backend: toService("web", networkingv1.ServiceBackendPort{Number: 80})}},
	}}}
}

func toService(name string, port networkingv1.ServiceBackendPort) networkingv1.IngressBackend {
	return networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name, Port: port}}
}

func TestIngress(t *testing.T) {
	good := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: "i", Namespace: "x"}, Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{rule("*.example.com", "/", networkingv1.PathTypePrefix)}}}
	one := func(r networkingv1.IngressRule) func(*networkingv1.Ingress) {
		return func(i *networkingv1.Ingress) { i.Spec.Rules = []networkingv1.IngressRule{r} }
	}
	backend := func(b networkingv1.IngressBackend) func(*networkingv1.Ingress) {
		return func(i *networkingv1.Ingress) { i.Spec.DefaultBackend = &b }
	}
	const first = "spec.rules[0].http.paths[0]"
	try(t, Ingresses, good, []tried[networkingv1.Ingress]{
		{"nothing", false, func(i *networkingv1.Ingress) { i.Spec.Rules = nil }, []string{"spec: Invalid value"}},
		{"a backend alone", false, func(i *networkingv1.Ingress) {
			i.Spec.Rules, i.Spec.DefaultBackend = nil, new(toService("web", networkingv1.ServiceBackendPort{Name: "http"}))
		}, nil},
		{"no paths", false, one(networkingv1.IngressRule{IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{}}}), []string{"spec.rules[0].http.paths: Required value"}},
		{"no type", false, func(i *networkingv1.Ingress) { i.Spec.Rules[0].HTTP.Paths[0].PathType = nil }, []string{first + ".pathType: Required value"}},
		{"an odd type", false, one(rule("", "/", "Odd")), []string{first + ".pathType: Unsupported value"}},
		{"a relative path", false, one(rule("", "a", networkingv1.PathTypeExact)), []string{first + ".path: Invalid value"}},
		{"a path with dots", false, one(rule("", "/a/../b/..", networkingv1.PathTypePrefix)), []string{first + ".path: Invalid value", first + ".path: Invalid value"}},
		{"no path of one's own kind", false, one(rule("", "", networkingv1.PathTypeImplementationSpecific)), nil},
		{"an address", false, one(rule("10.0.0.1", "/", networkingv1.PathTypeExact)), []string{"spec.rules[0].host: Invalid value"}},
		{"two stars", false, one(rule("*.*.com", "/", networkingv1.PathTypeExact)), []string{"spec.rules[0].host: Invalid value"}},
		{"no backend", false, backend(networkingv1.IngressBackend{}), []string{"spec.defaultBackend: Invalid value"}},
		{"no port", false, backend(toService("", networkingv1.ServiceBackendPort{})), []string{"spec.defaultBackend.service.name: Required value", "spec.defaultBackend: Required value"}},
		{"two ports", false, backend(toService("web", networkingv1.ServiceBackendPort{Name: "a", Number: 1})), []string{"spec.defaultBackend: Invalid value"}},
		{"bad ports", false, backend(toService("-", networkingv1.ServiceBackendPort{Number: 70000})), []string{"spec.defaultBackend.service.name: Invalid value", "spec.defaultBackend.service.port.number: Invalid value"}},
		{"a resource", false, backend(networkingv1.IngressBackend{Resource: &corev1.TypedLocalObjectReference{}}), []string{"spec.defaultBackend.resource.kind: Required value", "spec.defaultBackend.resource.name: Required value"}},
		{"tls", false, func(i *networkingv1.Ingress) {
			i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{"a.example.com", "-"}, SecretName: "-"}}
		}, []string{"spec.tls[0].hosts[1]: Invalid value", "spec.tls[0].secretName: Invalid value"}},
		{"two classes", false, func(i *networkingv1.Ingress) {
			i.Spec.IngressClassName, i.Annotations = new("a"), map[string]string{ClassAnnotation: "b"}
		}, []string{"annotations.kubernetes.io/ingress.class: Invalid value"}},
		{"a bad class", true, func(i *networkingv1.Ingress) { i.Spec.IngressClassName = new("-") }, []string{"spec.ingressClassName: Invalid value"}},
	})
	good.Spec.TLS = []networkingv1.IngressTLS{{}}
	good.Spec.Rules = append(good.Spec.Rules, rule("b", "/", ""), rule("c", "/", ""), rule("d", "/", ""))
	good.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{Hostname: "lb"}, {IP: "192.0.2.1"}}
	if diff := cmp.Diff([]any{"i", "<none>", "*.example.com,b,c + 1 more...", "192.0.2.1,lb", "80, 443", "<unknown>"}, Ingresses.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
	good.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "x"}, {Hostname: "10.0.0.1"}, {Hostname: "-"}}
	check(t, validateIngressStatus(good, nil), []string{"status.loadBalancer.ingress[0].ip: Invalid value", "status.loadBalancer.ingress[1].hostname: Invalid value", "status.loadBalancer.ingress[2].hostname: Invalid value"})
}

func TestIngressClass(t *testing.T) {
	good := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Spec: networkingv1.IngressClassSpec{
		Controller: "example.com/proxy", Parameters: &networkingv1.IngressClassParametersReference{APIGroup: new("example.com"), Kind: "Proxy", Name: "p"},
	}}
	try(t, IngressClasses, good, []tried[networkingv1.IngressClass]{
		{"no controller", false, func(c *networkingv1.IngressClass) { c.Spec.Controller = "" }, []string{"spec.controller: Required value"}},
		{"no path", false, func(c *networkingv1.IngressClass) { c.Spec.Controller = "example.com" }, []string{"spec.controller: Invalid value"}},
		{"another controller", true, func(c *networkingv1.IngressClass) { c.Spec.Controller = "example.com/other" }, []string{"spec.controller: Invalid value"}},
		{"a namespace for nothing", false, func(c *networkingv1.IngressClass) { c.Spec.Parameters.Namespace = new("x") }, []string{"spec.parameters.namespace: Forbidden"}},
		{"no namespace", false, func(c *networkingv1.IngressClass) { c.Spec.Parameters.Scope = new("Namespace") }, []string{"spec.parameters.namespace: Required value"}},
		{"an odd scope", false, func(c *networkingv1.IngressClass) { c.Spec.Parameters.Scope = new("Odd") }, []string{"spec.parameters.scope: Unsupported value"}},
		{"no kind", false, func(c *networkingv1.IngressClass) { c.Spec.Parameters.Kind = "" }, []string{"spec.parameters.kind: Required value"}},
	})
	if diff := cmp.Diff([]any{"c", "example.com/proxy", "Proxy.example.com/p", "<unknown>"}, IngressClasses.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
	class := func(name, isDefault string, age time.Duration) *networkingv1.IngressClass {
		return &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age)), Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: isDefault}}}
	}
	if got := PreferredClass([]*networkingv1.IngressClass{class("a", "true", time.Hour), class("c", "true", 0), class("b", "true", 0), class("d", "false", 0)}); got.Name != "b" {
		t.Errorf("the default class is %s", got.Name)
	}
}

func TestNetworkPolicy(t *testing.T) {
	good := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "n", Namespace: "x"}, Spec: networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
		Egress: []networkingv1.NetworkPolicyEgressRule{{
			Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(80)), EndPort: new(int32(90))}},
			To:    []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.1.0.0/16"}}}},
		}},
	}}
	port := func(p networkingv1.NetworkPolicyPort) func(*networkingv1.NetworkPolicy) {
		return func(n *networkingv1.NetworkPolicy) { n.Spec.Egress[0].Ports[0] = p }
	}
	peer := func(p networkingv1.NetworkPolicyPeer) func(*networkingv1.NetworkPolicy) {
		return func(n *networkingv1.NetworkPolicy) {
			n.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{p}}}
		}
	}
	const at, from = "spec.egress[0].ports[0].", "spec.ingress[0].from[0]"
	try(t, NetworkPolicies, good, []tried[networkingv1.NetworkPolicy]{
		{"an end without a start", false, port(networkingv1.NetworkPolicyPort{EndPort: new(int32(9))}), []string{at + "endPort: Invalid value"}},
		{"an end of a name", false, port(networkingv1.NetworkPolicyPort{Port: new(intstr.FromString("http")), EndPort: new(int32(9))}), []string{at + "endPort: Invalid value"}},
		{"an end before the start", false, port(networkingv1.NetworkPolicyPort{Port: new(intstr.FromInt32(10)), EndPort: new(int32(9))}), []string{at + "endPort: Invalid value"}},
		{"odd", false, port(networkingv1.NetworkPolicyPort{Port: new(intstr.FromInt32(70000)), Protocol: new(corev1.Protocol("ICMP"))}), []string{at + "port: Invalid value", at + "protocol: Unsupported value"}},
		{"nobody", false, peer(networkingv1.NetworkPolicyPeer{}), []string{from + ": Required value"}},
		{"everybody", false, peer(networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}, NamespaceSelector: &metav1.LabelSelector{}}), nil},
		{"too much", false, peer(networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}, IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8"}}), []string{from + ": Forbidden"}},
		{"no range", false, peer(networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{}}), []string{from + ".ipBlock.cidr: Required value"}},
		{"ranges", false, peer(networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"11.0.0.0/16", "10.0.0.0/8", "x"}}}), []string{
			from + ".ipBlock.except[0]: Invalid value", from + ".ipBlock.except[1]: Invalid value", from + ".ipBlock.except[2]: Invalid value",
		}},
		{"types", false, func(n *networkingv1.NetworkPolicy) { n.Spec.PolicyTypes = []networkingv1.PolicyType{"Odd"} }, []string{"spec.policyTypes[0]: Unsupported value"}},
		{"many types", false, func(n *networkingv1.NetworkPolicy) {
			n.Spec.PolicyTypes = []networkingv1.PolicyType{"Ingress", "Egress", "Ingress"}
		}, []string{"spec.policyTypes: Invalid value"}},
	})
	if diff := cmp.Diff([]networkingv1.PolicyType{"Ingress", "Egress"}, good.Spec.PolicyTypes); diff != "" || *good.Spec.Egress[0].Ports[0].Protocol != corev1.ProtocolTCP {
		t.Errorf("defaults: %s %v", diff, good.Spec.Egress[0].Ports)
	}
	if diff := cmp.Diff([]any{"n", "a=b", "<unknown>"}, NetworkPolicies.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
}

func TestIPAddress(t *testing.T) {
	good := &networkingv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Name: "10.0.0.1"}, Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: "x", Name: "web"}}}
	try(t, IPAddresses, good, []tried[networkingv1.IPAddress]{
		{"no parent", false, func(a *networkingv1.IPAddress) { a.Spec.ParentRef = nil }, []string{"spec.parentRef: Required value"}},
		{"half a parent", false, func(a *networkingv1.IPAddress) {
			a.Spec.ParentRef = &networkingv1.ParentReference{Group: "-", Namespace: "a/b"}
		}, []string{
			"spec.parentRef.group: Invalid value", "spec.parentRef.name: Required value", "spec.parentRef.namespace: Invalid value", "spec.parentRef.resource: Required value",
		}},
		{"another parent", true, func(a *networkingv1.IPAddress) { a.Spec.ParentRef.Name = "other" }, []string{"spec.parentRef: Invalid value"}},
	})
	for name, ok := range map[string]bool{"10.0.0.1": true, "2001:db8::1": true, "2001:db8:0::1": false, "010.0.0.1": false, "web": false} {
		if got := len(validateAddressName(name, false)) == 0; got != ok {
			t.Errorf("%s: %t", name, got)
		}
	}
	if diff := cmp.Diff([]any{"10.0.0.1", "services/x/web"}, IPAddresses.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
}

func TestServiceCIDR(t *testing.T) {
	good := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.0.0.0/16"}}}
	set := func(list ...string) func(*networkingv1.ServiceCIDR) {
		return func(c *networkingv1.ServiceCIDR) { c.Spec.CIDRs = list }
	}
	try(t, ServiceCIDRs, good, []tried[networkingv1.ServiceCIDR]{
		{"none", false, set(), []string{"spec.cidrs: Required value"}},
		{"three", false, set("10.0.0.0/16", "2001:db8::/64", "10.1.0.0/16"), []string{"spec.cidrs: Invalid value"}},
		{"two of a family", false, set("10.0.0.0/16", "10.1.0.0/16"), []string{"spec.cidrs: Invalid value"}},
		{"both", false, set("10.0.0.0/16", "2001:db8::/64"), nil},
		{"odd", false, set("10.0.0.1/16"), []string{"spec.cidrs[0]: Invalid value"}},
		{"another", true, set("10.1.0.0/16"), []string{"spec.cidrs[0]: Invalid value"}},
		{"one more", true, set("10.0.0.0/16", "2001:db8::/64"), nil},
		{"one more of the family", true, set("10.0.0.0/16", "10.1.0.0/16"), []string{"spec.cidrs: Invalid value"}},
		{"none any longer", true, set(), []string{"spec.cidrs: Invalid value"}},
	})
	if diff := cmp.Diff([]any{"c", "10.0.0.0/16", "<unknown>"}, ServiceCIDRs.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
}
