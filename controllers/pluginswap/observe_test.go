package pluginswap

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

func TestPodsThatAskForANetwork(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := &Controller{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "plain"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "old", Annotations: map[string]string{v1alpha1.NetworkAnnotation: "old"}}},
	).Build()}
	asks, err := c.asks(t.Context(), v1alpha1.Network, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, namespace string
		annotations     map[string]string
		want            bool
	}{
		{name: "nobody asks", namespace: "plain"},
		{name: "the pod", namespace: "plain", annotations: map[string]string{v1alpha1.NetworkAnnotation: "old"}, want: true},
		{name: "the namespace", namespace: "old", want: true},
		{name: "the pod goes before its namespace", namespace: "old", annotations: map[string]string{v1alpha1.NetworkAnnotation: "new"}},
		{name: "a further interface", namespace: "plain", annotations: map[string]string{v1alpha1.NetworksAnnotation: "x,old"}, want: true},
		{name: "an unknown namespace", namespace: "gone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: test.namespace, Annotations: test.annotations}}
			if got := asks(p, "old"); got != test.want {
				t.Errorf("asks for it: %v, want %v", got, test.want)
			}
		})
	}
}
