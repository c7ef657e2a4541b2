// Package job runs pods to completion. It exists apart from the workloads that keep pods running because a
// finished pod must count exactly once, whatever crashes: pods carry a finalizer until the job's status has
// counted them.
//
// What exists is what the API lists, and what this process wrote but does not see listed yet is remembered
// until it is; nothing is done before.
package job

import (
	"cmp"
	"context"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/owner"
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

// What the waits after failures are unless the controller says otherwise.
const (
	defaultBackoff    = 10 * time.Second
	defaultMaxBackoff = 10 * time.Minute
)

// concurrency is how many jobs are dealt with at a time; nearly all of that time they wait for writes.
const concurrency = 32

// recheck is how long a reconcile waits at most for the events of what this process wrote.
const recheck = 5 * time.Second

// retry is how soon we look again when somebody else wrote what we wanted to write.
const retry = 20 * time.Millisecond

var kind = batchv1.SchemeGroupVersion.WithKind("Job")

// Controller reconciles Jobs.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
	Clock    clock.Clock
	// Backoff is how long no pod is made after a first failure, 10 s unless set; it doubles with each
	// further one up to MaxBackoff, 10 min unless set.
	Backoff, MaxBackoff time.Duration

	pending  pending
	backoffs backoffs
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	if err := owner.Index(context.Background(), mgr.GetFieldIndexer(), &corev1.Pod{}); err != nil {
		return err
	}
	err := ctrl.ControllerManagedBy(mgr).Named("job").
		For(&batchv1.Job{}).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Pod{}, owner.EnqueueOwner(c.jobsOf))).
		WithOptions(workers.Options(concurrency)).
		Complete(c)
	if err != nil {
		return err
	}
	strays := &strays{c}
	return ctrl.ControllerManagedBy(mgr).Named("job-strays").
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Pod{}, owner.EnqueueAny(strays.candidate))).
		Watches(&batchv1.Job{}, handler.EnqueueRequestsFromMapFunc(strays.podsOf)).
		WithOptions(workers.Options(concurrency)).
		Complete(strays)
}

func ownedByJob(ref *metav1.OwnerReference) bool {
	return ref != nil && ref.Kind == kind.Kind && ref.APIVersion == kind.GroupVersion().String()
}

// jobsOf finds the jobs that a change of a pod concerns: its controller, or those that might adopt it.
func (c *Controller) jobsOf(ctx context.Context, o client.Object) []reconcile.Request {
	if ref := metav1.GetControllerOfNoCopy(o); ref != nil {
		if !ownedByJob(ref) {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: ref.Name}}}
	}
	if len(o.GetLabels()) == 0 {
		return nil
	}
	var jobs batchv1.JobList
	if !owner.Find(ctx, c.Client, &jobs, o.GetNamespace()) {
		return nil
	}
	var out []reconcile.Request
	for i := range jobs.Items {
		sel, err := metav1.LabelSelectorAsSelector(jobs.Items[i].Spec.Selector)
		if err == nil && !sel.Empty() && sel.Matches(labels.Set(o.GetLabels())) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&jobs.Items[i])})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	job := &batchv1.Job{}
	if err := c.Client.Get(ctx, req.NamespacedName, job); err != nil {
		c.forget(req.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !ours(job) {
		return reconcile.Result{}, nil
	}
	if finished(job) {
		c.forget(req.NamespacedName)
		return reconcile.Result{}, nil
	}
	pods, settled, err := c.observe(ctx, job)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !settled {
		return reconcile.Result{RequeueAfter: recheck}, nil
	}
	p := decide(view{
		job: job, pods: pods, backoff: c.backoffs.get(job, pods), now: c.Clock.Now(),
		base: orElse(c.Backoff, defaultBackoff), most: orElse(c.MaxBackoff, defaultMaxBackoff),
	})
	err = c.act(ctx, job, p)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: retry}, nil // somebody else wrote meanwhile
	}
	return reconcile.Result{RequeueAfter: p.wakeAfter}, err
}

// ours tells that no other controller manages the job.
func ours(job *batchv1.Job) bool {
	return job.Spec.ManagedBy == nil || *job.Spec.ManagedBy == batchv1.JobControllerName
}

func (c *Controller) forget(key types.NamespacedName) {
	c.pending.forget(key)
	c.backoffs.forget(key)
}

func (c *Controller) live() client.Reader { return cmp.Or[client.Reader](c.Live, c.Client) }

func orElse(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}

// backoffs are the records of the jobs that run.
type backoffs struct {
	mu   sync.Mutex
	jobs map[types.NamespacedName]ofJob
}

type ofJob struct {
	uid types.UID
	backoff
}

// get returns the record of a job; that of a job which this process has not met is made of the pods that
// were counted before.
func (b *backoffs) get(job *batchv1.Job, pods []*corev1.Pod) backoff {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r, ok := b.jobs[client.ObjectKeyFromObject(job)]; ok && r.uid == job.UID {
		return r.backoff
	}
	var succeeded, failed []*corev1.Pod
	for _, pod := range pods {
		switch {
		case tracked(pod):
		case pod.Status.Phase == corev1.PodSucceeded:
			succeeded = append(succeeded, pod)
		case pod.Status.Phase == corev1.PodFailed:
			failed = append(failed, pod)
		}
	}
	return backoff{}.with(succeeded, failed)
}

func (b *backoffs) set(job *batchv1.Job, record backoff) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.jobs == nil {
		b.jobs = map[types.NamespacedName]ofJob{}
	}
	b.jobs[client.ObjectKeyFromObject(job)] = ofJob{job.UID, record}
}

func (b *backoffs) forget(key types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.jobs, key)
}
