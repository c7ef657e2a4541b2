package auditlog

import (
	"context"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	auditapi "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
)

// Encode turns an object, whose type is set, into JSON.
type Encode func(obj runtime.Object) ([]byte, error)

// Requested records the object that a request has sent, of which the lower levels keep no more than whose it is. ctx is that of
// [Log.Begin].
func (r *Record) Requested(ctx context.Context, obj runtime.Object, resource schema.GroupVersionResource, subresource string, encode Encode) {
	if r == nil {
		return
	}
	if !r.Wants(auditapi.LevelRequest) {
		about := &metav1.PartialObjectMetadata{}
		if m, err := meta.Accessor(obj); err == nil {
			about.ObjectMeta = metav1.ObjectMeta{Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUID(), ResourceVersion: m.GetResourceVersion()}
		}
		obj, encode = about, func(runtime.Object) ([]byte, error) { return nil, nil }
	}
	audit.LogRequestObject(ctx, obj, resource.GroupVersion(), resource, subresource, encoder{encode: encode})
}

// Patched records a patch, in JSON, that a request has sent.
func (r *Record) Patched(patch []byte) {
	if r.Wants(auditapi.LevelRequest) {
		r.audit.LogRequestPatch(patch)
	}
}

// encoder shows an Encode to the library, which knows objects by their serializers.
type encoder struct {
	runtime.NegotiatedSerializer
	runtime.Serializer
	encode Encode
}

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (encoder) SupportedMediaTypes() []runtime.SerializerInfo {
	return []runtime.SerializerInfo{{MediaType: runtime.ContentTypeJSON}}
}

// EncoderForVersion implements runtime.NegotiatedSerializer.
func (e encoder) EncoderForVersion(runtime.Encoder, runtime.GroupVersioner) runtime.Encoder { return e }

// Encode implements runtime.Encoder.
func (e encoder) Encode(obj runtime.Object, w io.Writer) error {
	data, err := e.encode(obj)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// withoutManagedFields takes managedFields away from an object, or from those in a list or table.
func withoutManagedFields(object []byte) []byte {
	var content map[string]any
	if json.Unmarshal(object, &content) != nil {
		return nil // better nothing than too much
	}
	strip(content)
	for _, item := range list(content["items"]) {
		strip(item)
	}
	for _, row := range list(content["rows"]) {
		if in, ok := row.(map[string]any); ok {
			strip(in["object"])
		}
	}
	out, err := json.Marshal(content)
	if err != nil {
		return nil
	}
	return out
}

func strip(object any) {
	if content, ok := object.(map[string]any); ok {
		if about, ok := content["metadata"].(map[string]any); ok {
			delete(about, "managedFields")
		}
	}
}

func list(of any) []any {
	items, _ := of.([]any)
	return items
}
