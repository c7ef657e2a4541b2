package control

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestServiceRanges makes a further range and deletes it while a service has an address of it; deletes the address of a service;
// and leaves one without service.
func TestServiceRanges(t *testing.T) {
	c := start(t)
	c.namespace("x")
	more := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "more"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.97.0.0/24"}}}
	c.must(c.Create(c.ctx, more))
	state := func(l *networkingv1.ServiceCIDRList) string {
		for i := range l.Items {
			if l.Items[i].Name == "more" {
				cond := meta.FindStatusCondition(l.Items[i].Status.Conditions, "Ready")
				if cond == nil {
					return "unknown"
				}
				return string(cond.Status) + cond.Reason
			}
		}
		return "gone"
	}
	until(c, &networkingv1.ServiceCIDRList{}, "", func(l *networkingv1.ServiceCIDRList) string { return want("further range", state(l), "True") })
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "s"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.97.0.7", Ports: []corev1.ServicePort{{Port: 80}}},
	}
	c.must(c.Create(c.ctx, svc))

	address := &networkingv1.IPAddress{}
	c.must(c.Get(c.ctx, types.NamespacedName{Name: "10.97.0.7"}, address))
	first := address.UID
	c.must(c.Delete(c.ctx, address.DeepCopy()))
	until(c, &networkingv1.IPAddressList{}, "", func(l *networkingv1.IPAddressList) string {
		for i := range l.Items {
			if l.Items[i].Name == "10.97.0.7" && l.Items[i].UID != first {
				return ""
			}
		}
		return "the address of the service has not come back"
	})

	const leaked = "/registry/ipaddresses/10.96.7.7"
	_, err := c.store.Create(c.ctx, leaked, []byte(`{"apiVersion":"networking.k8s.io/v1","kind":"IPAddress","metadata":{"name":"10.96.7.7","uid":"1","creationTimestamp":"2020-01-01T00:00:00Z",
		"labels":{"ipaddress.kubernetes.io/managed-by":"ipallocator.k8s.io"}},"spec":{"parentRef":{"resource":"services","namespace":"x","name":"none"}}}`), 0)
	c.must(err)
	until(c, &networkingv1.IPAddressList{}, "", func(l *networkingv1.IPAddressList) string {
		if _, there, err := c.store.Get(c.ctx, leaked); err != nil || there {
			return "the address of nobody is still there"
		}
		return ""
	})

	c.must(c.Delete(c.ctx, more))
	until(c, &networkingv1.ServiceCIDRList{}, "", func(l *networkingv1.ServiceCIDRList) string {
		return want("deleted range", state(l), "FalseTerminating")
	})
	c.must(c.Delete(c.ctx, svc))
	until(c, &networkingv1.ServiceCIDRList{}, "", func(l *networkingv1.ServiceCIDRList) string { return want("deleted range", state(l), "gone") })
}
