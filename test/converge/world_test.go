package converge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

type reconciler = reconcile.Reconciler

// hands is what a controller gets of the world.
type hands struct {
	client   ctrlclient.Client
	live     ctrlclient.Reader
	recorder record.EventRecorder
	now      func() time.Time
}

// process is one start of the controllers: it ends when the world kills it.
type process struct {
	*world
	ctrlclient.Client
	view        *view
	reconcilers []reconciler
	mu          sync.Mutex
	dead        bool
}

// world is a namespace, its processes one after the other, and who else acts in it.
type world struct {
	t      *testing.T
	ctx    context.Context
	rng    *rand.Rand
	ns     string
	faulty bool
	ahead  time.Duration // of the clock
	setups func(h hands) []setup
	kinds  []ctrlclient.ObjectList // that are observed
	proc   *process
	// check is asked after each step; it returns what is wrong.
	check func() string
}

type setup interface {
	SetupWithManager(mgr manager.Manager) error
}

var (
	errLost = errors.New("connection reset by peer")
	errDead = errors.New("this process is dead")
)

// run makes a world for each of the seeds.
func run(t *testing.T, seeds int, live func(t *testing.T, w *world)) {
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "world-"}}
			w := &world{t: t, ctx: t.Context(), rng: rand.New(rand.NewPCG(uint64(seed), 1)), faulty: true}
			w.must(api.Create(w.ctx, ns))
			w.ns = ns.Name
			live(t, w)
		})
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// now is the time that controllers see.
func (w *world) now() time.Time { return time.Now().Add(w.ahead) }

// start begins a process, whose caches begin by showing the truth.
func (w *world) start() {
	w.t.Helper()
	p := &process{world: w, Client: api, view: newView()}
	for _, list := range w.kinds {
		list := reflect.New(reflect.TypeOf(list).Elem()).Interface().(ctrlclient.ObjectList)
		w.must(api.List(w.ctx, list, w.within(list)))
		for _, obj := range itemsOf(list) {
			p.view.of(kindOf(list)).seen[ctrlclient.ObjectKeyFromObject(obj)] = obj
		}
	}
	mgr := newCaptor(w.t, p.view)
	for _, s := range w.setups(hands{client: p, live: liveReader{p}, recorder: &record.FakeRecorder{}, now: w.now}) {
		w.must(s.SetupWithManager(mgr))
	}
	p.reconcilers = mgr.found
	w.proc = p
}

// chance is true once in n times, while there are faults.
func (w *world) chance(n int) bool { return w.faulty && w.rng.IntN(n) == 0 }

// steps lets things happen: n of what can.
func (w *world) steps(n int, others ...func()) {
	w.t.Helper()
	if w.proc == nil {
		w.start()
	}
	for i := range n {
		switch k := w.rng.IntN(10); {
		case k < 4:
			w.reconcileOne()
		case k < 7:
			if lagging := w.proc.view.lagging(); len(lagging) > 0 {
				w.proc.view.advance(lagging[w.rng.IntN(len(lagging))], 1+w.rng.IntN(4))
			}
		case k == 7 && w.rng.IntN(10) == 0:
			w.start()
		default:
			others[w.rng.IntN(len(others))]()
		}
		if why := w.check(); why != "" {
			w.t.Fatalf("step %d: %s", i, why)
		}
	}
}

func (w *world) reconcileOne() {
	keys := w.proc.view.keys()
	if len(keys) == 0 {
		return
	}
	key := keys[w.rng.IntN(len(keys))]
	r := w.proc.reconcilers[w.rng.IntN(len(w.proc.reconcilers))]
	_ = w.reconcile(r, key)
}

// reconcile calls a controller; when it was killed meanwhile, another process begins.
func (w *world) reconcile(r reconciler, key types.NamespacedName) time.Duration {
	w.t.Helper()
	result, err := r.Reconcile(w.ctx, reconcile.Request{NamespacedName: key})
	if w.proc.dead {
		w.start()
		return 0
	}
	if err != nil && !w.faulty && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		w.t.Fatalf("reconcile %s without faults: %v", key.Name, err)
	}
	return result.RequeueAfter
}

// settle ends the faults and lets everything run until nothing changes any longer. More is done by others
// between rounds and tells whether there was something to do.
func (w *world) settle(more func() bool) {
	w.t.Helper()
	w.faulty = false
	for range 400 {
		before := w.latest()
		for _, gvk := range w.proc.view.lagging() {
			w.proc.view.advance(gvk, -1)
		}
		var wake time.Duration
		for _, key := range w.proc.view.keys() {
			for _, r := range w.proc.reconcilers {
				if after := w.reconcile(r, key); after > 0 && (wake == 0 || after < wake) {
					wake = after
				}
			}
		}
		busy := more()
		if why := w.check(); why != "" {
			w.t.Fatal("while settling: " + why)
		}
		if busy || w.latest() != before {
			continue
		}
		if wake == 0 || wake > time.Minute {
			return
		}
		w.ahead += wake
	}
	w.t.Fatal("it does not come to rest")
}

// latest tells states of the namespace apart.
func (w *world) latest() string {
	out := ""
	for _, list := range w.kinds {
		for _, obj := range w.all(list) {
			out += obj.GetName() + obj.GetResourceVersion() + " "
		}
	}
	return out
}

// all are the true objects of a list's kind.
func (w *world) all(like ctrlclient.ObjectList) []ctrlclient.Object {
	w.t.Helper()
	list := reflect.New(reflect.TypeOf(like).Elem()).Interface().(ctrlclient.ObjectList)
	w.must(api.List(w.ctx, list, w.within(list)))
	return itemsOf(list)
}

// within selects the world's own: what is in its namespace, and of what is in none that has a label of its name.
func (w *world) within(list ctrlclient.ObjectList) ctrlclient.ListOption {
	switch list.(type) {
	case *corev1.NodeList, *v1alpha1.NodePluginsList, *v1alpha1.PluginSwapList:
		return ctrlclient.HasLabels{w.ns}
	}
	return ctrlclient.InNamespace(w.ns)
}

func itemsOf(list ctrlclient.ObjectList) []ctrlclient.Object {
	items := reflect.ValueOf(list).Elem().FieldByName("Items")
	out := make([]ctrlclient.Object, items.Len())
	for i := range out {
		out[i] = items.Index(i).Addr().Interface().(ctrlclient.Object).DeepCopyObject().(ctrlclient.Object)
	}
	return out
}

func assign(out, from ctrlclient.Object) error {
	to, src := reflect.ValueOf(out).Elem(), reflect.ValueOf(from.DeepCopyObject()).Elem()
	if to.Type() != src.Type() {
		return fmt.Errorf("show %T as %T", from, out)
	}
	to.Set(src)
	return nil
}
