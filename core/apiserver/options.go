package apiserver

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// ListOptions select what a list or watch returns; the zero value is everything as of now. Their
// meaning is that of metav1.ListOptions.
type ListOptions struct {
	Labels          labels.Selector
	Fields          fields.Selector
	ResourceVersion string
	Match           metav1.ResourceVersionMatch
	Limit           int64
	Continue        string

	// Timeout ends a watch; 0 leaves that to the context.
	Timeout       time.Duration
	Bookmarks     bool
	InitialEvents *bool
}

// parseListOptions reads the query of a list, watch or deletecollection.
func parseListOptions(q url.Values) (*ListOptions, error) {
	o := &ListOptions{
		ResourceVersion: q.Get("resourceVersion"),
		Match:           metav1.ResourceVersionMatch(q.Get("resourceVersionMatch")),
		Continue:        q.Get("continue"),
	}
	var err error
	if text := q.Get("labelSelector"); text != "" {
		if o.Labels, err = labels.Parse(text); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	if text := q.Get("fieldSelector"); text != "" {
		if o.Fields, err = fields.ParseSelector(text); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	if text := q.Get("limit"); text != "" {
		if o.Limit, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid limit %q", text))
		}
	}
	if text := q.Get("timeoutSeconds"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid timeoutSeconds %q", text))
		}
		o.Timeout = time.Duration(seconds) * time.Second
	}
	o.Bookmarks = queryBool(q, "allowWatchBookmarks")
	if q.Has("sendInitialEvents") {
		send := queryBool(q, "sendInitialEvents")
		o.InitialEvents = &send
	}
	return o, nil
}

// check refuses options that contradict each other.
func (o *ListOptions) check(watch bool) error {
	errs := validation.ValidateListOptions(&internalversion.ListOptions{
		Watch: watch, ResourceVersion: o.ResourceVersion, ResourceVersionMatch: o.Match,
		Continue: o.Continue, SendInitialEvents: o.InitialEvents,
	}, true)
	if len(errs) > 0 {
		return apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind("ListOptions").GroupKind(), "", errs)
	}
	return nil
}

// queryBool reads a flag as Kubernetes does: present without a value means true.
func queryBool(q url.Values, name string) bool {
	if !q.Has(name) {
		return false
	}
	switch q.Get(name) {
	case "false", "0":
		return false
	}
	return true
}

// parseRevision reads a resourceVersion of a list or watch; "" and "0" give 0.
func parseRevision(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil || revision < 0 {
		return 0, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version: resourceVersion: Invalid value: %q: not a revision", text))
	}
	return revision, nil
}

func selectorText(s labels.Selector) string {
	if s == nil {
		return ""
	}
	return s.String()
}
