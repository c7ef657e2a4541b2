package admission

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// mute is a store that does not say how far it is.
type mute struct{ cache.Store }

func (mute) RevisionOf(context.Context, string) (int64, error) { return 0, errors.New("no answer") }

// A plugin that cannot know what there is refuses, for a moment, rather than decide by what there may have been.
func TestNothingIsLetThroughBlindly(t *testing.T) {
	objects := Reader{Cache: cache.New(mute{}, kinds), Registry: kinds}
	in := metav1.ObjectMeta{Namespace: "x", Name: "a"}
	pod := func(edit func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: in}
		edit(p)
		return p
	}
	claim := func(size string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{
			ObjectMeta: in, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
			Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("fast"), Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)},
			}},
		}
	}
	bare := pod(func(*corev1.Pod) {})
	resized := attributes(Update, nil, pod(func(p *corev1.Pod) { p.Spec.NodeName, p.Generation = "n", 2 }), bare)
	resized.Subresource = "resize"
	for _, test := range []struct {
		plugin Plugin
		write  *Attributes
	}{
		{NamespaceLifecycle{objects}, attributes(Create, nil, bare, nil)},
		{LimitRanger{objects}, attributes(Create, nil, bare, nil)},
		{&ResourceQuota{Objects: objects}, attributes(Create, nil, bare, nil)},
		{ServiceAccount{objects}, attributes(Create, nil, bare, nil)},
		{Priority{objects}, attributes(Create, nil, bare, nil)},
		{Priority{objects}, attributes(Create, nil, pod(func(p *corev1.Pod) { p.Spec.PriorityClassName = "high" }), nil)},
		{RuntimeClass{objects}, attributes(Create, nil, pod(func(p *corev1.Pod) { p.Spec.RuntimeClassName = new("kata") }), nil)},
		{PodResize{objects}, resized},
		{DefaultStorageClass{objects}, attributes(Create, nil, &corev1.PersistentVolumeClaim{ObjectMeta: in}, nil)},
		{ClaimResize{objects}, attributes(Update, nil, claim("2Gi"), claim("1Gi"))},
		{DefaultIngressClass{objects}, attributes(Create, nil, &networkingv1.Ingress{ObjectMeta: in}, nil)},
	} {
		asked := 0
		check := func(err error) {
			if asked++; !apierrors.IsTimeout(err) {
				t.Errorf("%s: %v", test.plugin.Name(), err)
			}
		}
		if p, ok := test.plugin.(Mutator); ok {
			check(p.Admit(t.Context(), withObject(test.write)))
		}
		if p, ok := test.plugin.(Validator); ok && test.plugin.Name() != (NamespaceLifecycle{}).Name() { // which only keeps some namespaces
			check(p.Validate(t.Context(), withObject(test.write)))
		}
		if asked == 0 {
			t.Errorf("%s was asked nothing", test.plugin.Name())
		}
	}
}

func withObject(a *Attributes) *Attributes {
	out := *a
	out.Object = a.Object.DeepCopyObject().(api.Object)
	return &out
}
