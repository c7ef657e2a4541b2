package pluginswap

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// town is a cluster that does what plans say: whoever is evicted comes back on the default of its node after a while.
type town struct {
	t     *testing.T
	now   time.Time
	swap  *v1alpha1.PluginSwap
	nodes map[string]*v1alpha1.NodePlugins
	pods  map[string]*corev1.Pod // by name
	on    map[string]string      // plugin by pod
	// broken plugins never make a pod ready; down ones do not answer.
	broken, down map[string]bool
	// held are pods that no budget lets go.
	held    map[string]bool
	born    int
	evicted []string
	// least is the lowest number of ready pods of the deployment "web" that was seen.
	least int
}

func newTown(t *testing.T, nodes ...string) *town {
	w := &town{
		t: t, now: time.Unix(1e9, 0), nodes: map[string]*v1alpha1.NodePlugins{}, pods: map[string]*corev1.Pod{}, on: map[string]string{},
		broken: map[string]bool{}, down: map[string]bool{}, held: map[string]bool{}, least: 1 << 30,
	}
	for _, name := range nodes {
		w.nodes[name] = &v1alpha1.NodePlugins{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1}}
	}
	w.swap = &v1alpha1.PluginSwap{Spec: v1alpha1.PluginSwapSpec{
		Type: v1alpha1.Runtime, From: "old", To: "new", MaxUnavailable: new(intstr.FromInt32(1)), BarePods: v1alpha1.Leave,
		HealthTimeoutSeconds: new(int32(30)), AutomaticRollback: new(true),
	}}
	return w
}

func (w *town) add(node, kind, owner, plugin string) *corev1.Pod {
	w.born++
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: fmt.Sprintf("p%d", w.born), UID: types.UID(fmt.Sprint(w.born))}}
	p.Spec.NodeName = node
	if owner != "" {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: owner, UID: types.UID(owner), Controller: new(true)}}
	}
	status := corev1.ConditionTrue
	if w.broken[plugin] {
		status = corev1.ConditionFalse
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
	w.pods[p.Name], w.on[p.Name] = p, plugin
	return p
}

func (w *town) web(node string, n int) {
	for range n {
		w.add(node, "ReplicaSet", "web", "old")
	}
}

func (w *town) standard(node string) string {
	if name := w.nodes[node].Spec.Defaults[v1alpha1.Runtime]; name != "" {
		return name
	}
	return "old"
}

// see is what the controller would observe.
func (w *town) see() world {
	out := world{
		now: w.now, nodes: map[string]node{}, siblings: map[types.UID][]*corev1.Pod{}, wanted: map[types.UID]int32{},
		pinned: func(p *corev1.Pod, plugin string) bool { return p.Annotations["wants"] == plugin },
	}
	for name, n := range w.nodes {
		n.Status = v1alpha1.NodePluginsStatus{ObservedGeneration: n.Generation}
		seen := node{plugins: n, pods: map[string][]*corev1.Pod{}}
		for _, plugin := range []string{"old", "new"} {
			n.Status.Plugins = append(n.Status.Plugins, v1alpha1.NodePlugin{
				Type: v1alpha1.Runtime, Name: plugin, Ready: !w.down[plugin], Default: w.standard(name) == plugin,
			})
			for i := 1; i <= w.born; i++ {
				p := w.pods[fmt.Sprintf("p%d", i)]
				if p != nil && w.on[p.Name] == plugin && p.Spec.NodeName == name {
					seen.pods[plugin] = append(seen.pods[plugin], p)
				}
			}
		}
		out.nodes[name] = seen
	}
	web := 0
	for _, p := range w.pods {
		if ref := metav1.GetControllerOf(p); ref != nil {
			out.siblings[ref.UID] = append(out.siblings[ref.UID], p)
			out.wanted[ref.UID] = -1
			if ref.Kind == "ReplicaSet" {
				out.wanted[ref.UID] = int32(len(out.siblings[ref.UID]))
				if ready(p) {
					web++
				}
			}
		}
	}
	w.least = min(w.least, web)
	return out
}

// step lets the controller act once, and then the world.
func (w *town) step() {
	p := decide(w.swap, w.see())
	w.swap.Status = p.status
	for name, value := range p.defaults {
		w.nodes[name].Spec.Defaults = map[v1alpha1.Type]string{v1alpha1.Runtime: value}
		w.nodes[name].Generation++
	}
	for _, pod := range p.evict {
		if w.held[pod.Name] {
			continue
		}
		w.evicted = append(w.evicted, pod.Name)
		delete(w.pods, pod.Name)
		if ref := metav1.GetControllerOf(pod); ref != nil {
			w.add(pod.Spec.NodeName, ref.Kind, ref.Name, w.standard(pod.Spec.NodeName))
		}
	}
	w.now = w.now.Add(time.Second)
}

func (w *town) run(want v1alpha1.SwapPhase) {
	w.t.Helper()
	for range 500 {
		if w.step(); finished(w.swap.Status.Phase) {
			break
		}
	}
	if w.swap.Status.Phase != want {
		w.t.Fatalf("it %s: %+v", w.swap.Status.Phase, w.swap.Status)
	}
}

func (w *town) count(plugin string) (n int) {
	for _, on := range w.pods {
		if w.on[on.Name] == plugin {
			n++
		}
	}
	return n
}

func TestPodsMoveOneAfterTheOther(t *testing.T) {
	w := newTown(t, "a", "b")
	w.web("a", 5)
	w.web("b", 5)
	w.add("a", "DaemonSet", "agents", "old")
	w.add("b", "DaemonSet", "agents", "old")
	w.add("b", "Node", "b", "old") // static pods
	w.add("b", "Node", "b", "old")
	w.run(v1alpha1.SwapSucceeded)
	if w.count("old") != 0 || w.count("new") != 14 || len(w.evicted) != 14 {
		t.Errorf("old %d, new %d, evicted %d", w.count("old"), w.count("new"), len(w.evicted))
	}
	if w.swap.Status.CompletionTime == nil || w.swap.Status.Nodes[1].Phase != v1alpha1.SwapSucceeded {
		t.Errorf("%+v", w.swap.Status)
	}
	if len(w.nodes["b"].Spec.Defaults) == 0 {
		t.Error("the default is not kept")
	}
}

func TestWhatStays(t *testing.T) {
	w := newTown(t, "a")
	w.add("a", "", "", "old")
	w.add("a", "ReplicaSet", "web", "old").Annotations = map[string]string{"wants": "old"}
	w.run(v1alpha1.SwapSucceeded)
	if got := strings.Join(w.swap.Status.Nodes[0].Left, " "); got != "d/p1 d/p2" || len(w.evicted) != 0 {
		t.Errorf("left %q, evicted %v", got, w.evicted)
	}
	w = newTown(t, "a")
	w.add("a", "", "", "old")
	w.swap.Spec.BarePods = v1alpha1.Evict
	w.run(v1alpha1.SwapSucceeded)
	if len(w.evicted) != 1 {
		t.Errorf("evicted %v", w.evicted)
	}
}

func TestAPluginThatMakesNoPodReadyIsLeftAgain(t *testing.T) {
	w := newTown(t, "a", "b")
	w.web("a", 3)
	w.web("b", 3)
	w.broken["new"] = true
	w.run(v1alpha1.SwapRolledBack)
	if w.count("new") != 0 || w.count("old") != 6 {
		t.Errorf("old %d, new %d", w.count("old"), w.count("new"))
	}
	if w.least < 5 {
		t.Errorf("only %d pods were ready", w.least)
	}
	if w.nodes["a"].Spec.Defaults[v1alpha1.Runtime] != "" || !strings.Contains(w.swap.Status.Message, "no progress for 30s") {
		t.Errorf("defaults %v, message %q", w.nodes["a"].Spec.Defaults, w.swap.Status.Message)
	}
}

func TestWithoutRollback(t *testing.T) {
	w := newTown(t, "a")
	w.web("a", 3)
	w.down["new"] = true
	w.swap.Spec.AutomaticRollback = new(false)
	w.run(v1alpha1.SwapFailed)
	if len(w.evicted) != 0 || !strings.Contains(w.swap.Status.Message, "waits for new to answer") {
		t.Errorf("evicted %v: %s", w.evicted, w.swap.Status.Message)
	}
}

func TestCancelled(t *testing.T) {
	w := newTown(t, "a")
	w.nodes["a"].Spec.Defaults = map[v1alpha1.Type]string{v1alpha1.Runtime: "old"}
	w.web("a", 4)
	for w.count("new") < 2 {
		w.step()
	}
	w.swap.Spec.Cancelled = true
	w.run(v1alpha1.SwapRolledBack)
	if w.count("old") != 4 || w.nodes["a"].Spec.Defaults[v1alpha1.Runtime] != "old" {
		t.Errorf("old %d, defaults %v", w.count("old"), w.nodes["a"].Spec.Defaults)
	}
}

func TestAtMostSoManyNodesAtOnce(t *testing.T) {
	w := newTown(t, "a", "b", "c", "d")
	for _, name := range []string{"a", "b", "c", "d"} {
		w.add(name, "DaemonSet", name, "old")
	}
	w.swap.Spec.MaxUnavailable = new(intstr.FromString("50%"))
	for range 100 {
		w.step()
		moving := 0
		for _, n := range w.swap.Status.Nodes {
			if n.Phase == v1alpha1.SwapMoving {
				moving++
			}
		}
		if moving > 2 {
			t.Fatalf("%d nodes at once", moving)
		}
	}
	w.run(v1alpha1.SwapSucceeded)
}

func TestNodesThatCannotMove(t *testing.T) {
	for name, want := range map[string]string{"x": "node x has no plugins", "": "no node has both old and gone"} {
		w := newTown(t, "a")
		if name == "" {
			w.swap.Spec.To = "gone"
		} else {
			w.swap.Spec.Nodes = []string{name}
		}
		w.run(v1alpha1.SwapFailed)
		if w.swap.Status.Message != want {
			t.Errorf("got %q, want %q", w.swap.Status.Message, want)
		}
	}
}
