package apiserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/store"
	"github.com/gantryio/gantry/core/turns"
)

const (
	nameSuffix   = 5
	nameMax      = 63
	nameAttempts = 8
)

// Create stores obj, which it takes over, and returns what was stored. q.Name is filled from the object
// or generated. Errors are API statuses.
func (s *Server) Create(ctx context.Context, q *api.Request, obj api.Object) (*cache.Entry, error) {
	if err := checkTarget(q, obj); err != nil {
		return nil, err
	}
	if q.Resource.Terminating {
		err := apierrors.NewMethodNotSupported(q.Spoken().GroupResource(), "create")
		err.ErrStatus.Message = "create not allowed while custom resource definition is terminating"
		return nil, err
	}
	if q.Resource.Question {
		return s.ask(ctx, q, obj)
	}
	prefix := obj.GetGenerateName()
	generated := obj.GetName() == "" && prefix != ""
	for attempt := 1; ; attempt++ {
		try := obj
		if generated {
			try = obj.DeepCopyObject().(api.Object)
			try.SetName(prefix[:min(len(prefix), nameMax-nameSuffix)] + utilrand.String(nameSuffix))
		}
		q.Name, q.Generated = try.GetName(), generated
		entry, err := s.createNamed(ctx, q, try)
		if generated && apierrors.IsAlreadyExists(err) && attempt < nameAttempts {
			continue
		}
		return entry, err
	}
}

func (s *Server) createNamed(ctx context.Context, q *api.Request, obj api.Object) (*cache.Entry, error) {
	r := q.Resource
	if obj.GetResourceVersion() != "" {
		return nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	stampNew(r, obj)
	if r.Default != nil {
		r.Default(obj)
	}
	if err := s.track(q, obj, nil); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	attrs := &admission.Attributes{Request: q, Operation: admission.Create, Object: obj}
	if err := s.admit(ctx, attrs); err != nil {
		return nil, err
	}
	if r.HasStatus && !r.StatusOnCreate {
		r.CopyStatus(obj, nil)
	}
	if r.Prepare != nil {
		r.Prepare(obj, nil)
	}
	chosen := chosenAddress(obj)
	for {
		release, err := s.allocate(ctx, q, obj, nil)
		if err != nil {
			return nil, err
		}
		entry, err := s.validateAndCreate(ctx, q, attrs, obj)
		release(err == nil && !q.DryRun)
		if again, err := retakes(q, obj, chosen, err); !again {
			return entry, err
		}
	}
}

func (s *Server) validateAndCreate(ctx context.Context, q *api.Request, attrs *admission.Attributes, obj api.Object) (*cache.Entry, error) {
	r := q.Resource
	errs := r.ValidateMetadata(obj)
	if r.Validate != nil {
		errs = append(errs, r.Validate(obj, nil)...)
	}
	if q.Version != nil && q.Version.ValidateStored != nil {
		errs = append(errs, q.Version.ValidateStored(obj, nil)...)
	}
	if len(errs) > 0 {
		return nil, apierrors.NewInvalid(r.GroupVersionKind().GroupKind(), obj.GetName(), errs)
	}
	if err := s.chainFor(q).Validate(ctx, attrs); err != nil {
		return nil, err
	}
	warn(q, obj, nil)
	s.Cache.Of(r).Share(obj, nil)
	entry, err := s.write(ctx, q, obj, 0)
	s.chainFor(q).Finish(ctx, attrs, err)
	return entry, err
}

// stampNew sets what only the server may set.
func stampNew(r *api.Resource, obj api.Object) {
	obj.SetUID(uuid.NewUUID())
	obj.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetSelfLink("")
	obj.SetGeneration(0)
	if r.Generation {
		obj.SetGeneration(1)
	}
	r.SetType(obj)
}

// checkTarget makes the object's namespace that of the request and refuses another one.
func checkTarget(q *api.Request, obj api.Object) error {
	if !q.Resource.Namespaced {
		if obj.GetNamespace() != "" {
			return apierrors.NewBadRequest("namespace may not be set on a cluster-scoped object")
		}
	} else if obj.GetNamespace() == "" {
		obj.SetNamespace(q.Namespace)
	} else if obj.GetNamespace() != q.Namespace {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if q.Name != "" && obj.GetName() != q.Name {
		return apierrors.NewBadRequest(fmt.Sprintf(
			"the name of the object (%s) does not match the name on the URL (%s)", obj.GetName(), q.Name))
	}
	return nil
}

func warn(q *api.Request, obj, old api.Object) {
	if q.Warn == nil || q.Resource.Warn == nil {
		return
	}
	for _, text := range q.Resource.Warn(obj, old) {
		q.Warn(text)
	}
}

// write stores obj over revision (0: a new key) and returns the cache's entry of it. Reads that begin
// after it returns see the write.
func (s *Server) write(ctx context.Context, q *api.Request, obj api.Object, revision int64) (*cache.Entry, error) {
	r, key := q.Resource, q.Key()
	value, err := r.EncodeStored(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if q.DryRun {
		return &cache.Entry{Key: key, Revision: revision, Object: obj}, nil
	}
	with, err := s.companions(obj, s.storedService(q, revision))
	if err != nil {
		return nil, err
	}
	expected := s.Cache.Expect(key, value, obj)
	defer expected.Drop()
	turns.Yield(ctx)
	begun, operation := time.Now(), "update"
	if revision == 0 {
		operation = "create"
	}
	if len(with) > 0 {
		defer s.expect(with)()
		_, err = s.commit(ctx, store.Change{Key: key, Value: value, Revision: revision}, with)
		if revision == 0 && errors.Is(err, store.ErrConflict) {
			err = store.ErrExists
		}
	} else if revision == 0 {
		_, err = s.Store.Create(ctx, key, value, r.TTLSeconds)
	} else {
		_, err = s.Store.Update(ctx, key, value, revision, r.TTLSeconds)
	}
	s.figures.stored(operation, r.Group, r.Plural, begun, err)
	if err != nil {
		return nil, storeError(q, err)
	}
	select {
	case entry := <-expected.Done():
		return entry, nil
	default: // only who waits asks for the end of ctx, which costs something then
	}
	select {
	case entry := <-expected.Done():
		return entry, nil
	case <-ctx.Done():
		return nil, apierrors.NewTimeoutError("the write was stored but not seen in time", 1)
	}
}

// storeError turns an error of the store into a status.
func storeError(q *api.Request, err error) error {
	gr := q.Spoken().GroupResource()
	var taken addressTaken
	switch {
	case errors.As(err, &taken):
		return taken
	case errors.Is(err, store.ErrExists):
		return apierrors.NewAlreadyExists(gr, q.Name)
	case errors.Is(err, store.ErrConflict):
		return errChanged(q)
	case errors.Is(err, store.ErrTooLarge):
		return apierrors.NewRequestEntityTooLargeError(err.Error())
	case errors.Is(err, store.ErrNoSpace):
		status := apierrors.NewInternalError(fmt.Errorf("etcdserver: mvcc: database space exceeded: %w", err))
		return status
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return apierrors.NewTimeoutError("the store did not answer in time", 1)
	}
	return apierrors.NewInternalError(err)
}

func errChanged(q *api.Request) error {
	return apierrors.NewConflict(q.Spoken().GroupResource(), q.Name,
		errors.New("the object has been modified; please apply your changes to the latest version and try again"))
}
