package apiserver

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

const (
	// revisionWait is how long a read waits for a revision that the cache has not reached.
	revisionWait = 3 * time.Second
	// pageWait is how long the next page of a list may be asked for: about as long as Kubernetes, which compacts its
	// history every five minutes. Clients know how to go on after it.
	pageWait = 5 * time.Minute
	// shownAtOnce bounds how many objects are converted in one call to find those that a selector lets through.
	shownAtOnce = 500
)

// Page is one answer of a list. Its entries are shared.
type Page struct {
	Items []*cache.Entry
	// Revision is 0 where there is none: what is computed has no history.
	Revision int64
	// Continue is empty on the last page.
	Continue string
	// Remaining counts what is left, when that is known.
	Remaining *int64
}

// Get returns the object named by q; resourceVersion "" reads what is latest, "0" what is at hand, and
// another one something at least as new.
func (s *Server) Get(ctx context.Context, q *api.Request, resourceVersion string) (*cache.Entry, error) {
	if q.Resource.Computed {
		return s.computeOne(ctx, q)
	}
	if err := s.waitFor(ctx, resourceVersion); err != nil {
		return nil, err
	}
	entry := s.Cache.Of(q.Resource).Get(q.Key())
	if entry == nil {
		return nil, apierrors.NewNotFound(q.Spoken().GroupResource(), q.Name)
	}
	return entry, nil
}

func (s *Server) waitFor(ctx context.Context, resourceVersion string) error {
	if resourceVersion == "" && s.Cache.IsLatest() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, revisionWait)
	defer cancel()
	if resourceVersion == "" {
		if err := s.Cache.Latest(ctx); err != nil {
			return apierrors.NewTimeoutError(err.Error(), 1)
		}
		return nil
	}
	revision, err := parseRevision(resourceVersion)
	if err != nil || revision == 0 {
		return err
	}
	if s.Cache.WaitFor(ctx, revision) != nil {
		return errFuture(revision, s.Cache.Revision())
	}
	return nil
}

func errFuture(want, have int64) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", want, have), 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version",
	}}
	return err
}

// List returns what o selects in q's namespace, or in all when that is empty.
func (s *Server) List(ctx context.Context, q *api.Request, o *ListOptions) (*Page, error) {
	if err := o.check(false); err != nil {
		return nil, err
	}
	f, err := newSelection(q, o)
	if err != nil {
		return nil, err
	}
	if q.Resource.Computed {
		items, err := s.compute(ctx, q, &f.Selector)
		return &Page{Items: items}, err
	}
	snap, after, err := s.snapshot(ctx, q, o)
	if err != nil {
		return nil, err
	}
	page, err := f.collect(ctx, snap, after, o.Limit)
	if err != nil {
		return nil, err
	}
	if page.Continue != "" {
		s.Cache.Of(q.Resource).Keep(snap)
		page.Continue = encodeContinue(snap.Revision, page.Continue, time.Now().Add(pageWait), q.Resource)
		if f.Empty() {
			page.Remaining = remaining(snap, q.Namespace, page.Items)
		}
	}
	return page, nil
}

// snapshot finds the state that the options ask for and the key to go on after.
func (s *Server) snapshot(ctx context.Context, q *api.Request, o *ListOptions) (*cache.Snapshot, string, error) {
	col := s.Cache.Of(q.Resource)
	if o.Continue != "" {
		if o.ResourceVersion != "" && o.ResourceVersion != "0" {
			return nil, "", apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
		}
		revision, after, until, err := decodeContinue(o.Continue, q.Resource)
		if err != nil {
			return nil, "", apierrors.NewBadRequest(fmt.Sprintf("invalid continue token: %v", err))
		}
		if revision < 0 {
			return col.Snapshot(), after, nil
		}
		snap, err := col.At(revision)
		if err != nil || time.Now().After(until) {
			return nil, "", errContinueExpired(after, q.Resource)
		}
		return snap, after, nil
	}
	if err := s.waitFor(ctx, o.ResourceVersion); err != nil {
		return nil, "", err
	}
	revision, err := parseRevision(o.ResourceVersion)
	if err != nil {
		return nil, "", err
	}
	// A limit and a revision without a match mean exactly that revision, for old clients.
	exact := o.Match == metav1.ResourceVersionMatchExact || o.Match == "" && o.Limit > 0 && revision > 0
	if !exact {
		return col.Snapshot(), "", nil
	}
	snap, err := col.At(revision)
	if err != nil {
		return nil, "", apierrors.NewResourceExpired("The resourceVersion for the provided list is too old.")
	}
	return snap, "", nil
}

func remaining(snap *cache.Snapshot, namespace string, items []*cache.Entry) *int64 {
	n := int64(0)
	for range snap.From(namespace, items[len(items)-1].Key) {
		n++
	}
	return &n
}

// continueToken is opaque to clients; revision -1 goes on with whatever is there now.
type continueToken struct {
	Version  string `json:"v"`
	Revision int64  `json:"rv"`
	After    string `json:"start"`
	// Until is when the token expires, in seconds of Unix time.
	Until int64 `json:"until,omitempty"`
}

func encodeContinue(revision int64, after string, until time.Time, r *api.Resource) string {
	data, err := json.Marshal(continueToken{"meta.k8s.io/v1", revision, strings.TrimPrefix(after, r.Prefix()), until.Unix()})
	if err != nil {
		panic(fmt.Sprintf("marshal a continue token: %v", err)) // two strings and two numbers
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func decodeContinue(text string, r *api.Resource) (revision int64, after string, until time.Time, err error) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return 0, "", until, err
	}
	var t continueToken
	if err := json.Unmarshal(data, &t); err != nil {
		return 0, "", until, err
	}
	if t.Version != "meta.k8s.io/v1" || t.Revision == 0 || t.After == "" {
		return 0, "", until, fmt.Errorf("incorrect encoded token")
	}
	return t.Revision, r.Prefix() + t.After, time.Unix(t.Until, 0), nil
}

// errContinueExpired carries a token with which the client may go on inconsistently, as upstream's does.
func errContinueExpired(after string, r *api.Resource) error {
	err := apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list result. " +
		"You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. " +
		"Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.")
	err.ErrStatus.ListMeta.Continue = encodeContinue(-1, after, time.Unix(0, 0), r)
	return err
}
