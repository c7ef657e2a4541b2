package admission

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDefaultIngressClass(t *testing.T) {
	p := DefaultIngressClass{reader(t,
		&networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "usual", Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true"}}},
		&networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}},
	)}
	for _, tc := range []struct {
		name, annotation string
		class, want      *string
		op               Operation
	}{
		{name: "none", want: new("usual"), op: Create},
		{name: "another", class: new("other"), want: new("other"), op: Create},
		{name: "another by annotation", annotation: "other", op: Create},
		{name: "an update", op: Update},
	} {
		i := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "x"}, Spec: networkingv1.IngressSpec{IngressClassName: tc.class}}
		if tc.annotation != "" {
			i.Annotations = map[string]string{"kubernetes.io/ingress.class": tc.annotation}
		}
		refused(t, tc.name, p.Admit(t.Context(), attributes(tc.op, nil, i, nil)), 0, "")
		if diff := cmp.Diff(tc.want, i.Spec.IngressClassName); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}
