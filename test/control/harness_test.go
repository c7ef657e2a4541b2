// Package control tests the controllers and the scheduler together, over a real API server and store in
// the same process. Only the nodes are pretended.
package control

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/gantryio/gantry/controllers/apiservice"
	"github.com/gantryio/gantry/controllers/certificatesigning"
	"github.com/gantryio/gantry/controllers/customresource"
	"github.com/gantryio/gantry/controllers/disruption"
	"github.com/gantryio/gantry/controllers/endpointslice"
	"github.com/gantryio/gantry/controllers/ephemeralvolume"
	"github.com/gantryio/gantry/controllers/garbage"
	"github.com/gantryio/gantry/controllers/horizontalpodautoscaler"
	"github.com/gantryio/gantry/controllers/namespace"
	"github.com/gantryio/gantry/controllers/node"
	"github.com/gantryio/gantry/controllers/resourcequota"
	"github.com/gantryio/gantry/controllers/serviceaccount"
	"github.com/gantryio/gantry/controllers/servicecidr"
	"github.com/gantryio/gantry/controllers/storageprotection"
	"github.com/gantryio/gantry/controllers/storageversionmigration"
	"github.com/gantryio/gantry/controllers/taint"
	"github.com/gantryio/gantry/controllers/ttlafterfinished"
	"github.com/gantryio/gantry/controllers/volumebinding"
	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/client"
	"github.com/gantryio/gantry/core/pki"
	"github.com/gantryio/gantry/core/scheduler"
	"github.com/gantryio/gantry/core/store"
	"github.com/gantryio/gantry/workloads/cronjob"
	"github.com/gantryio/gantry/workloads/daemonset"
	"github.com/gantryio/gantry/workloads/deployment"
	"github.com/gantryio/gantry/workloads/job"
	"github.com/gantryio/gantry/workloads/replicaset"
	"github.com/gantryio/gantry/workloads/statefulset"
)

// cluster is a control core with all controllers and pretended nodes.
type cluster struct {
	*client.Client
	t        *testing.T
	registry *api.Registry
	informed *client.Cache
	server   *apiserver.Server
	quotas   *admission.ResourceQuota
	ctx      context.Context
	wg       sync.WaitGroup
	// ahead is how far the clock of CronJobs is ahead of the true time.
	ahead atomic.Int64
	// load is what each running pod is pretended to use, in thousandths of a core.
	load      atomic.Int64
	authority *pki.Authority
	store     *store.Store
	// backend is where everything leads that is dialed for an APIService.
	backend string
}

func (c *cluster) clock() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func start(t *testing.T) *cluster {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &cluster{t: t, ctx: ctx, registry: all.Kinds()}
	st, err := store.Open(ctx, store.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if c.authority, err = pki.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	c.store = st
	watched := cache.New(st, c.registry)
	objects := admission.Reader{Cache: watched, Registry: c.registry}
	c.quotas = &admission.ResourceQuota{Objects: objects, Write: func(ctx context.Context, q *corev1.ResourceQuota) error { return c.Status().Update(ctx, q) }}
	srv := &apiserver.Server{
		Registry: c.registry, Store: st, Cache: watched, ServiceRange: netip.MustParsePrefix("10.96.0.0/16"),
		Admission:  append(admission.Default(objects), c.quotas, admission.CertificateRequests{May: auth.Masters{}}, admission.ResourceClaims{Objects: objects, May: auth.Masters{}}),
		Authorizer: auth.Masters{},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, c.backend)
		},
	}
	srv.Init()
	c.server = srv
	c.Client = &client.Client{
		Server: srv, Cache: watched, Registry: c.registry, Manager: "test",
		User: &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup}},
	}
	c.informed = client.NewCache(watched, c.registry)
	c.run(st.Run)
	c.run(watched.Run)
	<-watched.Synced()
	srv.LoadAllocations()
	if err := srv.Bootstrap(ctx, "192.0.2.1", 6443); err != nil {
		t.Fatal(err)
	}
	c.run(srv.FollowDefinitions)
	c.run(srv.FollowAPIServices)
	c.run(c.manager().Start)
	sched := &scheduler.Scheduler{Client: c.As("scheduler"), Cache: c.informed, Recorder: client.NewRecorder(ctx, c.As("scheduler"), "default-scheduler", "")}
	c.run(sched.Run)
	c.pretend()
	t.Cleanup(func() {
		cancel()
		c.wg.Wait()
		st.Close()
	})
	return c
}

// defined are the namespaced kinds that tests have defined.
func (c *cluster) defined() []schema.GroupVersionKind {
	var out []schema.GroupVersionKind
	for _, r := range c.registry.Stored() {
		if r.Custom() && r.Namespaced {
			out = append(out, r.GroupVersionKind())
		}
	}
	return out
}

func (c *cluster) run(f func(context.Context) error) {
	c.wg.Go(func() {
		if err := f(c.ctx); err != nil && c.ctx.Err() == nil {
			c.t.Error(err)
		}
	})
}

func (c *cluster) manager() manager.Manager {
	c.t.Helper()
	mgr, err := manager.New(&rest.Config{Host: "https://in-process.invalid"}, manager.Options{
		Scheme:         scheme.Scheme,
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return client.NewMapper(c.registry), nil },
		NewCache:       func(*rest.Config, crcache.Options) (crcache.Cache, error) { return c.informed, nil },
		NewClient:      func(*rest.Config, ctrlclient.Options) (ctrlclient.Client, error) { return c.Client, nil },
		Logger:         logr.Discard(),
		Metrics:        metricsserver.Options{BindAddress: "0"},
		Controller:     config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	elsewhere := c.openElsewhere()
	recorder := client.NewRecorder(c.ctx, c.Client, "test", "")
	var kinds, namespaced []schema.GroupVersionKind
	var counted []resourcequota.Kind
	for _, r := range c.registry.Stored() {
		kinds = append(kinds, r.GroupVersionKind())
		if r.Namespaced {
			namespaced = append(namespaced, r.GroupVersionKind())
			counted = append(counted, resourcequota.Kind{GroupVersionKind: r.GroupVersionKind(), Plural: r.Plural})
		}
	}
	for _, x := range []interface{ SetupWithManager(manager.Manager) error }{
		&replicaset.Controller{Client: c.As("replicaset-controller"), Recorder: recorder},
		&replicaset.Controller{Kind: replicaset.ReplicationControllers, Client: c.As("replication-controller"), Recorder: recorder},
		&statefulset.Controller{Client: c.As("statefulset-controller"), Recorder: recorder},
		&daemonset.Controller{Client: c.As("daemon-set-controller"), Recorder: recorder},
		&disruption.Controller{Client: c.As("disruption-controller"), Recorder: recorder},
		&deployment.Controller{Client: c.As("deployment-controller"), Recorder: recorder},
		&job.Controller{Client: c.As("job-controller"), Recorder: recorder, Backoff: 10 * time.Millisecond},
		&cronjob.Controller{Client: c.As("cronjob-controller"), Recorder: recorder, Clock: c.clock},
		&ttlafterfinished.Controller{Client: c.As("ttl-after-finished-controller")},
		&node.Controller{Client: c.As("node-controller"), Recorder: recorder, ClusterCIDR: netip.MustParsePrefix("10.200.0.0/16")},
		&taint.Controller{Client: c.As("taint-controller"), Recorder: recorder},
		&horizontalpodautoscaler.Controller{
			Client: c.As("horizontal-pod-autoscaler"), Recorder: recorder, Metrics: c.figures(mgr.GetRESTMapper()),
			Settings: horizontalpodautoscaler.Settings{Sync: 20 * time.Millisecond, CPUInitialization: time.Nanosecond, Stabilization: 500 * time.Millisecond},
		},
		&namespace.Controller{Client: c.As("namespace-controller"), Kinds: namespaced, Defined: c.defined, Elsewhere: c.namespacedElsewhere},
		&customresource.Controller{Client: c.Client},
		&storageversionmigration.Controller{Client: c.Client, Stored: c.registry.StoredKind},
		&servicecidr.Ranges{Client: c.As("service-cidrs-controller"), Clock: c.clock},
		&servicecidr.Addresses{Client: c.As("ipaddress-controller"), Recorder: recorder, Clock: c.clock},
		&certificatesigning.Controller{Client: c.Client, Sign: c.authority.SignRequest},
		&serviceaccount.Controller{Client: c.As("serviceaccount-controller"), CA: []byte("certificate")},
		&garbage.Controller{Client: c.As("garbage-controller"), Recorder: recorder, Kinds: kinds, Elsewhere: elsewhere},
		&resourcequota.Controller{Client: c.As("resourcequota-controller"), Kinds: counted, UnderWay: c.quotas.UnderWay},
		&apiservice.Controller{Client: c.Client, Builtin: c.registry.GroupVersions(), Check: c.server.CheckAPIService},
		&storageprotection.Controller{Client: c.As("storage-protection-controller")},
		&ephemeralvolume.Controller{Client: c.As("ephemeral-volume-controller"), Recorder: recorder},
		&volumebinding.Controller{Client: c.As("persistent-volume-binder"), Recorder: recorder},
		&endpointslice.Controller{Client: c.As("endpointslice-controller"), Recorder: recorder},
	} {
		if err := x.SetupWithManager(mgr); err != nil {
			c.t.Fatal(err)
		}
	}
	return mgr
}

// exits is an annotation: the pod ends at once, with this phase.
const exits = "test/exits"

// pretend makes every pod with a node run and be ready at once, and stop at once when it is deleted.
func (c *cluster) pretend() {
	informer, err := c.informed.GetInformer(c.ctx, &corev1.Pod{})
	if err != nil {
		c.t.Fatal(err)
	}
	type work struct{ key types.NamespacedName }
	pods := make(chan work, 100_000)
	see := func(o any) {
		if p := o.(*corev1.Pod); p.Spec.NodeName != "" {
			pods <- work{ctrlclient.ObjectKeyFromObject(p)}
		}
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }}); err != nil {
		c.t.Fatal(err)
	}
	for range 16 {
		c.wg.Go(func() {
			for {
				select {
				case <-c.ctx.Done():
					return
				case w := <-pods:
					c.runPod(w.key)
				}
			}
		})
	}
}

func (c *cluster) runPod(key types.NamespacedName) {
	p := &corev1.Pod{}
	if c.Get(c.ctx, key, p) != nil {
		return
	}
	if p.DeletionTimestamp != nil {
		_ = c.Delete(c.ctx, p, ctrlclient.GracePeriodSeconds(0), ctrlclient.Preconditions{UID: &p.UID})
		return
	}
	if p.Status.Phase != corev1.PodPending || p.Annotations["test/stays-pending"] != "" {
		return
	}
	update := p.DeepCopy()
	update.Status.StartTime = new(metav1.Now())
	update.Status.Phase, update.Status.PodIP, update.Status.PodIPs = corev1.PodRunning, "10.200.0.9", []corev1.PodIP{{IP: "10.200.0.9"}}
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}
	if phase := p.Annotations[exits]; phase != "" {
		update.Status.Phase, ready.Status = corev1.PodPhase(phase), corev1.ConditionFalse
	}
	update.Status.Conditions = append(update.Status.Conditions, ready)
	if err := c.Status().Update(c.ctx, update); ctrlclient.IgnoreNotFound(err) != nil && c.ctx.Err() == nil {
		c.runPod(key) // somebody wrote meanwhile
	}
}

// addNode registers a ready node.
func (c *cluster) addNode(name string) {
	c.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}, Status: corev1.NodeStatus{
		Capacity: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("5000")},
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
		}},
	}}
	if err := c.Create(c.ctx, n); err != nil {
		c.t.Fatal(err)
	}
}

// until waits for events of the list's kind until done says that all is as it should be; else it fails
// with what done said last.
func until[L ctrlclient.ObjectList](c *cluster, list L, namespace string, done func(L) string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
	defer cancel()
	w, err := c.Watch(ctx, list, ctrlclient.InNamespace(namespace))
	if err != nil {
		c.t.Fatal(err)
	}
	defer w.Stop()
	for {
		if err := c.List(ctx, list, ctrlclient.InNamespace(namespace)); err != nil {
			c.t.Fatal(err)
		}
		why := done(list)
		if why == "" {
			return
		}
		select {
		case <-w.ResultChan():
		case <-ctx.Done():
			c.t.Fatal("waited in vain: " + why)
		}
	}
}

func want[T comparable](what string, got, want T) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%s: %v, want %v", what, got, want)
}
