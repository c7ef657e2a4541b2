package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/fastjson"
	"github.com/gantryio/gantry/core/cache"
)

const maxPatchOperations = 10_000

// Patch changes an object; an apply creates it when it is not there, which the second result tells.
func (s *Server) Patch(ctx context.Context, q *api.Request, p api.Patch) (*cache.Entry, bool, error) {
	if p.Type == types.ApplyYAMLPatchType {
		return s.apply(ctx, q, p)
	}
	if p.Type == types.StrategicMergePatchType && q.Resource.Custom() {
		return nil, false, errUntypedPatch
	}
	entry, err := s.modify(ctx, q, func(ctx context.Context, current api.Object) (api.Object, error) {
		r := q.Spoken()
		seen, err := r.InVersion(ctx, []api.Object{current})
		if err != nil {
			return nil, err
		}
		obj, ok := patchPart(&p, r, seen[0], q.Warn)
		if !ok {
			if obj, err = patchWhole(&p, r, seen[0], q.Warn); err != nil {
				return nil, err
			}
		}
		if obj, err = toStored(ctx, q, obj); err != nil {
			return nil, err
		}
		if err := sameTarget(obj, current); err != nil {
			return nil, err
		}
		if obj.GetResourceVersion() == current.GetResourceVersion() {
			obj.SetResourceVersion("") // the patch did not ask for it
		}
		return obj, nil
	})
	return entry, false, err
}

func patchWhole(p *api.Patch, r *api.Resource, current api.Object, warn func(string)) (api.Object, error) {
	original, err := fastjson.Append(nil, current)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	patched, err := runPatch(p, original, r.New())
	if err != nil {
		return nil, err
	}
	obj := r.New()
	if err := unmarshalJSON(patched, obj, targetOf(r), p.Validation, warn); err != nil {
		return nil, patchError(p, patched, err)
	}
	return obj, nil
}

// patchError is the status for a patch whose result is no object of the kind, in the words of Kubernetes.
func patchError(p *api.Patch, patched []byte, err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	if p.Type == types.StrategicMergePatchType {
		patched = p.Data
	}
	return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{
		field.Invalid(field.NewPath("patch"), string(patched), err.Error()),
	})
}

func sameTarget(obj, current api.Object) error {
	if obj.GetName() != current.GetName() {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", obj.GetName(), current.GetName()))
	}
	if obj.GetNamespace() != current.GetNamespace() {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

// runPatch applies the patch to a JSON object; example tells a strategic merge the type.
func runPatch(p *api.Patch, original []byte, example any) ([]byte, error) {
	var out []byte
	var err error
	switch p.Type {
	case types.JSONPatchType:
		return runJSONPatch(original, p.Data)
	case types.MergePatchType:
		out, err = jsonpatch.MergePatch(original, p.Data)
	case types.StrategicMergePatchType:
		out, err = strategicpatch.StrategicMergePatch(original, p.Data, example)
		if errors.Is(err, mergepatch.ErrNoListOfLists) || errors.Is(err, mergepatch.ErrPatchContentNotMatchRetainKeys) {
			return nil, errUnprocessable(err)
		}
	default:
		return nil, errPatchType
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return out, nil
}

func errUnprocessable(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
}

// limitCopies bounds what the copies of a JSON patch may add up to, as in Kubernetes.
var limitCopies = sync.OnceFunc(func() { jsonpatch.AccumulatedCopySizeLimit = maxBody })

func runJSONPatch(original, data []byte) ([]byte, error) {
	patch, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if len(patch) > maxPatchOperations {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"The allowed maximum operations in a JSON patch is %d, got %d", maxPatchOperations, len(patch)))
	}
	limitCopies()
	out, err := patch.Apply(original)
	if err != nil {
		return nil, errUnprocessable(err)
	}
	return out, nil
}

func applyError(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	return apierrors.NewBadRequest(err.Error())
}

var errUntypedPatch = apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "PATCH", schema.GroupResource{}, "",
	"the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, application/apply-patch+cbor", 0, false)

var errPatchType = apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "PATCH", schema.GroupResource{}, "",
	"the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml", 0, false)
