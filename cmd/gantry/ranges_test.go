package main

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

func TestServiceRanges(t *testing.T) {
	var installed [][]string
	fails := false
	s := &serviceRanges{first: netip.MustParsePrefix("10.96.0.0/16"), install: func(list []netip.Prefix) error {
		if fails {
			return errors.New("no")
		}
		var texts []string
		for _, p := range list {
			texts = append(texts, p.String())
		}
		installed = append(installed, texts)
		return nil
	}}
	cidr := func(name, text string) ctrlclient.Object {
		return &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{text}}}
	}
	s.Replace([]ctrlclient.Object{cidr("kubernetes", "10.96.0.0/16")})
	s.Put(cidr("more", "10.97.0.0/24"))
	s.Put(cidr("more", "10.97.0.0/24"))
	fails = true
	s.Remove(cidr("more", "10.97.0.0/24"))
	fails = false
	s.Put(cidr("kubernetes", "10.96.0.0/16"))
	want := [][]string{{"10.96.0.0/16"}, {"10.96.0.0/16", "10.97.0.0/24"}, {"10.96.0.0/16"}}
	if diff := cmp.Diff(want, installed); diff != "" {
		t.Errorf("guards (-want +got):\n%s", diff)
	}
}
