package apiserver_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func autoscalerV1(name string) *autoscalingv1.HorizontalPodAutoscaler {
	return &autoscalingv1.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: autoscalingv1.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv1.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MaxReplicas:    5, TargetCPUUtilizationPercentage: new(int32(60)),
		},
	}
}

// One object is served in two versions: what is written in one is read in the other, and only one is stored.
func TestVersions(t *testing.T) {
	ns, ctx := shared.namespace(t), t.Context()
	one, two := shared.typed(t).AutoscalingV1().HorizontalPodAutoscalers(ns), shared.typed(t).AutoscalingV2().HorizontalPodAutoscalers(ns)
	created := must(one.Create(ctx, autoscalerV1("web"), metav1.CreateOptions{}))(t)
	if created.APIVersion != "" && created.APIVersion != "autoscaling/v1" || *created.Spec.MinReplicas != 1 {
		t.Errorf("created %s %+v", created.APIVersion, created.Spec)
	}
	got := must(two.Get(ctx, "web", metav1.GetOptions{}))(t)
	if m := got.Spec.Metrics; len(m) != 1 || *m[0].Resource.Target.AverageUtilization != 60 || got.UID != created.UID || got.ResourceVersion != created.ResourceVersion {
		t.Errorf("in version 2: %+v", got)
	}
	kv, _, err := shared.store.Get(ctx, "/registry/horizontalpodautoscalers/"+ns+"/web")
	if err != nil || !strings.HasPrefix(string(kv.Value), "k8s\x00\n)\n\x0eautoscaling/v2\x12\x17HorizontalPodAutoscaler") {
		t.Errorf("stored as %q: %v", kv.Value, err)
	}

	got.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{}
	must(two.Update(ctx, got, metav1.UpdateOptions{}))(t)
	list := must(one.List(ctx, metav1.ListOptions{}))(t)
	if len(list.Items) != 1 || !strings.Contains(list.Items[0].Annotations["autoscaling.alpha.kubernetes.io/behavior"], "ScaleUp") {
		t.Errorf("list of version 1: %+v", list.Items)
	}
	patched := must(one.Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"targetCPUUtilizationPercentage":70}}`), metav1.PatchOptions{}))(t)
	if *patched.Spec.TargetCPUUtilizationPercentage != 70 {
		t.Errorf("patched %+v", patched.Spec)
	}
	got = must(two.Get(ctx, "web", metav1.GetOptions{}))(t)
	if *got.Spec.Metrics[0].Resource.Target.AverageUtilization != 70 || got.Spec.Behavior == nil || len(got.Annotations) > 0 {
		t.Errorf("after a patch of version 1: %+v", got)
	}
	bad := autoscalerV1("bad")
	bad.Spec.MaxReplicas = 0
	_, err = one.Create(ctx, bad, metav1.CreateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "spec.maxReplicas: Invalid value: 0")
}

func TestVersionsAreWatched(t *testing.T) {
	ns := shared.namespace(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	one := shared.typed(t).AutoscalingV1().HorizontalPodAutoscalers(ns)
	w := must(one.Watch(ctx, metav1.ListOptions{}))(t)
	defer w.Stop()
	must(one.Create(ctx, autoscalerV1("web"), metav1.CreateOptions{}))(t)
	select {
	case e := <-w.ResultChan():
		if h, ok := e.Object.(*autoscalingv1.HorizontalPodAutoscaler); !ok || *h.Spec.TargetCPUUtilizationPercentage != 60 {
			t.Errorf("event %s %+v", e.Type, e.Object)
		}
	case <-ctx.Done():
		t.Fatal("no event")
	}
}

// Who applies in one version owns the same fields in the other, under the names that they have there.
func TestApplyInVersions(t *testing.T) {
	ns, ctx := shared.namespace(t), t.Context()
	one, two := shared.typed(t).AutoscalingV1().HorizontalPodAutoscalers(ns), shared.typed(t).AutoscalingV2().HorizontalPodAutoscalers(ns)
	const head = "kind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n"
	apply := metav1.PatchOptions{FieldManager: "me"}
	must(one.Patch(ctx, "web", types.ApplyYAMLPatchType, []byte("apiVersion: autoscaling/v1\n"+head+"  maxReplicas: 5\n  targetCPUUtilizationPercentage: 60\n"), apply))(t)
	_, err := two.Patch(ctx, "web", types.ApplyYAMLPatchType, []byte("apiVersion: autoscaling/v2\n"+head+"  maxReplicas: 6\n"), metav1.PatchOptions{FieldManager: "you"})
	wantStatus(t, err, 409, metav1.StatusReasonConflict, `conflict with "me": .spec.maxReplicas`)
	got := must(two.Patch(ctx, "web", types.ApplyYAMLPatchType, []byte("apiVersion: autoscaling/v2\n"+head+"  maxReplicas: 7\n  minReplicas: 2\n"), apply))(t)
	// Nothing more is said of the utilization: who owned it alone has it removed, and the default is back.
	if got.Spec.MaxReplicas != 7 || *got.Spec.MinReplicas != 2 || *got.Spec.Metrics[0].Resource.Target.AverageUtilization != 80 {
		t.Errorf("applied %+v", got.Spec)
	}
	var owners []string
	for _, m := range got.ManagedFields {
		owners = append(owners, m.Manager+" "+m.APIVersion+" "+string(m.Operation))
	}
	if diff := cmp.Diff([]string{"me autoscaling/v2 Apply"}, owners); diff != "" {
		t.Error(diff)
	}
}

func TestVersionsInDiscoveryAndTables(t *testing.T) {
	ns := shared.namespace(t)
	groups := must(shared.typed(t).Discovery().ServerGroups())(t)
	for _, g := range groups.Groups {
		if g.Name == "autoscaling" && (g.PreferredVersion.Version != "v2" || len(g.Versions) != 2) {
			t.Errorf("announced %+v", g)
		}
	}
	must(shared.typed(t).AutoscalingV1().HorizontalPodAutoscalers(ns).Create(t.Context(), autoscalerV1("web"), metav1.CreateOptions{}))(t)
	for _, version := range []string{"v1", "v2"} {
		a := shared.request(t, "GET", "/apis/autoscaling/"+version+"/namespaces/"+ns+"/horizontalpodautoscalers", "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
		if a.Code != 200 || !strings.Contains(string(a.Body), `["web","Deployment/web","cpu: \u003cunknown\u003e/60%","1",5,0,`) {
			t.Errorf("%s: %d %s", version, a.Code, a.Body)
		}
	}
	// The status of version 1 is a view as well.
	h := must(shared.typed(t).AutoscalingV1().HorizontalPodAutoscalers(ns).Get(t.Context(), "web", metav1.GetOptions{}))(t)
	h.Status.CurrentCPUUtilizationPercentage, h.Spec.MaxReplicas = new(int32(12)), 1
	must(shared.typed(t).AutoscalingV1().HorizontalPodAutoscalers(ns).UpdateStatus(t.Context(), h, metav1.UpdateOptions{}))(t)
	got := must(shared.typed(t).AutoscalingV2().HorizontalPodAutoscalers(ns).Get(t.Context(), "web", metav1.GetOptions{}))(t)
	if m := got.Status.CurrentMetrics; len(m) != 1 || m[0].Resource.Name != corev1.ResourceCPU || *m[0].Resource.Current.AverageUtilization != 12 || got.Spec.MaxReplicas != 5 {
		t.Errorf("status is %+v", got)
	}
}
