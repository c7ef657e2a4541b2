package pluginswap

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	// spare is how many pods of a workload may be missing; one when 0.
	spare int32
	// settle is how long they have to be ready.
	settle time.Duration
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
		now: w.now, nodes: map[string]node{}, families: map[types.UID]*family{},
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
		ref := metav1.GetControllerOf(p)
		if ref == nil {
			continue
		}
		f := out.families[ref.UID]
		if f == nil {
			f = &family{title: ref.Kind + " d/" + ref.Name, want: -1, spare: max(1, w.spare), strict: ref.Kind == "Node", settle: w.settle}
			out.families[ref.UID] = f
		}
		f.pods = append(f.pods, p)
		if ref.Kind == "ReplicaSet" {
			f.want = int32(len(f.pods))
			if ready(p) {
				web++
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

// A strategy that lets three pods be missing is made use of, but only when a first pod has shown that the plugin works.
func TestSeveralAtATime(t *testing.T) {
	w := newTown(t, "a")
	w.web("a", 10)
	w.spare = 3
	var counts []int
	for before := 0; !finished(w.swap.Status.Phase); before = len(w.evicted) {
		w.step()
		if n := len(w.evicted) - before; n > 0 {
			counts = append(counts, n)
		}
	}
	if d := cmp.Diff([]int{1, 3, 3, 3}, counts); d != "" {
		t.Error(d)
	}
	w = newTown(t, "a")
	w.web("a", 10)
	w.spare, w.broken["new"] = 3, true
	w.run(v1alpha1.SwapRolledBack)
	if w.least < 9 {
		t.Errorf("only %d pods were ready on a plugin that does not work", w.least)
	}
}

// What takes longer than the timeout is no failure if pods were promised that time.
func TestWhatIsNotLate(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(w *town, one, other *corev1.Pod)
		want   v1alpha1.SwapPhase
	}{
		{name: "a grace", want: v1alpha1.SwapMoving, change: func(w *town, one, _ *corev1.Pod) {
			one.DeletionTimestamp = &metav1.Time{Time: w.now.Add(time.Hour)}
		}},
		{name: "a grace that is over", want: v1alpha1.SwapRollingBack, change: func(w *town, one, _ *corev1.Pod) {
			one.DeletionTimestamp = &metav1.Time{Time: w.now}
		}},
		{name: "the seconds that a pod has to be ready", want: v1alpha1.SwapMoving, change: func(w *town, _, other *corev1.Pod) {
			other.Status.Conditions[0].LastTransitionTime, w.settle = metav1.NewTime(w.now), time.Hour
		}},
		{name: "a pod that is not ready", want: v1alpha1.SwapRollingBack, change: func(_ *town, _, other *corev1.Pod) {
			other.Status.Conditions[0].Status = corev1.ConditionFalse
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newTown(t, "a")
			test.change(w, w.add("a", "ReplicaSet", "web", "old"), w.add("a", "ReplicaSet", "web", "new"))
			for range 40 {
				p := decide(w.swap, w.see())
				w.swap.Status = p.status
				for name, value := range p.defaults {
					w.nodes[name].Spec.Defaults = map[v1alpha1.Type]string{v1alpha1.Runtime: value}
					w.nodes[name].Generation++
				}
				w.now = w.now.Add(time.Second)
			}
			if got := w.swap.Status.Phase; got != test.want {
				t.Errorf("the swap is %s, want %s: %+v", got, test.want, w.swap.Status)
			}
		})
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
