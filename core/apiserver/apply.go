package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/fastjson"
	"github.com/gantryio/gantry/core/apiserver/ownership"
	"github.com/gantryio/gantry/core/cache"
)

// apply is server-side apply.
func (s *Server) apply(ctx context.Context, q *api.Request, p api.Patch) (*cache.Entry, bool, error) {
	if q.Manager == "" {
		return nil, false, apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind("PatchOptions").GroupKind(), "", field.ErrorList{
			field.Required(field.NewPath("fieldManager"), "is required for apply patch"),
		})
	}
	c, unknown, err := decodeApplied(q, &p)
	if err != nil {
		return nil, false, err
	}
	empty := func() api.Object {
		obj := q.Resource.New()
		q.Resource.SetType(obj)
		return obj
	}
	if unknown != nil {
		// What the schema does not know fails as such, as in Kubernetes, and only the rest as what is not to be decoded.
		if _, _, err := s.merge(q, empty(), c, p.Force); err != nil {
			return nil, false, err
		}
		return nil, false, unknown
	}
	applied := *q
	applied.Applied = true
	entry, err := s.modify(ctx, &applied, func(_ context.Context, current api.Object) (api.Object, error) {
		obj, shares, err := s.merge(q, current, c, p.Force)
		applied.SharesBody = shares
		if err == nil && c.wanted.GetResourceVersion() == "" {
			obj.SetResourceVersion("")
		}
		return obj, err
	})
	if !apierrors.IsNotFound(err) || q.Subresource != "" || c.wanted.GetUID() != "" || c.wanted.GetResourceVersion() != "" {
		return entry, false, err
	}
	obj, _, err := s.merge(q, empty(), c, p.Force)
	if err != nil {
		return nil, false, err
	}
	entry, err = s.Create(ctx, &applied, obj)
	return entry, true, err
}

// configuration is what is applied: as it was given, and for what is plainly right also as the Go object that it means.
type configuration struct {
	wanted *unstructured.Unstructured
	data   []byte
	plain  bool
	typed  api.Object // nil when it has been used
}

// merge returns what becomes of live, which stays as it is. The result may share all but its metadata with live, as the second one tells.
func (s *Server) merge(q *api.Request, live api.Object, c *configuration, force bool) (out api.Object, shares bool, err error) {
	if obj, shares, ok := s.mergeQuickly(q, live, c, force); ok {
		return obj, shares, nil
	}
	managers, err := s.managed.of(q.Spoken(), managedSubresource(q))
	if err != nil {
		return nil, false, apierrors.NewInternalError(err)
	}
	merged, err := managers.Apply(live.DeepCopyObject(), c.wanted.DeepCopy(), q.Manager, force)
	if err != nil {
		return nil, false, applyError(err)
	}
	obj, ok := merged.(api.Object)
	if !ok {
		return nil, false, apierrors.NewInternalError(fmt.Errorf("apply made a %T", merged))
	}
	wholeSeconds(obj)
	return obj, false, nil
}

// mergeQuickly does without the library, unless something is unusual.
func (s *Server) mergeQuickly(q *api.Request, live api.Object, c *configuration, force bool) (obj api.Object, shares, ok bool) {
	shape := s.shapeFor(q)
	if !c.plain || shape == nil || q.Manager == "kubectl" && (hasLastApplied(live) || hasLastApplied(c.wanted)) {
		return nil, false, false
	}
	patch := c.typed
	if c.typed = nil; patch == nil {
		patch = q.Resource.New()
		if !fastjson.Unmarshal(c.data, patch) {
			return nil, false, false
		}
	}
	patch.SetName(c.wanted.GetName())
	patch.SetNamespace(c.wanted.GetNamespace())
	who := ownership.Write{
		Manager: q.Manager, Subresource: managedSubresource(q), APIVersion: q.Resource.APIVersion(), At: time.Now(), Creates: live.GetUID() == "",
	}
	entries, ok := s.entriesBefore(q, shape, live, who)
	if !ok {
		return nil, false, false
	}
	if s.sharesBody(q, live) {
		// As a rule what is applied is there already, but for some label.
		obj, own := withOwnMetadata(q.Resource, live)
		if own.ManagedFields, ok = shape.ApplyToMetadata(obj, patch, c.wanted.Object, entries, who, force); ok {
			return obj, true, true
		}
	}
	obj = live.DeepCopyObject().(api.Object)
	entries, ok = shape.Apply(obj, patch, c.wanted.Object, entries, who, force)
	if !ok {
		return nil, false, false
	}
	obj.SetManagedFields(entries)
	return obj, false, true
}

// sharesBody tells whether what is made of live may share all but the metadata with it, as long as nobody else is asked who might change
// that.
func (s *Server) sharesBody(q *api.Request, live api.Object) bool {
	return q.Resource.SharesBody && q.Subresource == "" && live.GetUID() != "" && s.externals.Idle()
}

// withOwnMetadata returns an object that shares all but its metadata with obj, and has no managedFields.
func withOwnMetadata(r *api.Resource, obj api.Object) (api.Object, *metav1.ObjectMeta) {
	out := r.ShallowCopy(obj)
	own := api.Metadata(out)
	own.ManagedFields = nil
	*own = *own.DeepCopy()
	return out, own
}

// beforeFirstApply is who owns what an object had that nobody tracked before it was applied to.
const beforeFirstApply = "before-first-apply"

func (s *Server) entriesBefore(q *api.Request, shape *ownership.Shape, live api.Object, who ownership.Write) ([]metav1.ManagedFieldsEntry, bool) {
	entries := live.GetManagedFields()
	if len(entries) > 0 || who.Creates {
		return entries, true
	}
	who.Manager, who.Creates = beforeFirstApply, true
	return shape.Update(s.managed.shapesOf(q.Resource).empty, live, nil, who)
}

// hasLastApplied tells what client-side apply has been at, which an apply of kubectl goes on with.
func hasLastApplied(obj api.Object) bool {
	return obj.GetAnnotations()[corev1.LastAppliedConfigAnnotation] != ""
}

// decodeApplied returns what is applied. For a defined kind, whose objects may be anything, it returns apart that fields are
// unknown.
func decodeApplied(q *api.Request, p *api.Patch) (c *configuration, unknown, err error) {
	// Clients send JSON, which is YAML as well, but is read sooner as what it is. What is not plainly right is left to what follows.
	if c, err := decodePlain(q, p.Data); c != nil || err != nil {
		return c, nil, err
	}
	data, err := toJSON(p.Data, p.Validation, q.Warn)
	if err != nil {
		return nil, nil, err
	}
	// The typed form says which fields there are; the untyped one, which were given.
	unknown = decodeJSON(data, q.Spoken().New(), targetOf(q.Spoken()), p.Validation, q.Warn)
	if unknown != nil && !q.Resource.Custom() {
		return nil, nil, unknown
	}
	wanted := &unstructured.Unstructured{}
	if err := wanted.UnmarshalJSON(data); err != nil {
		return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	return &configuration{wanted: wanted, data: data}, unknown, namedInURL(q, wanted)
}

// decodePlain returns nil for what is not plainly an object of the kind, in JSON.
func decodePlain(q *api.Request, data []byte) (*configuration, error) {
	if q.Resource.Custom() || !bytes.HasPrefix(data, []byte("{")) {
		return nil, nil
	}
	c := &configuration{wanted: &unstructured.Unstructured{}, data: data, typed: q.Spoken().New()}
	if !fastjson.Unmarshal(data, c.typed) {
		return nil, nil
	}
	var ok bool
	if c.wanted.Object, ok = fastjson.Untyped(data); !ok && kjson.UnmarshalCaseSensitivePreserveInts(data, &c.wanted.Object) != nil {
		return nil, nil
	}
	if c.wanted.GroupVersionKind() != q.Spoken().GroupVersionKind() {
		return nil, nil
	}
	metadata, _ := c.wanted.Object["metadata"].(map[string]any)
	_, owned := metadata["managedFields"]
	c.plain = metadata != nil && !owned
	return c, namedInURL(q, c.wanted)
}

// namedInURL lets an object leave out its name and namespace, but not give others than the URL.
func namedInURL(q *api.Request, wanted *unstructured.Unstructured) error {
	if wanted.GetName() == "" {
		wanted.SetName(q.Name)
	}
	if wanted.GetName() != q.Name {
		return apierrors.NewBadRequest(fmt.Sprintf("metadata.name (%s) must be equal to the name on the URL (%s)", wanted.GetName(), q.Name))
	}
	if q.Resource.Namespaced && wanted.GetNamespace() == "" {
		wanted.SetNamespace(q.Namespace)
	}
	if wanted.GetNamespace() != q.Namespace && q.Resource.Namespaced {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}
