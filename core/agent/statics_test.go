package agent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/static"
	fakeruntime "github.com/gantryio/gantry/plugins/runtime/fake"
)

func TestNextStep(t *testing.T) {
	at := metav1.Now()
	version := func(uid types.UID) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid, Annotations: map[string]string{static.Hash: string(uid)}}}
	}
	mirror := func(of string, change ...func(*corev1.Pod)) *corev1.Pod {
		m := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{static.MirrorOf: of}}}
		for _, f := range change {
			f(m)
		}
		return m
	}
	deleted := func(m *corev1.Pod) { m.DeletionTimestamp = &at }
	evicted := func(m *corev1.Pod) {
		m.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI"}}
	}
	for _, test := range []struct {
		name                    string
		wanted, running, mirror *corev1.Pod
		worked, moving          bool
		want                    step
	}{
		{name: "new", wanted: version("a"), want: step{begin: true, create: true}},
		{name: "it runs and is shown", wanted: version("a"), running: version("a"), worked: true, mirror: mirror("a"), want: step{tell: true}},
		{name: "shown before it runs", wanted: version("a"), mirror: mirror("a"), want: step{begin: true, tell: true}},
		{name: "the mirror is gone", wanted: version("a"), running: version("a"), worked: true, want: step{create: true}},
		{name: "the mirror is deleted", wanted: version("a"), running: version("a"), worked: true, mirror: mirror("a", deleted), want: step{remove: true}},
		{name: "the mirror is another's", wanted: version("a"), mirror: mirror("b"), want: step{remove: true}},
		{name: "another version", wanted: version("b"), running: version("a"), worked: true, mirror: mirror("a"), want: step{end: true}},
		{name: "the one before has ended", wanted: version("b"), running: version("a"), mirror: mirror("a"), want: step{remove: true}},
		{name: "no more wanted", running: version("a"), worked: true, mirror: mirror("a"), want: step{end: true}},
		{name: "it has ended", mirror: mirror("a"), want: step{remove: true}},
		{name: "marked for an eviction", wanted: version("a"), running: version("a"), worked: true, mirror: mirror("a", evicted), want: step{tell: true}},
		{name: "evicted", wanted: version("a"), running: version("a"), worked: true, mirror: mirror("a", evicted, deleted), want: step{end: true}},
		{name: "evicted before it began here", wanted: version("a"), mirror: mirror("a", evicted, deleted), want: step{begin: true}},
		{name: "evicted and ended", wanted: version("a"), running: version("a"), moving: true, mirror: mirror("a", evicted, deleted), want: step{remove: true}},
		{name: "evicted and gone", wanted: version("a"), running: version("a"), worked: true, moving: true, want: step{end: true}},
		{name: "to begin anew", wanted: version("a"), moving: true, want: step{begin: true, create: true}},
		{name: "nothing", want: step{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := next(test.wanted, test.running, test.mirror, test.worked, test.moving); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// place writes a manifest as tools do that must not show half of it.
func place(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(filepath.Join(dir, ".new"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, ".new"), file); err != nil {
		t.Fatal(err)
	}
}

const webManifest = `{apiVersion: v1, kind: Pod, metadata: {name: web, finalizers: [` + held + `]}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: "` + testImage + `"}]}}`

// TestStaticPod follows one through its life.
func TestStaticPod(t *testing.T) {
	const name = "web-" + testNode
	dir := t.TempDir()
	b := newBench(t, fakeruntime.Options{})
	here := func(a *Agent) { a.StaticPodPath = dir }
	place(t, dir, "web.yaml", webManifest)
	b.start(here)
	first := b.until(name, "ready", ready)
	if first.Annotations[static.MirrorOf] == "" || first.Annotations[static.MirrorOf] != first.Annotations[static.Hash] || metav1.GetControllerOf(first).Kind != "Node" {
		t.Errorf("the mirror is %+v", first.ObjectMeta)
	}
	container := b.containerID(name, "app")
	same := func(what string) {
		t.Helper()
		if now := b.containerID(name, "app"); now != container {
			t.Fatalf("container %s runs after %s, before %s", now, what, container)
		}
	}

	// Its mirror is made again, and it does not notice.
	if err := b.api.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	second := b.until(name, "shown again", func(p *corev1.Pod) bool { return ready(p) && p.UID != first.UID })
	same("the mirror was deleted")

	// Neither does it notice that the agent is another.
	b.stop()
	b.start(here)
	b.until(name, "ready", ready)
	same("the agent was started again")

	// It is made anew when it is evicted.
	evict := second.DeepCopy()
	if err := b.api.Get(t.Context(), client.ObjectKeyFromObject(second), evict); err != nil {
		t.Fatal(err)
	}
	evict.Status.Conditions = append(evict.Status.Conditions, corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI",
	})
	if err := b.api.Status().Update(context.Background(), evict); err != nil {
		t.Fatal(err)
	}
	if err := b.api.Delete(t.Context(), evict); err != nil {
		t.Fatal(err)
	}
	another := func(p *corev1.Pod) bool {
		return ready(p) && p.DeletionTimestamp == nil && !strings.HasSuffix(p.Status.ContainerStatuses[0].ContainerID, container)
	}
	b.until(name, "made anew", another)
	container = b.containerID(name, "app")

	// Another version takes its place, and then none.
	place(t, dir, "web.yaml", strings.Replace(webManifest, "name: app", "env: [{name: a, value: b}], name: app", 1))
	b.until(name, "another version", another)
	if err := os.Remove(filepath.Join(dir, "web.yaml")); err != nil {
		t.Fatal(err)
	}
	b.until(name, "gone", gone)
	if sandboxes, _ := b.rt.Dump(); len(sandboxes) != 0 {
		t.Errorf("sandboxes are left: %v", sandboxes)
	}
}
