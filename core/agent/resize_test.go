package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/agent/pod"
	fakeruntime "github.com/gantryio/gantry/plugins/runtime/fake"
)

func cpu(of string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Generation = 1
		list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(of)}
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
	}
}

// cpus gives the bench's node so many CPUs.
func cpus(n string) func(*Agent) {
	return func(a *Agent) {
		a.Capacity = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(n), corev1.ResourcePods: resource.MustParse("20")}
	}
}

// resize changes what a pod asks for, as the API does it.
func (b *bench) resize(name, to string) {
	b.t.Helper()
	for {
		var p corev1.Pod
		if err := b.api.Get(context.Background(), types.NamespacedName{Namespace: "default", Name: name}, &p); err != nil {
			b.t.Fatal(err)
		}
		generation := p.Generation
		cpu(to)(&p)
		p.Generation = generation + 1
		err := b.api.Update(context.Background(), &p)
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "object was modified") {
			b.t.Fatal(err)
		}
	}
}

// has tells that a pod has what it asked for in a generation, and nothing about its size remains to be done.
func has(generation int64, size string) func(p *corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		if p == nil || p.Status.ObservedGeneration != generation || len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].Resources == nil {
			return false
		}
		s := p.Status.ContainerStatuses[0]
		return s.Resources.Requests.Cpu().String() == size && s.Resources.Limits.Cpu().String() == size && s.AllocatedResources.Cpu().String() == size &&
			condition(p, corev1.PodResizePending) == "" && condition(p, corev1.PodResizeInProgress) == ""
	}
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) string {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return string(c.Status) + " " + c.Reason + " " + c.Message
		}
	}
	return ""
}

// told are the reasons of events that begin with word, and that nobody has asked for before.
func (b *bench) told(word string) []string { return reasons(word, b.drain()) }

// toldSoon waits for so many: who tells has written a status before, or will.
func (b *bench) toldSoon(word string, n int) []string {
	b.t.Helper()
	limit := time.After(deadline)
	out := b.told(word)
	for len(out) < n {
		select {
		case e := <-b.events.Events:
			out = append(out, reasons(word, []string{e})...)
		case <-limit:
			b.t.Fatalf("told only %q", out)
		}
	}
	return out
}

func reasons(word string, events []string) []string {
	var out []string
	for _, e := range events {
		if _, rest, _ := strings.Cut(e, " "); strings.HasPrefix(rest, word) {
			reason, _, _ := strings.Cut(rest, " ")
			out = append(out, reason)
		}
	}
	return out
}

func TestResizeInPlace(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(cpus("4"))
	b.create(testPod("web", cpu("100m")))
	before := b.until("web", "ready", ready)
	b.drain()
	b.resize("web", "200m")
	after := b.until("web", "resized", has(2, "200m"))
	if x, y := before.Status.ContainerStatuses[0].ContainerID, after.Status.ContainerStatuses[0].ContainerID; x != y {
		t.Errorf("container %s became %s", x, y)
	}
	if diff := cmp.Diff([]string{"ResizeStarted", "ResizeCompleted"}, b.told("Resize")); diff != "" {
		t.Error(diff)
	}
	b.resize("web", "50m")
	b.until("web", "smaller", has(3, "50m"))
}

func TestResizeRestartsWhoWantsIt(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(cpus("4"))
	b.create(testPod("web", cpu("100m"), func(p *corev1.Pod) {
		p.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		p.Spec.Containers[0].ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.RestartContainer}}
	}))
	b.until("web", "ready", ready)
	for generation, size := range []string{2: "200m", 3: "300m"} { // a second time as quickly
		if size != "" {
			b.resize("web", size)
			p := b.until("web", "resized", has(int64(generation), size))
			if n := p.Status.ContainerStatuses[0].RestartCount; int(n) != generation-1 {
				t.Errorf("restarted %d times, want %d", n, generation-1)
			}
		}
	}
}

func TestResizeWaitsForRoom(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(cpus("1"))
	for _, name := range []string{"web", "other"} {
		b.create(testPod(name, cpu("400m")))
		b.until(name, "ready", ready)
	}
	b.drain()
	b.resize("web", "700m")
	p := b.until("web", "deferred", func(p *corev1.Pod) bool { return condition(p, corev1.PodResizePending) != "" })
	if got, want := condition(p, corev1.PodResizePending), "True Deferred Node didn't have enough resource: cpu, requested: 700, used: 400, capacity: 1000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := p.Status.ContainerStatuses[0].AllocatedResources.Cpu().String(); got != "400m" {
		t.Errorf("%s is allocated", got)
	}
	b.create(testPod("third", cpu("200m"))) // what is deferred takes no room
	b.until("third", "ready", ready)
	b.resize("other", "100m")
	b.until("web", "resized", has(2, "700m"))
	if diff := cmp.Diff([]string{"ResizeDeferred", "ResizeStarted", "ResizeStarted", "ResizeCompleted", "ResizeCompleted"}, ordered(b.toldSoon("Resize", 5))); diff != "" {
		t.Error(diff)
	}
	b.resize("web", "900m")
	b.until("web", "deferred again", func(p *corev1.Pod) bool { return condition(p, corev1.PodResizePending) != "" })
	b.resize("web", "700m")
	b.until("web", "taken back", has(4, "700m"))
	b.resize("web", "2")
	if p := b.until("web", "refused", func(p *corev1.Pod) bool { return condition(p, corev1.PodResizePending) != "" }); !strings.HasPrefix(condition(p, corev1.PodResizePending), "True Infeasible ") {
		t.Errorf("got %s", condition(p, corev1.PodResizePending))
	}
}

// ordered puts reasons of several pods, whose order is nobody's business, into one.
func ordered(list []string) []string {
	rank := map[string]int{"ResizeDeferred": 0, "ResizeStarted": 1, "ResizeCompleted": 2}
	slices.SortStableFunc(list, func(a, b string) int { return rank[a] - rank[b] })
	return list
}

func TestResizeIsRetried(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(cpus("4"))
	b.create(testPod("web", cpu("100m")))
	b.until("web", "ready", ready)
	b.rt.Fail("UpdateContainerResources", errors.New("no"))
	b.resize("web", "200m")
	p := b.until("web", "failing", func(p *corev1.Pod) bool {
		return strings.HasPrefix(condition(p, corev1.PodResizeInProgress), "True Error ")
	})
	if got := p.Status.ContainerStatuses[0].Resources.Requests.Cpu().String(); got != "100m" {
		t.Errorf("it says that it has %s", got)
	}
	b.until("web", "resized", has(2, "200m"))
}

func TestResizeSurvivesARestart(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(cpus("1"))
	for _, name := range []string{"web", "other"} {
		b.create(testPod(name, cpu("400m")))
		b.until(name, "ready", ready)
	}
	b.stop()
	b.resize("web", "800m") // more than there is, while nobody looks
	b.start(cpus("1"))
	b.until("web", "deferred", func(p *corev1.Pod) bool { return condition(p, corev1.PodResizePending) != "" })
	b.create(testPod("third", cpu("150m"))) // it was not granted by the start either
	b.until("third", "ready", ready)
}

func TestEphemeralContainer(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(nil)
	b.create(testPod("web", func(p *corev1.Pod) { p.Generation = 1 }))
	b.until("web", "ready", ready)
	var p corev1.Pod
	if err := b.api.Get(context.Background(), types.NamespacedName{Namespace: "default", Name: "web"}, &p); err != nil {
		t.Fatal(err)
	}
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger", Image: testImage}, TargetContainerName: "app",
	}}
	if err := b.api.Update(context.Background(), &p); err != nil {
		t.Fatal(err)
	}
	state := func(ok func(corev1.ContainerState) bool) func(p *corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			return len(p.Status.EphemeralContainerStatuses) == 1 && ok(p.Status.EphemeralContainerStatuses[0].State)
		}
	}
	runs := state(func(s corev1.ContainerState) bool { return s.Running != nil })
	over := state(func(s corev1.ContainerState) bool { return s.Terminated != nil && s.Terminated.ExitCode == 4 })
	b.until("web", "debugged", runs)
	b.stop()
	b.start(nil)
	b.rt.Exit(b.containerID("web", "debugger"), 4)
	b.until("web", "debugged no more", over)
	b.stop()
	b.start(nil)
	b.rt.Exit(b.containerID("web", "app"), 1)
	after := b.until("web", "up again", running(1))
	if !over(after) || !ready(b.until("web", "ready", ready)) {
		t.Errorf("the debugger is %+v", after.Status.EphemeralContainerStatuses)
	}
}

// TestSizesAreNoted: an agent that starts again knows what it granted and gave, whatever the API asks for meanwhile.
func TestSizesAreNoted(t *testing.T) {
	a := &Agent{Config: Config{NodeName: testNode, KubeletDir: t.TempDir(), NodeIPs: []string{"192.0.2.1"}}}
	a.init()
	p := testPod("web", cpu("100m"))
	w := a.newWorker(p)
	w.refs["c1"], w.refs["c2"] = Ref{}, Ref{}
	w.given = map[string]pod.Size{"c1": {CPURequest: 100}, "gone": {CPURequest: 7}}
	w.obs.Resize.Outdated = true
	if err := a.note(p.UID, w.record()); err != nil {
		t.Fatal(err)
	}
	wish := testPod("web", cpu("300m"))
	wish.UID = p.UID
	wish.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodResizeInProgress, ObservedGeneration: 5}}
	again := a.newWorker(wish)
	again.recall(wish, nil)
	if got := again.sized().Spec.Containers[0].Resources.Requests.Cpu().String(); got != "100m" {
		t.Errorf("granted is %s", got)
	}
	if diff := cmp.Diff(map[string]pod.Size{"c1": {CPURequest: 100}}, again.given); diff != "" {
		t.Error(diff)
	}
	if r := again.obs.Resize; !r.Outdated || r.Generation != 5 {
		t.Errorf("what is to be done is %+v", r)
	}
	other := testPod("other", cpu("300m"))
	none := a.newWorker(other)
	none.recall(other, nil)
	if none.sized() != other || none.obs.Resize.Outdated {
		t.Error("a pod that was never resized was changed")
	}
}
