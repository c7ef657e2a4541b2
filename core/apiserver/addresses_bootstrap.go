package apiserver

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api/networking"
)

// bootstrapAddresses makes the range that the cluster begins with, and the addresses of services that were stored without any,
// before other services may get these.
func (s *Server) bootstrapAddresses(ctx context.Context) error {
	ranges, services := s.Registry.Resource(networkingv1.SchemeGroupVersion.WithResource("servicecidrs")), s.Registry.Resource(corev1.SchemeGroupVersion.WithResource("services"))
	addresses := s.addressKind()
	if !s.ServiceRange.IsValid() || ranges == nil || addresses == nil || services == nil {
		return nil
	}
	if err := s.bootstrapRange(ctx); err != nil {
		return err
	}
	for _, e := range s.Cache.Of(services).Snapshot().All() {
		svc := e.Object.(*corev1.Service)
		for _, address := range addressesOf(svc) {
			if err := s.ensureAny(ctx, networking.NewAddress(address, svc)); err != nil {
				// One service with an odd address must not keep the server from starting.
				slog.Warn("cannot take the address of a service", "namespace", svc.Namespace, "service", svc.Name, "address", address, "err", err)
			}
		}
	}
	return nil
}

func (s *Server) bootstrapRange(ctx context.Context) error {
	want := &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: networking.DefaultServiceCIDR},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{s.ServiceRange.Masked().String()}},
	}
	if err := s.ensureAny(ctx, want); err != nil {
		return err
	}
	q := bootstrapRequest(s.Registry.Resource(networkingv1.SchemeGroupVersion.WithResource("servicecidrs")), want)
	entry, err := s.current(ctx, q)
	if err != nil || entry == nil {
		return wrapBootstrap(q, err)
	}
	have := entry.Object.(*networkingv1.ServiceCIDR).DeepCopy()
	if have.Spec.CIDRs[0] != want.Spec.CIDRs[0] {
		slog.Warn("the cluster began with another service range, which it keeps", "range", have.Spec.CIDRs[0], "asked", want.Spec.CIDRs[0])
	}
	if networking.Ready(have) || have.DeletionTimestamp != nil {
		return nil
	}
	meta.SetStatusCondition(&have.Status.Conditions, networking.ReadyCondition(metav1.Now()))
	q.Subresource = "status"
	_, _, err = s.Update(ctx, q, have)
	return wrapBootstrap(q, err)
}
