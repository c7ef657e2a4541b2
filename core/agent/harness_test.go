package agent

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gantryio/gantry/core/agent/apiwatch/apiwatchtest"
	fakeruntime "github.com/gantryio/gantry/plugins/runtime/fake"
)

const (
	testNode  = "n1"
	testImage = "registry.example/app:1"
	deadline  = 20 * time.Second
	held      = "test.gantry.io/grace"
)

// logLevel keeps what the tests provoke out of their output.
var logLevel = slog.LevelError

// bench is a node on a fake runtime and an API in memory.
type bench struct {
	t       *testing.T
	api     client.WithWatch
	rt      *fakeruntime.Runtime
	agent   *Agent
	events  *record.FakeRecorder
	cancel  context.CancelFunc
	stopped chan error
	watched chan struct{}
	deletes *counter
}

type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) add(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[key]++
}

// memoryAPI is an API that deletes pods as a server does: with grace, a pod is only marked, and a delete without grace
// ends it. A finalizer stands for the grace, since the in-memory API has none.
func memoryAPI(watched chan struct{}, deletes *counter, objs ...client.Object) client.WithWatch {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, coordinationv1.AddToScheme, nodev1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objs...).
		WithStatusSubresource(&corev1.Pod{}, &corev1.Node{}).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).
		WithIndex(&corev1.Node{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithIndex(&corev1.ConfigMap{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithIndex(&corev1.Secret{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithInterceptorFuncs(interceptor.Funcs{
			Watch: apiwatchtest.Begun(watched, func(list client.ObjectList, o *client.ListOptions) bool {
				_, ok := list.(*corev1.PodList)
				return ok && o.FieldSelector != nil
			}).Watch,
			Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
				if obj.GetUID() == "" {
					obj.SetUID(uuid.NewUUID())
				}
				return c.Create(ctx, obj, opts...)
			},
			Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
				var o client.DeleteOptions
				o.ApplyOptions(opts)
				if _, ok := obj.(*corev1.Pod); ok && o.GracePeriodSeconds != nil && *o.GracePeriodSeconds == 0 {
					deletes.add(obj.GetNamespace() + "/" + obj.GetName())
					var live corev1.Pod
					if err := c.Get(ctx, client.ObjectKeyFromObject(obj), &live); err != nil {
						return err
					}
					live.Finalizers = nil
					if live.DeletionTimestamp != nil {
						return c.Update(ctx, &live)
					}
				}
				return c.Delete(ctx, obj, opts...)
			},
		}).Build()
}

func newBench(t *testing.T, o fakeruntime.Options, objs ...client.Object) *bench {
	t.Helper()
	if o.Images == nil {
		o.Images = []string{testImage}
	}
	b := &bench{t: t, events: record.NewFakeRecorder(1000), watched: make(chan struct{}, 100), deletes: &counter{n: map[string]int{}}}
	b.api = memoryAPI(b.watched, b.deletes, objs...)
	b.rt = fakeruntime.New(o)
	return b
}

// start runs an agent and waits until it watches its pods.
func (b *bench) start(change func(*Agent)) {
	b.t.Helper()
	b.agent = &Agent{
		Config:   Config{NodeName: testNode, NodeIPs: []string{"192.0.2.1"}, Hollow: true},
		API:      b.api,
		Runtimes: Static{{Ref: Ref{Plugin: "fake", Version: "1"}, Runtime: b.rt}},
		Recorder: b.events,
		Log:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: logLevel})),
	}
	if change != nil {
		change(b.agent)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.stopped = cancel, make(chan error, 1)
	go func() { b.stopped <- b.agent.Run(ctx) }()
	b.t.Cleanup(b.stop)
	for _, ch := range []<-chan struct{}{b.agent.Ready(), b.watched} {
		select {
		case <-ch:
		case <-time.After(deadline):
			b.t.Fatal("the agent did not become ready")
		}
	}
}

// stop ends the agent and leaves its pods running.
func (b *bench) stop() {
	if b.cancel == nil {
		return
	}
	b.cancel()
	b.cancel = nil
	select {
	case err := <-b.stopped:
		if err != nil {
			b.t.Errorf("run: %v", err)
		}
	case <-time.After(deadline):
		b.t.Error("the agent did not stop")
	}
}

func testPod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: uuid.NewUUID(), Finalizers: []string{held}},
		Spec: corev1.PodSpec{
			NodeName: testNode, RestartPolicy: corev1.RestartPolicyAlways,
			Containers: []corev1.Container{{Name: "app", Image: testImage}},
		},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func (b *bench) create(o client.Object) {
	b.t.Helper()
	if err := b.api.Create(context.Background(), o); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for a condition of the pod as the API shows it. A nil pod is one that is gone.
func (b *bench) until(name, what string, ok func(p *corev1.Pod) bool) *corev1.Pod {
	b.t.Helper()
	w, err := b.api.Watch(context.Background(), &corev1.PodList{}, client.InNamespace("default"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Stop()
	var last *corev1.Pod
	limit := time.After(deadline)
	for {
		var p corev1.Pod
		err := b.api.Get(context.Background(), types.NamespacedName{Namespace: "default", Name: name}, &p)
		if last = &p; err != nil {
			last = nil
		}
		if ok(last) {
			return last
		}
		select {
		case <-w.ResultChan():
		case <-limit:
			b.t.Fatalf("%s never came: %s; status now: %s; events: %q", name, what, statusText(last), b.drain())
		}
	}
}

func statusText(p *corev1.Pod) string {
	if p == nil {
		return "gone"
	}
	return p.Status.String()
}

// drain returns the events so far.
func (b *bench) drain() []string {
	var out []string
	for {
		select {
		case e := <-b.events.Events:
			out = append(out, e)
		default:
			return out
		}
	}
}

func ready(p *corev1.Pod) bool {
	if p == nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func gone(p *corev1.Pod) bool { return p == nil }

func running(restarts int32) func(p *corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		return p != nil && len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Running != nil &&
			p.Status.ContainerStatuses[0].RestartCount == restarts
	}
}

// containerOf returns the id of a pod's newest container of a name.
func (b *bench) containerID(name, container string) string {
	b.t.Helper()
	_, cs := b.rt.Dump()
	var id string
	var attempt uint32
	for _, c := range cs {
		if c.Labels["io.kubernetes.pod.name"] == name && c.Metadata.Name == container && c.Metadata.Attempt >= attempt {
			id, attempt = c.Id, c.Metadata.Attempt
		}
	}
	if id == "" {
		b.t.Fatalf("no container %s of %s", container, name)
	}
	return id
}
