package serviceaccount

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestReconcile(t *testing.T) {
	for name, tc := range map[string]struct {
		ending bool
		have   []client.Object
	}{
		"new namespace":       {},
		"a changed authority": {have: []client.Object{&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: configMap}, Data: map[string]string{caKey: "old", "x": "y"}}}},
		"ending namespace":    {ending: true},
	} {
		t.Run(name, func(t *testing.T) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}}
			if tc.ending {
				ns.DeletionTimestamp, ns.Finalizers = new(metav1.Now()), []string{"fake"}
			}
			api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(append(tc.have, ns)...).Build()
			c := &Controller{Client: api, CA: []byte("new")}
			for range 2 { // the second finds everything in place
				if _, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(ns)}); err != nil {
					t.Fatal(err)
				}
			}
			err := api.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: account}, &corev1.ServiceAccount{})
			if tc.ending != apierrors.IsNotFound(err) {
				t.Errorf("account: %v", err)
			}
			var cm corev1.ConfigMap
			err = api.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: configMap}, &cm)
			if tc.ending {
				if !apierrors.IsNotFound(err) {
					t.Errorf("config map: %v", err)
				}
				return
			}
			if len(cm.Data) != 1 || cm.Data[caKey] != "new" {
				t.Errorf("config map has %v", cm.Data)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	named := func(name string) client.Object {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
	}
	for name, tc := range map[string]struct {
		old, now client.Object
		want     int
	}{
		"new": {nil, named(configMap), 1}, "changed": {named(configMap), named(configMap), 1}, "gone": {named(configMap), nil, 1},
		"another": {nil, named("x"), 0}, "another, gone": {named("x"), nil, 0},
	} {
		q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		namespaceOf(configMap)(t.Context(), tc.old, tc.now, q)
		if q.Len() != tc.want {
			t.Errorf("%s: %d queued, want %d", name, q.Len(), tc.want)
		} else if tc.want > 0 {
			if got, _ := q.Get(); got.Name != "ns" {
				t.Errorf("%s: queued %v", name, got)
			}
		}
		q.ShutDown()
	}
}
