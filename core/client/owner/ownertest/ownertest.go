// Package ownertest tries what all controllers that adopt pods have in common.
package ownertest

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Nothing is an API that has nothing and says so. It cannot be asked for anything else.
type Nothing struct{ client.Client }

// None is what owner.None asks.
func (Nothing) None(client.ObjectList, string) bool { return true }

// NoneBy is what owner.NoneBy asks.
func (Nothing) NoneBy(client.ObjectList, string, string) bool { return true }

// WhoMayAdopt tests a function that tells, by what the API has, which objects of a kind may adopt a pod. owner is one of the kind in the
// namespace default, and selects just what has the given labels.
func WhoMayAdopt(t *testing.T, owner client.Object, selected map[string]string, of func(client.Client) handler.MapFunc) {
	t.Helper()
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(owner).Build()
	more := maps.Clone(selected)
	more["more"] = "than that"
	one := []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(owner)}}
	for name, tc := range map[string]struct {
		api       client.Client
		namespace string
		labels    map[string]string
		want      []reconcile.Request
	}{
		"it is selected":     {api, "default", more, one},
		"it is not selected": {api, "default", map[string]string{"x": "y"}, nil},
		"no labels":          {Nothing{}, "default", nil, nil},
		"another namespace":  {api, "other", selected, nil},
		"there is nothing":   {Nothing{}, "default", selected, nil},
	} {
		t.Run(name, func(t *testing.T) {
			orphan := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: tc.namespace, Name: "orphan", Labels: tc.labels}}
			if diff := cmp.Diff(tc.want, of(tc.api)(t.Context(), orphan)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
