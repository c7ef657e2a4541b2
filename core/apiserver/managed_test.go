package apiserver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
)

// Comparing only the half that a write can change must give what comparing everything gives.
func TestOwnershipIsThatOfTheWholeComparison(t *testing.T) {
	s := &Server{Registry: all.Kinds()}
	s.managed.init(s.Registry)
	r := s.Registry.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	old := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "1", Labels: map[string]string{"a": "b"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "one"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: "Ready", Status: "False"}}},
	}
	if err := s.track(&api.Request{Resource: r, Manager: "creator"}, old, nil); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		subresource string
		change      func(p *corev1.Pod)
	}{
		{"", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "two"; p.Labels["c"] = "d" }},
		{"status", func(p *corev1.Pod) {
			p.Status.Phase, p.Status.PodIP = corev1.PodRunning, "192.0.2.1"
			p.Status.Conditions[0].Status = "True"
		}},
	} {
		q := &api.Request{Resource: r, Subresource: tt.subresource, Manager: "changer"}
		got := old.DeepCopy()
		tt.change(got)
		if err := s.track(q, got, old); err != nil {
			t.Fatal(err)
		}
		m, err := s.managed.of(r, tt.subresource)
		if err != nil {
			t.Fatal(err)
		}
		want := old.DeepCopy()
		tt.change(want)
		m.UpdateNoErrors(old.DeepCopy(), want, "changer")
		if d := cmp.Diff(want.ManagedFields, got.ManagedFields, cmpopts.IgnoreFields(metav1.ManagedFieldsEntry{}, "Time")); d != "" {
			t.Errorf("subresource %q: %s", tt.subresource, d)
		}
		if len(got.ManagedFields) != 2 {
			t.Errorf("subresource %q: %d entries, want those of two managers", tt.subresource, len(got.ManagedFields))
		}
	}
}
