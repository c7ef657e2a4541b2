package job

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/owner"
)

// strays frees pods whose finalizer nobody else will take away: those whose job is gone or finished.
type strays struct{ *Controller }

var _ reconcile.Reconciler = (*strays)(nil)

// candidate spares the queue the pods that are no strays.
func (s *strays) candidate(ctx context.Context, o client.Object) []reconcile.Request {
	pod, ok := o.(*corev1.Pod)
	if !ok || !tracked(pod) {
		return nil
	}
	if stray, err := s.isStray(ctx, s.Client, pod); err == nil && !stray {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(pod)}}
}

// podsOf finds the pods of a job that has gone or finished; until then there is nothing to do for it.
func (s *strays) podsOf(ctx context.Context, o client.Object) []reconcile.Request {
	job, ok := o.(*batchv1.Job)
	if !ok {
		return nil
	}
	if !finished(job) {
		now := &batchv1.Job{}
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(job), now); err == nil && now.UID == job.UID {
			return nil
		}
	}
	pods, err := s.list(ctx, job.Namespace, client.MatchingFields{owner.ByController: string(job.UID)})
	if err != nil {
		return nil
	}
	var out []reconcile.Request
	for _, pod := range pods {
		if tracked(pod) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(pod)})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (s *strays) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	pod := &corev1.Pod{}
	if err := s.Client.Get(ctx, req.NamespacedName, pod); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !tracked(pod) {
		return reconcile.Result{}, nil
	}
	stray, err := s.isStray(ctx, s.live(), pod)
	if err != nil || !stray {
		return reconcile.Result{}, err
	}
	loose := pod.DeepCopy()
	loose.Finalizers = nil
	for _, f := range pod.Finalizers {
		if f != batchv1.JobTrackingFinalizer {
			loose.Finalizers = append(loose.Finalizers, f)
		}
	}
	if err := s.patch(ctx, loose, pod); err != nil {
		return reconcile.Result{}, fmt.Errorf("free stray pod %s: %w", req.NamespacedName, err)
	}
	return reconcile.Result{}, nil
}

// isStray tells that the pod has no job, or one that has ended. Pods of other controllers' jobs are theirs.
func (s *strays) isStray(ctx context.Context, from client.Reader, pod *corev1.Pod) (bool, error) {
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil {
		return true, nil
	}
	if !ownedByJob(ref) {
		return false, nil
	}
	job := &batchv1.Job{}
	err := from.Get(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: ref.Name}, job)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("look for job %s: %w", ref.Name, err)
	}
	if err != nil || job.UID != ref.UID {
		return true, nil
	}
	return ours(job) && finished(job), nil
}
