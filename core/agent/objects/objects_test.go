package objects

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gantryio/gantry/core/agent/apiwatch/apiwatchtest"
)

func await(t *testing.T, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(10 * time.Second):
		t.Fatalf("never came: %s", what)
	}
}

// TestUsersShareAWatch sees both users of a missing object told when it is made, through one watch.
func TestUsersShareAWatch(t *testing.T) {
	watched := make(chan struct{}, 10)
	api := fake.NewClientBuilder().
		WithIndex(&corev1.ConfigMap{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithInterceptorFuncs(apiwatchtest.Begun(watched, nil)).Build()
	c := &Cache{API: api}
	key := Key{Kind: ConfigMap, Namespace: "ns", Name: "c"}
	told := [2]chan struct{}{make(chan struct{}, 10), make(chan struct{}, 10)}
	var sets [2]*Set
	for i := range sets {
		sets[i] = c.NewSet(func() { told[i] <- struct{}{} })
		if obj, err := sets[i].Get(context.Background(), key); err != nil || obj != nil {
			t.Fatalf("%v, %v", obj, err)
		}
	}
	await(t, watched, "the watch")
	if err := api.Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}}); err != nil {
		t.Fatal(err)
	}
	await(t, told[0], "news for the first user")
	await(t, told[1], "news for the second user")
	if len(watched) != 0 {
		t.Error("there is more than one watch")
	}
	sets[0].Close()
	if len(c.entries) != 1 {
		t.Error("the watch ended while it was used")
	}
	sets[1].Close()
	if len(c.entries) != 0 {
		t.Error("the watch goes on though nobody uses it")
	}
}
