package agent

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fakeruntime "github.com/gantryio/gantry/plugins/runtime/fake"
)

// door is a runtime's socket, which can be away.
type door struct {
	mu     sync.Mutex
	closed bool
}

func (d *door) set(closed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = closed
}

func (d *door) pass(context.Context, string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return status.Error(codes.Unavailable, "socket is away")
	}
	return nil
}

func otherClass(p *corev1.Pod) { p.Spec.RuntimeClassName = new("other") }

// twoRuntimes is a bench with a second runtime behind a door.
func twoRuntimes(t *testing.T) (b *bench, d *door, second *fakeruntime.Runtime, add func(*Agent)) {
	t.Helper()
	d = &door{}
	b = newBench(t, fakeruntime.Options{}, &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Handler: "other"})
	second = fakeruntime.New(fakeruntime.Options{Images: []string{testImage}, Delay: d.pass})
	return b, d, second, func(a *Agent) {
		a.Runtimes = append(a.Runtimes.(Static), Instance{Ref: Ref{Plugin: "other", Version: "1"}, Runtime: second})
	}
}

func TestOnlyPodsOfAnAbsentRuntimeWait(t *testing.T) {
	b, d, second, add := twoRuntimes(t)
	b.start(add)
	b.create(testPod("here"))
	b.create(testPod("there", otherClass))
	b.until("here", "ready", ready)
	before := b.until("there", "ready", ready)
	b.stop()

	d.set(true)
	b.drain()
	var seen *Agent
	b.start(func(a *Agent) { add(a); seen = a })
	b.create(testPod("new"))
	b.until("new", "ready while the other runtime is away", ready)
	deadlined(t, "the pod that waits is told so", func() bool {
		return slices.ContainsFunc(b.drain(), func(e string) bool {
			return strings.Contains(e, "RuntimeNotReady") && strings.Contains(e, "socket is away")
		})
	})
	if got := seen.Uses()["other"]; !slices.Equal(got, []string{"default/there"}) {
		t.Errorf("the absent runtime is used by %v, want its pod", got)
	}
	if !seen.PodUIDs()[string(before.UID)] || len(seen.List()) == 0 {
		t.Error("the pod that waits is not the node's")
	}
	if _, err := seen.find("default", "there", ""); err == nil || !strings.Contains(err.Error(), "waits for runtime plugin other") {
		t.Errorf("its log cannot be read because: %v", err)
	}
	after := &corev1.Pod{}
	if err := b.api.Get(context.Background(), types.NamespacedName{Namespace: "default", Name: "there"}, after); err != nil || !ready(after) {
		t.Errorf("the pod is not ready any more: %v %v", after.Status, err)
	}

	d.set(false)
	deadlined(t, "the pod is run again by nobody but the runtime that has it", func() bool { return seen.worker(before.UID) != nil })
	b.create(testPod("late", otherClass))
	b.until("late", "ready", ready)
	if sandboxes, _ := second.Dump(); len(sandboxes) != 2 {
		t.Errorf("%d sandboxes, want one for each pod", len(sandboxes))
	}
	now := b.until("there", "ready", ready)
	if now.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID {
		t.Error("the container was started anew")
	}
}

func TestWhatVanishesWhileItsRuntimeIsAwayIsEnded(t *testing.T) {
	b, d, second, add := twoRuntimes(t)
	b.start(add)
	b.create(testPod("there", otherClass))
	p := b.until("there", "ready", ready)
	b.stop()
	d.set(true)
	b.start(add)
	p.Finalizers = nil
	if err := b.api.Update(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	if err := b.api.Delete(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	b.until("there", "gone", gone)
	d.set(false)
	deadlined(t, "its sandbox goes", func() bool { sandboxes, _ := second.Dump(); return len(sandboxes) == 0 })
}

// deadlined waits for what no event tells of.
func deadlined(t *testing.T, what string, is func() bool) {
	t.Helper()
	limit := time.After(deadline)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestThePodsRuntimeIsNoted(t *testing.T) {
	a := &Agent{Config: Config{NodeName: testNode, KubeletDir: t.TempDir()}}
	a.init()
	if got := a.marked("u"); got != "" {
		t.Errorf("noted is %q before anything was", got)
	}
	for _, name := range []string{"one", "two", "two"} {
		if err := a.mark("u", name); err != nil || a.marked("u") != name {
			t.Errorf("noted is %q, want %q: %v", a.marked("u"), name, err)
		}
	}
}
