package client

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// eventTimeout bounds the write of one event: events must never hold up who reports them.
const eventTimeout = 10 * time.Second

// NewRecorder returns a recorder of events that writes through c until ctx ends. Equal events are counted
// together, as client-go does.
func NewRecorder(ctx context.Context, c client.Client, component, host string) record.EventRecorder {
	b := record.NewBroadcaster(record.WithContext(ctx))
	b.StartRecordingToSink(eventSink{ctx, c})
	return b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: component, Host: host})
}

// eventSink writes events with any client.
type eventSink struct {
	ctx context.Context
	api client.Client
}

var _ record.EventSink = eventSink{}

func (s eventSink) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, eventTimeout)
}

// Create implements record.EventSink.
func (s eventSink) Create(e *corev1.Event) (*corev1.Event, error) {
	ctx, cancel := s.bounded()
	defer cancel()
	return e, s.api.Create(ctx, e)
}

// Update implements record.EventSink.
func (s eventSink) Update(e *corev1.Event) (*corev1.Event, error) {
	ctx, cancel := s.bounded()
	defer cancel()
	return e, s.api.Update(ctx, e)
}

// Patch implements record.EventSink.
func (s eventSink) Patch(e *corev1.Event, data []byte) (*corev1.Event, error) {
	ctx, cancel := s.bounded()
	defer cancel()
	out := &corev1.Event{}
	out.Namespace, out.Name = e.Namespace, e.Name
	return out, s.api.Patch(ctx, out, client.RawPatch(types.StrategicMergePatchType, data))
}
