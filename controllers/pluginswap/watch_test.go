package pluginswap

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/core/client/owner/ownertest"
)

func TestRunning(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	swap := func(name string, phase v1alpha1.SwapPhase) *v1alpha1.PluginSwap {
		return &v1alpha1.PluginSwap{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1alpha1.PluginSwapStatus{Phase: phase}}
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(swap("new", ""), swap("over", v1alpha1.SwapSucceeded)).Build()
	want := []reconcile.Request{{NamespacedName: client.ObjectKey{Name: "new"}}}
	if diff := cmp.Diff(want, (&Controller{Client: api}).running(t.Context(), nil)); diff != "" {
		t.Error(diff)
	}
	if got := (&Controller{Client: ownertest.Nothing{}}).running(t.Context(), nil); len(got) != 0 {
		t.Errorf("where there are no swaps, %v run", got)
	}
}
