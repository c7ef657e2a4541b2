// Package cronjob starts jobs at the times of a schedule. It exists apart from job because a CronJob never
// looks at pods.
//
// A run's job is named after its minute: whatever crashes or lags, the same run is never started twice.
package cronjob

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/owner"
	"github.com/gantryio/gantry/core/client/workers"
)

var kind = batchv1.SchemeGroupVersion.WithKind("CronJob")

// Controller reconciles CronJobs.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
	Clock    clock.Clock
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	if err := owner.Index(context.Background(), mgr.GetFieldIndexer(), &batchv1.Job{}); err != nil {
		return err
	}
	return ctrl.ControllerManagedBy(mgr).Named("cronjob").
		Watches(&batchv1.CronJob{}, c.changes()).
		Watches(&batchv1.Job{}, handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &batchv1.CronJob{}, handler.OnlyControllerOwner())).
		WithOptions(workers.Options(8)).
		Complete(c)
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// changes wakes a CronJob at once, but for a new schedule: that counts from its next time on, not for
// times that it would have had before.
func (c *Controller) changes() handler.EventHandler {
	of := func(o client.Object) reconcile.Request {
		return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e crevent.CreateEvent, q queue) { q.Add(of(e.Object)) },
		DeleteFunc: func(_ context.Context, e crevent.DeleteEvent, q queue) { q.Add(of(e.Object)) },
		UpdateFunc: func(_ context.Context, e crevent.UpdateEvent, q queue) {
			was, old := e.ObjectOld.(*batchv1.CronJob)
			now, ok := e.ObjectNew.(*batchv1.CronJob)
			if old && ok && rescheduled(was, now) {
				if s, err := parse(now); err == nil {
					q.AddAfter(of(now), untilNext(now, s, c.Clock.Now()))
					return
				}
			}
			q.Add(of(e.ObjectNew))
		},
	}
}

func rescheduled(was, now *batchv1.CronJob) bool {
	zone := func(c *batchv1.CronJob) string {
		if c.Spec.TimeZone == nil {
			return ""
		}
		return *c.Spec.TimeZone
	}
	return was.Spec.Schedule != now.Spec.Schedule || zone(was) != zone(now)
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	cj := &batchv1.CronJob{}
	if err := c.live().Get(ctx, req.NamespacedName, cj); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	jobs, err := c.observe(ctx, cj)
	if err != nil {
		return reconcile.Result{}, err
	}
	p := decide(cj, jobs, c.Clock.Now())
	if p.create != nil && c.Live != nil {
		// A job that is not listed yet may be one that this one must not run beside.
		if jobs, err = c.jobs(ctx, c.Live, cj); err != nil {
			return reconcile.Result{}, err
		}
		p = decide(cj, jobs, c.Clock.Now())
	}
	if err := c.act(ctx, cj, p); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: p.wakeAfter}, nil
}

// observe returns the jobs that the CronJob controls. Where the list and the status disagree on what runs,
// the jobs are looked up.
func (c *Controller) observe(ctx context.Context, cj *batchv1.CronJob) ([]*batchv1.Job, error) {
	listed, err := c.jobs(ctx, c.Client, cj, client.MatchingFields{owner.ByController: string(cj.UID)})
	if err != nil {
		return nil, err
	}
	var out []*batchv1.Job
	doubtful := map[types.UID]string{}
	for _, ref := range cj.Status.Active {
		doubtful[ref.UID] = ref.Name
	}
	for _, j := range listed {
		_, active := doubtful[j.UID]
		if active || conditionOf(j) != nil {
			out = append(out, j)
			delete(doubtful, j.UID)
		} else {
			doubtful[j.UID] = j.Name
		}
	}
	for uid, name := range doubtful {
		j := &batchv1.Job{}
		err := c.live().Get(ctx, types.NamespacedName{Namespace: cj.Namespace, Name: name}, j)
		switch {
		case err == nil && j.UID == uid:
			out = append(out, j)
		case client.IgnoreNotFound(err) != nil:
			return nil, fmt.Errorf("look for job %s: %w", name, err)
		}
	}
	return out, nil
}

// jobs lists those that the CronJob controls.
func (c *Controller) jobs(ctx context.Context, from client.Reader, cj *batchv1.CronJob, opts ...client.ListOption) ([]*batchv1.Job, error) {
	var list batchv1.JobList
	if err := from.List(ctx, &list, append(opts, client.InNamespace(cj.Namespace))...); err != nil {
		return nil, fmt.Errorf("list jobs of cron job %s: %w", cj.Name, err)
	}
	var out []*batchv1.Job
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], cj) {
			out = append(out, &list.Items[i])
		}
	}
	return out, nil
}

// act carries the plan out. It may end anywhere: what was not done is planned again.
func (c *Controller) act(ctx context.Context, cj *batchv1.CronJob, p plan) error {
	for _, e := range p.events {
		c.Recorder.Event(cj, e.kind, e.reason, e.message)
	}
	if p.status != nil {
		return c.report(ctx, cj, *p.status)
	}
	var failed []error
	for _, j := range p.remove {
		failed = append(failed, c.remove(ctx, cj, refOf(j)))
	}
	for _, ref := range p.replace {
		if err := c.remove(ctx, cj, ref); err != nil {
			return errors.Join(append(failed, err)...)
		}
	}
	if p.create != nil {
		failed = append(failed, c.start(ctx, cj, p))
	}
	return errors.Join(failed...)
}

func (c *Controller) start(ctx context.Context, cj *batchv1.CronJob, p plan) error {
	j := p.create
	err := c.Client.Create(ctx, j)
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil // the CronJob goes too
	case apierrors.IsAlreadyExists(err):
		if err := c.live().Get(ctx, client.ObjectKeyFromObject(p.create), j); err != nil {
			return fmt.Errorf("look for job %s: %w", p.create.Name, err)
		}
		if !metav1.IsControlledBy(j, cj) {
			return nil // somebody else has taken the name
		}
	case err != nil:
		c.Recorder.Eventf(cj, corev1.EventTypeWarning, "FailedCreate", "Error creating job: %v", err)
		return fmt.Errorf("create job %s: %w", p.create.Name, err)
	default:
		c.Recorder.Eventf(cj, corev1.EventTypeNormal, "SuccessfulCreate", "Created job %v", j.Name)
	}
	return c.report(ctx, cj, started(cj, j, p.runAt, p.replace))
}

func (c *Controller) remove(ctx context.Context, cj *batchv1.CronJob, ref corev1.ObjectReference) error {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}
	err := c.Client.Delete(ctx, j, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &ref.UID})
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return nil // gone, and perhaps replaced by another of its name
	case err != nil:
		c.Recorder.Eventf(cj, corev1.EventTypeWarning, "FailedDelete", "Deleted job: %v", err)
		return fmt.Errorf("delete job %s: %w", ref.Name, err)
	}
	c.Recorder.Eventf(cj, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted job %v", ref.Name)
	return nil
}

func (c *Controller) report(ctx context.Context, cj *batchv1.CronJob, status batchv1.CronJobStatus) error {
	update := cj.DeepCopy()
	update.Status = status
	if err := client.IgnoreNotFound(c.Client.Status().Update(ctx, update)); err != nil {
		return fmt.Errorf("update status of cron job %s: %w", client.ObjectKeyFromObject(cj), err)
	}
	return nil
}

func (c *Controller) live() client.Reader { return cmp.Or[client.Reader](c.Live, c.Client) }
