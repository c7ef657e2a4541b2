package daemonset

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// nothing is an API that has nothing and says so. It cannot be listed.
type nothing struct{ client.Client }

func (nothing) None(client.ObjectList, string) bool { return true }

func TestWhoMayAdopt(t *testing.T) {
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(set()).Build()
	one := []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: "default", Name: "log"}}}
	for name, tc := range map[string]struct {
		api       client.Client
		namespace string
		labels    map[string]string
		want      []reconcile.Request
	}{
		"it is selected":     {api, "default", map[string]string{"app": "log"}, one},
		"it is not selected": {api, "default", map[string]string{"x": "y"}, nil},
		"no labels":          {nothing{}, "default", nil, nil},
		"another namespace":  {api, "other", map[string]string{"app": "log"}, nil},
		"there is nothing":   {nothing{}, "default", map[string]string{"app": "log"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			orphan := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: tc.namespace, Name: "orphan", Labels: tc.labels}}
			if diff := cmp.Diff(tc.want, (&Controller{Client: tc.api}).setsOf(t.Context(), orphan)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
