// Package endpointslices writes the EndpointSlices of the controllers that make them.
package endpointslices

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Changes are to be made to the slices of a Service.
type Changes struct{ Create, Update, Remove []*discoveryv1.EndpointSlice }

// Writer writes the slices that one controller manages.
type Writer struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
	// Ours tells the slices that are managed. Others are not touched.
	Ours func(*discoveryv1.EndpointSlice) bool
}

// Settle makes the changes that decide finds necessary to the slices of a Service, which index finds. Before one is created, the
// slices are read past the cache and decide is asked again, so that a cache that lags doubles none. That one cannot be created is told in
// an event about of, which kind and the Service's name describe. In a namespace that is being deleted nothing is created, which is no error.
func (w *Writer) Settle(ctx context.Context, service types.NamespacedName, index client.MatchingFields, of client.Object, kind string, decide func([]*discoveryv1.EndpointSlice) Changes) error {
	have, err := w.list(ctx, w.Client, service, index)
	if err != nil {
		return err
	}
	changes := decide(have)
	if len(changes.Create) > 0 && w.Live != nil {
		if have, err = w.list(ctx, w.Live, service, client.MatchingLabels{discoveryv1.LabelServiceName: service.Name}); err != nil {
			return err
		}
		changes = decide(have)
	}
	for _, s := range changes.Create {
		if err := w.Client.Create(ctx, s); err != nil {
			if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
				return nil
			}
			w.Recorder.Eventf(of, corev1.EventTypeWarning, "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices for %s %s: %v", kind, service, err)
			return fmt.Errorf("create endpoint slice of %s: %w", service, err)
		}
	}
	for _, s := range changes.Update {
		if err := w.Client.Update(ctx, s); err != nil {
			return fmt.Errorf("update endpoint slice %s: %w", s.Name, err)
		}
	}
	for _, s := range changes.Remove {
		if err := w.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete endpoint slice %s: %w", s.Name, err)
		}
	}
	return nil
}

// list returns the slices that are managed and stay.
func (w *Writer) list(ctx context.Context, from client.Reader, service types.NamespacedName, which client.ListOption) ([]*discoveryv1.EndpointSlice, error) {
	var list discoveryv1.EndpointSliceList
	if err := from.List(ctx, &list, which, client.InNamespace(service.Namespace)); err != nil {
		return nil, fmt.Errorf("list endpoint slices of %s: %w", service, err)
	}
	var out []*discoveryv1.EndpointSlice
	for i := range list.Items {
		if s := &list.Items[i]; w.Ours(s) && s.DeletionTimestamp == nil {
			out = append(out, s)
		}
	}
	return out, nil
}
