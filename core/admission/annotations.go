package admission

import (
	"context"

	upstream "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/audit"
)

// Recorded tells that the request is recorded in the audit log, so that annotations of the [Attributes.Record] are not in vain.
func Recorded(ctx context.Context) bool { return audit.AuditContextFrom(ctx) != nil }

// publish puts what the libraries and webhooks have noted about the write into the audit log.
func (a *Attributes) publish(ctx context.Context) {
	if a.record != nil && Recorded(ctx) {
		_ = publisher.Validate(ctx, a.record, nil) // it has nothing to validate
	}
}

// publisher does nothing but what the library does behind every plugin, for only the library may read annotations.
var publisher = upstream.WithAudit(nothing{}).(upstream.ValidationInterface)

type nothing struct{}

var _ upstream.ValidationInterface = nothing{}

// Handles implements upstream.Interface.
func (nothing) Handles(upstream.Operation) bool { return true }

// Validate implements upstream.ValidationInterface.
func (nothing) Validate(context.Context, upstream.Attributes, upstream.ObjectInterfaces) error {
	return nil
}
