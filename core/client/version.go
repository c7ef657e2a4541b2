package client

import (
	"context"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gantryio/gantry/core/api"
)

// Most versions of a kind are made of the stored one by functions that cannot fail. Those of a definition with a conversion webhook
// are not: whoever reads or writes another one than is stored waits for the webhook. The cache never does, and neither do those who
// want metadata alone, which is the same in all versions.

// show makes out show a stored object, which is shared, in the version r.
func show(ctx context.Context, r *api.Resource, stored api.Object, out runtime.Object) error {
	if r.Convert == nil {
		return fill(out, r.FromStored(stored))
	}
	if p, partial := out.(*metav1.PartialObjectMetadata); partial {
		return fillMetadata(r, stored, p)
	}
	objs, err := r.InVersion(ctx, []api.Object{stored})
	if err != nil {
		return err
	}
	return fill(out, objs[0])
}

// fillMetadata is [show] for metadata alone.
func fillMetadata(r *api.Resource, stored api.Object, out *metav1.PartialObjectMetadata) error {
	if err := fill(out, r.FromStored(stored)); err != nil {
		return err
	}
	out.SetGroupVersionKind(r.GroupVersionKind())
	return nil
}

// retryFirst and retryMost bound how soon a conversion that failed is tried again.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 30 * time.Second
)

// converted returns an object in the version r, however long it takes; false when ctx has ended.
func converted(ctx context.Context, r *api.Resource, stored api.Object) (api.Object, bool) {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		objs, err := r.InVersion(ctx, []api.Object{stored})
		if err == nil {
			return objs[0], true
		}
		if ctx.Err() == nil {
			slog.Warn("cannot convert an object for those who watch it", "kind", r.GroupVersionKind(), "namespace", stored.GetNamespace(), "name", stored.GetName(), "err", err)
		}
		again := time.NewTimer(wait)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil, false
		}
	}
}
