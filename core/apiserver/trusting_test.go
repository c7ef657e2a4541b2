package apiserver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
)

// The unchecked conversion must see the same fields as the library's own.
func TestTrustingConverterSeesWhatTheLibrarySees(t *testing.T) {
	library := applyconfigurations.NewTypeConverter(scheme.Scheme)
	ours := &trusting{TypeConverter: library}
	pod := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}, Finalizers: []string{"x/y"}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Image: "i", Ports: []corev1.ContainerPort{{ContainerPort: 1, Protocol: "TCP"}}}},
		},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: "Ready", Status: "True"}}},
	}
	want, err := library.ObjectToTyped(pod)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ours.ObjectToTyped(pod)
	if err != nil {
		t.Fatal(err)
	}
	wantSet, err := want.ToFieldSet()
	if err != nil {
		t.Fatal(err)
	}
	gotSet, err := got.ToFieldSet()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wantSet.String(), gotSet.String()); d != "" {
		t.Error(d)
	}
}
