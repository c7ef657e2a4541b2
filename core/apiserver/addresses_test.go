package apiserver_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAddressObjects follows the IPAddress of a service.
func TestAddressObjects(t *testing.T) {
	ns := shared.namespace(t)
	services, addresses := shared.typed(t).CoreV1().Services(ns), shared.typed(t).NetworkingV1().IPAddresses()
	made := must(services.Create(t.Context(), service("a", corev1.ServiceTypeClusterIP), metav1.CreateOptions{}))(t)
	ip := must(addresses.Get(t.Context(), made.Spec.ClusterIP, metav1.GetOptions{}))(t)
	if ip.ResourceVersion != made.ResourceVersion {
		t.Errorf("the address was written at %s, the service at %s", ip.ResourceVersion, made.ResourceVersion)
	}
	if diff := cmp.Diff(&networkingv1.ParentReference{Resource: "services", Namespace: ns, Name: "a"}, ip.Spec.ParentRef); diff != "" {
		t.Errorf("parent (-want +got):\n%s", diff)
	}
	labels := map[string]string{"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
	if diff := cmp.Diff(labels, ip.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	gone := func(name string) {
		t.Helper()
		if _, err := addresses.Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("address %s: %v, want none", name, err)
		}
	}
	external := made.DeepCopy()
	external.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"}
	external = must(services.Update(t.Context(), external, metav1.UpdateOptions{}))(t)
	gone(made.Spec.ClusterIP)
	external.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Ports: []corev1.ServicePort{{Port: 80}}}
	again := must(services.Update(t.Context(), external, metav1.UpdateOptions{}))(t)
	must(addresses.Get(t.Context(), again.Spec.ClusterIP, metav1.GetOptions{}))(t)
	must(struct{}{}, services.Delete(t.Context(), "a", metav1.DeleteOptions{}))(t)
	gone(again.Spec.ClusterIP)

	// An address that somebody else has made is nobody's to give.
	own := &networkingv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Name: "10.96.0.201"}, Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Group: "example.com", Resource: "x", Name: "y"}}}
	must(addresses.Create(t.Context(), own, metav1.CreateOptions{}))(t)
	asks := service("b", corev1.ServiceTypeClusterIP)
	asks.Spec.ClusterIP = "10.96.0.201"
	_, err := services.Create(t.Context(), asks, metav1.CreateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "provided IP is already allocated")
	must(struct{}{}, addresses.Delete(t.Context(), "10.96.0.201", metav1.DeleteOptions{}))(t)

	dual := service("dual", corev1.ServiceTypeClusterIP)
	dual.Spec.IPFamilyPolicy, dual.Spec.IPFamilies = new(corev1.IPFamilyPolicyRequireDualStack), []corev1.IPFamily{corev1.IPv6Protocol}
	_, err = services.Create(t.Context(), dual, metav1.CreateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "this cluster is not configured for dual-stack services")
}

func TestDefaultRange(t *testing.T) {
	r := must(shared.typed(t).NetworkingV1().ServiceCIDRs().Get(t.Context(), "kubernetes", metav1.GetOptions{}))(t)
	if !slices.Equal(r.Spec.CIDRs, []string{"10.96.0.0/24"}) || !meta.IsStatusConditionTrue(r.Status.Conditions, "Ready") {
		t.Errorf("the default range is %v, %v", r.Spec.CIDRs, r.Status.Conditions)
	}
	must(shared.typed(t).NetworkingV1().IPAddresses().Get(t.Context(), "10.96.0.1", metav1.GetOptions{}))(t)
}

// TestAnotherRange fills a small range from many clients at once: each address is given once, and none too few.
func TestAnotherRange(t *testing.T) {
	c := startedWith(t, "10.96.0.0/29") // six addresses, of which the service "kubernetes" has one
	ns := c.namespace(t)
	services, ranges := c.typed(t).CoreV1().Services(ns), c.typed(t).NetworkingV1().ServiceCIDRs()
	fill := func(prefix string, n, room int) []string {
		t.Helper()
		var g errgroup.Group
		for i := range n {
			g.Go(func() error {
				_, err := services.Create(context.Background(), service(fmt.Sprintf("%s-%d", prefix, i), corev1.ServiceTypeClusterIP), metav1.CreateOptions{})
				if apierrors.IsInvalid(err) {
					return nil
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, svc := range must(services.List(t.Context(), metav1.ListOptions{}))(t).Items {
			got = append(got, svc.Spec.ClusterIP)
		}
		slices.Sort(got)
		if len(slices.Compact(slices.Clone(got))) != room || len(got) != room {
			t.Fatalf("%d services got %v, want %d addresses", n, got, room)
		}
		return got
	}
	fill("a", 12, 5)
	more := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "more"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.97.0.0/30"}}}
	more = must(ranges.Create(t.Context(), more, metav1.CreateOptions{}))(t)
	fill("b", 4, 5) // it is not ready
	meta.SetStatusCondition(&more.Status.Conditions, metav1.Condition{Type: "Ready", Status: "True"})
	must(ranges.UpdateStatus(t.Context(), more, metav1.UpdateOptions{}))(t)
	if got := fill("c", 4, 7); !slices.Contains(got, "10.97.0.1") || !slices.Contains(got, "10.97.0.2") {
		t.Errorf("addresses %v", got)
	}
}
