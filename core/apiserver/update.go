package apiserver

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// change makes the new object from the current one, which is shared and must not be changed. It may be
// called again when somebody else wrote meanwhile.
type change func(ctx context.Context, current api.Object) (api.Object, error)

// Update replaces an object by obj, which it takes over; with a resourceVersion only that version.
// Subresource "status" replaces the status alone. The second result tells that the object was created,
// which kinds with CreateOnUpdate allow.
func (s *Server) Update(ctx context.Context, q *api.Request, obj api.Object) (*cache.Entry, bool, error) {
	if err := checkTarget(q, obj); err != nil {
		return nil, false, err
	}
	r := q.Resource
	if r.CreateOnUpdate && q.Subresource == "" {
		if current, err := s.current(ctx, q); err == nil && current == nil {
			obj.SetResourceVersion("")
			entry, err := s.Create(ctx, q, obj)
			return entry, true, err
		}
	}
	entry, err := s.modify(ctx, q, func(context.Context, api.Object) (api.Object, error) {
		if r.UnconditionalUpdateForbidden && obj.GetResourceVersion() == "" {
			return nil, apierrors.NewInvalid(r.GroupVersionKind().GroupKind(), q.Name, field.ErrorList{
				field.Invalid(field.NewPath("metadata", "resourceVersion"), "", "must be specified for an update"),
			})
		}
		if conditional(obj) {
			return obj, nil // it is not tried again
		}
		return obj.DeepCopyObject().(api.Object), nil
	})
	return entry, false, err
}

// current returns the object as of now, nil when there is none.
func (s *Server) current(ctx context.Context, q *api.Request) (*cache.Entry, error) {
	if err := s.Cache.LatestOf(ctx, q.Resource); err != nil {
		return nil, apierrors.NewTimeoutError(err.Error(), 1)
	}
	return s.Cache.Of(q.Resource).Get(q.Key()), nil
}

// modify reads, changes and writes until nobody comes between, unless the change carries a
// resourceVersion of its own. A change to nothing new is not written.
func (s *Server) modify(ctx context.Context, q *api.Request, make change) (*cache.Entry, error) {
	for {
		entry, err := s.current(ctx, q)
		if err != nil {
			return nil, err
		}
		if entry == nil {
			return nil, apierrors.NewNotFound(q.Spoken().GroupResource(), q.Name)
		}
		if entry, err = inStored(ctx, q.Resource, entry); err != nil {
			return nil, err
		}
		obj, err := make(ctx, entry.Object)
		if err != nil {
			return nil, err
		}
		once := conditional(obj)
		if once && obj.GetResourceVersion() != entry.Object.GetResourceVersion() {
			return nil, errChanged(q)
		}
		if uid := obj.GetUID(); uid != "" && uid != entry.Object.GetUID() {
			return nil, apierrors.NewConflict(q.Spoken().GroupResource(), q.Name, fmt.Errorf(
				"Precondition failed: UID in precondition: %s, UID in object meta: %s", uid, entry.Object.GetUID()))
		}
		out, err := s.replace(ctx, q, obj, entry)
		if !apierrors.IsConflict(err) || once || ctx.Err() != nil {
			return out, err
		}
	}
}

// conditional tells that an object is to replace one version alone.
func conditional(obj api.Object) bool {
	return obj.GetResourceVersion() != "" && obj.GetResourceVersion() != "0"
}

// replace runs one attempt: it prepares and validates obj against the entry and writes it over it.
func (s *Server) replace(ctx context.Context, q *api.Request, obj api.Object, entry *cache.Entry) (*cache.Entry, error) {
	r, old := q.Resource, entry.Object
	chosen := chosenAddress(obj)
	if r.Default != nil && !q.SharesBody {
		r.Default(obj)
	}
	keepServerFields(r, obj, old)
	if err := s.track(q, obj, old); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	attrs := &admission.Attributes{Request: q, Operation: admission.Update, Object: obj, Old: old}
	if err := s.admit(ctx, attrs); err != nil {
		return nil, err
	}
	s.separate(q, obj, old)
	release, err := s.allocate(ctx, q, obj, old)
	if err != nil {
		return nil, err
	}
	out, err := s.validateAndReplace(ctx, q, attrs, entry)
	release(err == nil && !q.DryRun)
	var taken addressTaken
	if errors.As(err, &taken) {
		err = taken.status(q)
		if !chosen {
			err = errChanged(q) // it is tried again, with another address
		}
	}
	return out, err
}

func (s *Server) validateAndReplace(ctx context.Context, q *api.Request, attrs *admission.Attributes, entry *cache.Entry) (*cache.Entry, error) {
	obj, old := attrs.Object, attrs.Old
	// Nothing is set any more below the first level. What both have in common needs to be looked at by nobody then.
	s.Cache.Of(q.Resource).Share(obj, old)
	countGeneration(q, obj, old)
	if errs := validateUpdate(q, obj, old); len(errs) > 0 {
		return nil, apierrors.NewInvalid(q.Resource.GroupVersionKind().GroupKind(), q.Name, errs)
	}
	if err := s.chainFor(q).Validate(ctx, attrs); err != nil {
		return nil, err
	}
	warn(q, obj, old)
	out, err := s.store(ctx, q, obj, entry)
	s.chainFor(q).Finish(ctx, attrs, err)
	return out, err
}

// store writes what has been let through over the entry.
func (s *Server) store(ctx context.Context, q *api.Request, obj api.Object, entry *cache.Entry) (*cache.Entry, error) {
	if finished(q.Resource, obj) {
		return s.remove(ctx, q, obj, entry.Revision)
	}
	if !entry.Former && api.EqualInStore(obj, entry.Object) {
		return entry, nil
	}
	return s.write(ctx, q, obj, entry.Revision)
}

// keepServerFields makes obj's immutable metadata that of old.
func keepServerFields(r *api.Resource, obj, old api.Object) {
	r.SetType(obj)
	obj.SetUID(old.GetUID())
	obj.SetResourceVersion(old.GetResourceVersion())
	obj.SetCreationTimestamp(old.GetCreationTimestamp())
	obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
	obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	obj.SetGenerateName(old.GetGenerateName())
	obj.SetSelfLink("")
	obj.SetGeneration(old.GetGeneration())
}

// separate keeps a write of the object from its status and a write of the status, or of another part, from the rest.
func (s *Server) separate(q *api.Request, obj, old api.Object) {
	r := q.Resource
	part, named := r.Parts[q.Subresource]
	if r.HasPart(q.Subresource) {
		if part.Body {
			r.CopyStatus(obj, old)
		} else {
			r.CopyBody(obj, old)
		}
		obj.SetOwnerReferences(old.GetOwnerReferences())
		obj.SetFinalizers(old.GetFinalizers())
		if part.Body || !r.StatusMetadata {
			obj.SetLabels(old.GetLabels())
			obj.SetAnnotations(old.GetAnnotations())
		}
		if named {
			part.Prepare(obj, old)
		}
	} else if r.HasStatus && !setsStatus(q) {
		r.CopyStatus(obj, old)
	}
	if r.Prepare != nil && !setsStatus(q) && q.Subresource != "finalize" {
		r.Prepare(obj, old)
	}
}

// countGeneration counts the changes of what is not status.
func countGeneration(q *api.Request, obj, old api.Object) {
	r := q.Resource
	if r.Generation && (r.Parts[q.Subresource].Body || !r.HasPart(q.Subresource)) && !setsStatus(q) && !r.SameBody(obj, old) {
		obj.SetGeneration(old.GetGeneration() + 1)
	}
}

// setsStatus tells the subresources with which the server itself writes spec and status at once.
func setsStatus(q *api.Request) bool {
	return q.Subresource == "binding" || q.Subresource == "eviction"
}

func validateUpdate(q *api.Request, obj, old api.Object) field.ErrorList {
	r := q.Resource
	errs := api.ValidateMetadataUpdate(obj, old)
	if q.Subresource == "status" {
		if r.ValidateStatus != nil {
			errs = append(errs, r.ValidateStatus(obj, old)...)
		}
		return errs
	}
	if part, ok := r.Parts[q.Subresource]; ok {
		return append(errs, part.Validate(obj, old)...)
	}
	if r.Validate != nil && !setsStatus(q) {
		errs = append(errs, r.Validate(obj, old)...)
	}
	if q.Version != nil && q.Version.ValidateStored != nil && q.Subresource == "" {
		errs = append(errs, q.Version.ValidateStored(obj, old)...)
	}
	return errs
}
