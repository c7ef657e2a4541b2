package control

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

// Objects that own each other in a circle all go when one is deleted in the foreground, though each blocks its owner.
func TestForegroundDeletionOfACircle(t *testing.T) {
	c := start(t)
	c.namespace("circle")
	names := []string{"a", "b", "c", "d"}
	made := make([]*corev1.ConfigMap, len(names))
	for i, name := range names {
		made[i] = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "circle", Name: name}}
		c.must(c.Create(c.ctx, made[i]))
	}
	for i, o := range made {
		owner := made[(i+len(made)-1)%len(made)]
		o.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, Controller: new(true), BlockOwnerDeletion: new(true),
		}}
		c.must(c.Update(c.ctx, o))
	}
	c.must(c.Delete(c.ctx, made[0], ctrlclient.PropagationPolicy(metav1.DeletePropagationForeground)))
	until(c, &corev1.ConfigMapList{}, "circle", func(l *corev1.ConfigMapList) string {
		var left []string
		for i := range l.Items {
			if o := &l.Items[i]; len(o.OwnerReferences) > 0 {
				left = append(left, fmt.Sprint(o.Name, o.Finalizers))
			}
		}
		return strings.Join(left, ", ")
	})
}
