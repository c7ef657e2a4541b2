package client_test

import (
	"context"
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Parts of the process may speak any version of a kind as well.
func TestVersions(t *testing.T) {
	ctx := t.Context()
	one := &autoscalingv1.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "versions"},
		Spec: autoscalingv1.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv1.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MaxReplicas:    5, TargetCPUUtilizationPercentage: new(int32(60)),
		},
	}
	do(t, api.Create(ctx, one))
	if *one.Spec.MinReplicas != 1 || one.ManagedFields[0].APIVersion != "autoscaling/v1" {
		t.Errorf("created %+v", one)
	}
	key := client.ObjectKeyFromObject(one)
	two := &autoscalingv2.HorizontalPodAutoscaler{}
	do(t, api.Get(ctx, key, two))
	if *two.Spec.Metrics[0].Resource.Target.AverageUtilization != 60 {
		t.Errorf("in version 2: %+v", two.Spec)
	}
	raw := &unstructured.Unstructured{}
	raw.SetGroupVersionKind(autoscalingv1.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"))
	do(t, api.Get(ctx, key, raw))
	if err := unstructured.SetNestedField(raw.Object, int64(70), "spec", "targetCPUUtilizationPercentage"); err != nil {
		t.Fatal(err)
	}
	do(t, api.Update(ctx, raw))
	do(t, api.Patch(ctx, one, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"maxReplicas":6}}`))))
	if *one.Spec.TargetCPUUtilizationPercentage != 70 || one.Spec.MaxReplicas != 6 || one.APIVersion != "autoscaling/v1" {
		t.Errorf("changed to %+v", one)
	}
	var list autoscalingv1.HorizontalPodAutoscalerList
	do(t, local.List(ctx, &list, client.InNamespace("default")))
	if len(list.Items) != 1 || list.Items[0].Spec.MaxReplicas != 6 {
		t.Errorf("listed %+v", list.Items)
	}
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(autoscalingv1.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"))
	do(t, api.Get(ctx, key, meta))
	if meta.UID != one.UID || meta.APIVersion != "autoscaling/v1" {
		t.Errorf("metadata %+v", meta)
	}
	seen := make(chan any, 10)
	informer, err := local.GetInformer(ctx, one)
	do(t, err)
	reg, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: func(o any) { seen <- o }})
	do(t, err)
	defer func() { do(t, informer.RemoveEventHandler(reg)) }()
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case o := <-seen:
		if h, ok := o.(*autoscalingv1.HorizontalPodAutoscaler); !ok || h.Spec.MaxReplicas != 6 {
			t.Errorf("saw %T %+v", o, o)
		}
	case <-bounded.Done():
		t.Error("saw nothing")
	}
	do(t, api.Delete(ctx, one))
	if err := api.Get(ctx, key, two); !apierrors.IsNotFound(err) {
		t.Errorf("after the deletion: %v", err)
	}
}

// What is computed is in no cache.
func TestComputed(t *testing.T) {
	var pods metricsv1beta1.PodMetricsList
	do(t, api.List(t.Context(), &pods, client.InNamespace("default")))
	if len(pods.Items) > 0 {
		t.Errorf("nothing runs, and it uses %+v", pods.Items)
	}
	if err := api.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: "x"}, &metricsv1beta1.PodMetrics{}); !apierrors.IsNotFound(err) {
		t.Errorf("get: %v", err)
	}
	if err := local.List(t.Context(), &pods); err == nil || !strings.Contains(err.Error(), "they are computed when asked for") {
		t.Errorf("from the cache: %v", err)
	}
	if _, err := local.GetInformer(t.Context(), &metricsv1beta1.PodMetrics{}); err == nil {
		t.Error("an informer of what cannot be watched")
	}
	if _, err := api.Watch(t.Context(), &pods); !apierrors.IsMethodNotSupported(err) {
		t.Errorf("watch: %v", err)
	}
}
