package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/store"
	"github.com/gantryio/gantry/core/turns"
)

// Delete removes an object or marks it as being deleted; the second result tells that it is gone, and the
// entry is then its last version. opts may be nil.
func (s *Server) Delete(ctx context.Context, q *api.Request, opts *metav1.DeleteOptions) (*cache.Entry, bool, error) {
	if opts == nil {
		opts = &metav1.DeleteOptions{}
	}
	if text := q.Resource.OrphanWarning; text != "" && q.Warn != nil && opts.OrphanDependents == nil && opts.PropagationPolicy == nil {
		q.Warn(text)
	}
	for {
		entry, err := s.current(ctx, q)
		if err != nil {
			return nil, false, err
		}
		if entry == nil {
			return nil, false, apierrors.NewNotFound(q.Spoken().GroupResource(), q.Name)
		}
		if err := checkPreconditions(q, entry.Object, opts.Preconditions); err != nil {
			return nil, false, err
		}
		attrs := &admission.Attributes{Request: q, Operation: admission.Delete, Old: entry.Object, Options: opts}
		if err := s.admitDeletion(ctx, attrs); err != nil {
			return nil, false, err
		}
		out, gone, err := s.deleteOnce(ctx, q, entry, opts)
		if !apierrors.IsConflict(err) || ctx.Err() != nil {
			return out, gone, err
		}
	}
}

func (s *Server) deleteOnce(ctx context.Context, q *api.Request, entry *cache.Entry, opts *metav1.DeleteOptions) (*cache.Entry, bool, error) {
	marked := entry.Object.DeepCopyObject().(api.Object)
	changed := mark(q.Resource, marked, opts)
	if finished(q.Resource, marked) {
		out, err := s.remove(ctx, q, marked, entry.Revision)
		return out, true, err
	}
	if !changed {
		return entry, false, nil
	}
	s.Cache.Of(q.Resource).Share(marked, entry.Object)
	out, err := s.write(ctx, q, marked, entry.Revision)
	return out, false, err
}

// mark puts the deletion into obj and tells whether that changed anything. A grace period can be
// shortened afterwards but not extended.
func mark(r *api.Resource, obj api.Object, opts *metav1.DeleteOptions) bool {
	changed := setPropagation(r, obj, opts)
	grace := int64(0)
	if r.Grace != nil {
		grace = r.Grace(obj, opts.GracePeriodSeconds)
	}
	if had := obj.GetDeletionGracePeriodSeconds(); obj.GetDeletionTimestamp() != nil && had != nil && *had <= grace {
		return changed
	}
	start := time.Now()
	if at := obj.GetDeletionTimestamp(); at != nil && obj.GetDeletionGracePeriodSeconds() != nil {
		// The period counts from the first request.
		start = at.Add(-time.Duration(*obj.GetDeletionGracePeriodSeconds()) * time.Second)
	}
	at := metav1.NewTime(start.Add(time.Duration(grace) * time.Second).Truncate(time.Second))
	obj.SetDeletionTimestamp(&at)
	obj.SetDeletionGracePeriodSeconds(&grace)
	if r.Generation && obj.GetGeneration() > 0 {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
	if r.MarkDeleted != nil {
		r.MarkDeleted(obj)
	}
	return true
}

// setPropagation writes the policy as the finalizers that the garbage collector acts on.
func setPropagation(r *api.Resource, obj api.Object, opts *metav1.DeleteOptions) bool {
	policy := metav1.DeletePropagationBackground
	switch {
	case opts.PropagationPolicy != nil:
		policy = *opts.PropagationPolicy
	case opts.OrphanDependents != nil && *opts.OrphanDependents:
		policy = metav1.DeletePropagationOrphan
	case opts.OrphanDependents == nil && (!r.OrphanDependents || slices.ContainsFunc(obj.GetFinalizers(), propagates)):
		return false // what the finalizers say already stays
	case opts.OrphanDependents == nil:
		policy = metav1.DeletePropagationOrphan
	}
	old := obj.GetFinalizers()
	now := slices.DeleteFunc(slices.Clone(old), propagates)
	switch policy {
	case metav1.DeletePropagationOrphan:
		now = append(now, metav1.FinalizerOrphanDependents)
	case metav1.DeletePropagationForeground:
		now = append(now, metav1.FinalizerDeleteDependents)
	}
	if slices.Equal(old, now) {
		return false
	}
	obj.SetFinalizers(now)
	return true
}

// propagates tells that a finalizer stands for a propagation policy.
func propagates(finalizer string) bool {
	return finalizer == metav1.FinalizerOrphanDependents || finalizer == metav1.FinalizerDeleteDependents
}

// finished tells that nothing keeps a deleted object any longer.
func finished(r *api.Resource, obj api.Object) bool {
	if obj.GetDeletionTimestamp() == nil || len(obj.GetFinalizers()) > 0 {
		return false
	}
	if grace := obj.GetDeletionGracePeriodSeconds(); grace != nil && *grace > 0 {
		return false
	}
	return r.Held == nil || !r.Held(obj)
}

// remove deletes the stored object at revision and returns obj as its last version.
func (s *Server) remove(ctx context.Context, q *api.Request, obj api.Object, revision int64) (*cache.Entry, error) {
	last := &cache.Entry{Key: q.Key(), Revision: revision, Object: obj}
	if q.DryRun {
		return last, nil
	}
	with, err := s.companions(nil, obj)
	if err != nil {
		return nil, err
	}
	turns.Yield(ctx)
	var deleted int64
	begun := time.Now()
	if len(with) > 0 {
		deleted, err = s.commit(ctx, store.Change{Key: q.Key(), Revision: revision}, with)
	} else {
		deleted, err = s.Store.Delete(ctx, q.Key(), revision)
	}
	s.figures.stored("delete", q.Resource.Group, q.Resource.Plural, begun, err)
	if err != nil {
		return nil, storeError(q, err)
	}
	if err := s.Cache.WaitFor(ctx, deleted); err != nil {
		return nil, apierrors.NewTimeoutError("the deletion was stored but not seen in time", 1)
	}
	obj.SetResourceVersion(fmt.Sprint(deleted))
	s.released(q, obj)
	return last, nil
}

func checkPreconditions(q *api.Request, obj api.Object, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	gr := q.Spoken().GroupResource()
	if p.UID != nil && *p.UID != obj.GetUID() {
		return apierrors.NewConflict(gr, q.Name, fmt.Errorf(
			"the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, obj.GetUID()))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != obj.GetResourceVersion() {
		return apierrors.NewConflict(gr, q.Name, fmt.Errorf(
			"the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, obj.GetResourceVersion()))
	}
	return nil
}

// DeleteCollection deletes what the options select and returns it. What is gone already is no error.
func (s *Server) DeleteCollection(ctx context.Context, q *api.Request, list *ListOptions, opts *metav1.DeleteOptions) ([]*cache.Entry, error) {
	page, err := s.List(ctx, q, list)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, e := range page.Items {
		one := *q
		one.Name, one.Namespace = e.Object.GetName(), e.Object.GetNamespace()
		if _, _, err := s.Delete(ctx, &one, opts); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	if len(errs) == 1 {
		return page.Items, errs[0]
	}
	return page.Items, errors.Join(errs...)
}
