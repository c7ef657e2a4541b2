package client_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/gantryio/gantry/core/client/source"
)

// A source tells of all that there is before it counts as synced, and then of each change with both versions, in order.
func TestASource(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	do(t, api.Create(ctx, configMap("s1", "1")))
	do(t, api.Create(ctx, configMap("s2", "1")))
	q := priorityqueue.New[string]("")
	defer q.ShutDown()
	value := func(o ctrlclient.Object) string {
		if o == nil {
			return "-"
		}
		return o.(*corev1.ConfigMap).Data["k"]
	}
	heard := make(chan string, 100)
	src := source.Of(local, &corev1.ConfigMap{}, func(_ context.Context, old, now ctrlclient.Object, q source.Queue[string]) {
		o := now
		if o == nil {
			o = old
		}
		if o.GetLabels()["test"] == "s" {
			heard <- o.GetName() + " " + value(old) + value(now)
			q.Add(o.GetName())
		}
	})
	do(t, src.Start(ctx, q))
	do(t, src.WaitForSync(ctx))
	if len(heard) != 2 {
		t.Fatalf("synced after %d initial objects, want 2", len(heard))
	}
	if name, priority, _ := q.GetWithPriority(); priority != handler.LowPriority {
		t.Errorf("%s, which was there, has priority %d", name, priority)
	}
	want := []string{"s1 -1", "s2 -1"}
	for i := 2; i < 10; i++ {
		do(t, api.Update(ctx, configMap("s1", fmt.Sprint(i))))
		want = append(want, fmt.Sprintf("s1 %d%d", i-1, i))
	}
	do(t, api.Delete(ctx, configMap("s1", "")))
	want = append(want, "s1 9-")
	var have []string
	for range want {
		select {
		case s := <-heard:
			have = append(have, s)
		case <-ctx.Done():
			t.Fatalf("heard %q", have)
		}
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
	do(t, api.Delete(ctx, configMap("s2", "")))
}

func TestNone(t *testing.T) {
	ctx := t.Context()
	index := func(o ctrlclient.Object) []string { return []string{o.(*corev1.ConfigMap).Data["k"]} }
	do(t, local.IndexField(ctx, &corev1.ConfigMap{}, "none", index))
	do(t, api.Create(ctx, configMap("n", "n-value")))
	for name, tc := range map[string]struct{ got, want bool }{
		"a namespace with one":     {api.None(&corev1.ConfigMapList{}, "default"), false},
		"all namespaces":           {api.None(&corev1.ConfigMapList{}, ""), false},
		"a namespace without":      {api.None(&corev1.ConfigMapList{}, "defaul"), true},
		"a kind without":           {api.None(&corev1.PodTemplateList{}, ""), true},
		"what is computed":         {api.None(&corev1.ComponentStatusList{}, ""), false},
		"a value with one":         {api.NoneBy(&corev1.ConfigMapList{}, "none", "n-value"), false},
		"a value without":          {api.NoneBy(&corev1.ConfigMapList{}, "none", "n-other"), true},
		"an index that is not":     {api.NoneBy(&corev1.ConfigMapList{}, "no-such", "n-other"), false},
		"an index of another kind": {api.NoneBy(&corev1.PodTemplateList{}, "none", "n-value"), false},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v", name, tc.got)
		}
	}
	do(t, api.Delete(ctx, configMap("n", "")))
	if !api.NoneBy(&corev1.ConfigMapList{}, "none", "n-value") {
		t.Error("the index still has what is gone")
	}
}
