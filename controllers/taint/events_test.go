package taint

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// noted is a queue that keeps the names of what is added.
type noted struct {
	queue
	names []string
}

func (n *noted) Add(req reconcile.Request) { n.names = append(n.names, req.Name) }

func (n *noted) AddAfter(req reconcile.Request, wait time.Duration) {
	n.names = append(n.names, req.Name+" after "+wait.String())
}

func TestEvents(t *testing.T) {
	node := func(taints ...corev1.Taint) client.Object {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: corev1.NodeSpec{Taints: taints}}
	}
	with := func(change func(*corev1.Pod)) client.Object {
		p := pod("p")
		change(p)
		return p
	}
	as := func(p *corev1.Pod) {}
	waiting := func(p *corev1.Pod) { p.Spec.NodeName = "" }
	changed := func(p *corev1.Pod) { p.Generation++ }
	over := func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }
	deleted := func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: start} }
	deletedWaiting := func(p *corev1.Pod) { deleted(p); waiting(p) }
	soft := corev1.Taint{Key: "x", Effect: corev1.TaintEffectNoSchedule}
	for name, tc := range map[string]struct {
		hear     func(context.Context, client.Object, client.Object, queue)
		old, now client.Object
		want     []string
	}{
		"a new node":                    {nodeEvents, nil, node(), []string{"a"}},
		"a node that is gone":           {nodeEvents, node(), nil, []string{"a"}},
		"a node that does not evict":    {nodeEvents, node(), node(soft), nil},
		"a node that begins to evict":   {nodeEvents, node(), node(soft, added("x", 0)), []string{"a"}},
		"a node that ceases to evict":   {nodeEvents, node(added("x", 0)), node(), []string{"a"}},
		"a new pod":                     {podEvents, nil, with(waiting), nil},
		"a new pod on a node":           {podEvents, nil, with(as), []string{"a"}},
		"a pod that had ended":          {podEvents, nil, with(over), []string{"a", "/ended after 5s"}},
		"a pod that gets a node":        {podEvents, with(waiting), with(as), []string{"a"}},
		"a pod with other tolerations":  {podEvents, with(as), with(changed), []string{"a"}},
		"a pod that ends":               {podEvents, with(as), with(over), []string{"/ended after 5s"}},
		"a pod that has ended for long": {podEvents, with(over), with(over), nil},
		"a pod that is gone":            {podEvents, with(as), nil, nil},
		"a pod that is deleted":         {podEvents, with(as), with(deleted), nil},
		"a pod that is lost":            {podEvents, with(waiting), with(deletedWaiting), []string{"p"}},
		"a pod that had been lost":      {podEvents, nil, with(deletedWaiting), []string{"p"}},
		"a pod that is lost still":      {podEvents, with(deletedWaiting), with(deletedWaiting), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var q noted
			tc.hear(t.Context(), tc.old, tc.now, &q)
			if diff := cmp.Diff(tc.want, q.names); diff != "" {
				t.Error(diff)
			}
		})
	}
}
