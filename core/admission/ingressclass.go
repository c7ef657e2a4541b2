package admission

import (
	"context"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/networking"
)

// DefaultIngressClass gives new Ingresses that name no class the default one.
type DefaultIngressClass struct{ Objects Reader }

var _ Mutator = DefaultIngressClass{}

// Name implements [Plugin].
func (DefaultIngressClass) Name() string { return "DefaultIngressClass" }

// About implements [Selective].
func (DefaultIngressClass) About(r *api.Resource) bool {
	return isOf(r, networkingv1.GroupName, "Ingress")
}

// Admit implements [Mutator].
func (p DefaultIngressClass) Admit(ctx context.Context, a *Attributes) error {
	ingress, ok := a.Object.(*networkingv1.Ingress)
	if !ok || a.Operation != Create || a.Subresource != "" || ingress.Spec.IngressClassName != nil || ingress.Annotations[networking.ClassAnnotation] != "" {
		return nil
	}
	classes, err := list[networkingv1.IngressClass](ctx, p.Objects, networkingv1.SchemeGroupVersion.WithResource("ingressclasses"))
	if err != nil {
		return err
	}
	if class := networking.PreferredClass(classes); class != nil {
		ingress.Spec.IngressClassName = new(class.Name)
	}
	return nil
}
