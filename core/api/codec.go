package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gantryio/gantry/core/api/fastjson"
)

// message is the protobuf code that all types of k8s.io/api have.
type message interface {
	Size() int
	MarshalToSizedBuffer(data []byte) (int, error)
	Unmarshal(data []byte) error
}

// ProtobufPrefix starts every protobuf body that Kubernetes writes, on the wire and in etcd.
var ProtobufPrefix = []byte("k8s\x00")

// EncodeStored returns what etcd holds for obj: protobuf in the envelope of Kubernetes, or JSON for a kind
// without protobuf form, without resourceVersion, which is etcd's own. It leaves obj unchanged at return but
// writes to it meanwhile.
func (r *Resource) EncodeStored(obj Object) ([]byte, error) {
	version := obj.GetResourceVersion()
	obj.SetResourceVersion("")
	defer obj.SetResourceVersion(version)
	if !r.HasProtobuf {
		return fastjson.Append(nil, obj)
	}
	raw, err := MarshalProtobuf(obj)
	if err != nil {
		return nil, err
	}
	return r.Envelope(raw), nil
}

// Envelope wraps a protobuf message of this kind as it is sent alone.
func (r *Resource) Envelope(raw []byte) []byte {
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: r.APIVersion(), Kind: r.Kind}}
	return Envelope(&u, raw)
}

// Envelope wraps a protobuf message; u carries its type.
func Envelope(u *runtime.Unknown, raw []byte) []byte {
	u.Raw = raw
	out := make([]byte, len(ProtobufPrefix)+u.Size())
	copy(out, ProtobufPrefix)
	if _, err := u.MarshalToSizedBuffer(out[len(ProtobufPrefix):]); err != nil {
		panic(fmt.Sprintf("marshal envelope of %s: %v", u.Kind, err)) // a buffer of its own size cannot fail
	}
	return out
}

// DecodeStored reads what EncodeStored or a kube-apiserver wrote, protobuf or JSON, and defaults it.
func (r *Resource) DecodeStored(data []byte) (Object, error) {
	obj := r.New()
	if err := decodeStored(data, obj); err != nil {
		return nil, fmt.Errorf("decode stored %s: %w", r.Kind, err)
	}
	if r.Convert != nil && obj.GetObjectKind().GroupVersionKind() != r.GroupVersionKind() {
		return obj, nil // it is converted when somebody reads it
	}
	r.SetType(obj)
	if r.Prune != nil {
		r.Prune(obj)
	}
	if r.Default != nil {
		r.Default(obj)
	}
	return obj, nil
}

func decodeStored(data []byte, obj Object) error {
	raw, ok := bytes.CutPrefix(data, ProtobufPrefix)
	if !ok {
		return json.Unmarshal(data, obj)
	}
	var u runtime.Unknown
	if err := u.Unmarshal(raw); err != nil {
		return err
	}
	return UnmarshalProtobuf(u.Raw, obj)
}

// HasProtobuf tells whether the type of obj has a protobuf form.
func HasProtobuf(obj runtime.Object) bool {
	_, ok := obj.(message)
	return ok
}

// MarshalProtobuf returns the message of obj without envelope and type.
func MarshalProtobuf(obj runtime.Object) ([]byte, error) {
	m, ok := obj.(message)
	if !ok {
		return nil, fmt.Errorf("%T has no protobuf form", obj)
	}
	out := make([]byte, m.Size())
	n, err := m.MarshalToSizedBuffer(out)
	return out[len(out)-n:], err
}

// UnmarshalProtobuf reads a message without envelope into obj.
func UnmarshalProtobuf(data []byte, obj runtime.Object) error {
	m, ok := obj.(message)
	if !ok {
		return fmt.Errorf("%T has no protobuf form", obj)
	}
	return m.Unmarshal(data)
}

// ShallowCopy returns a new object that shares everything below its first level with obj, so that
// its own metadata fields can be set.
func (r *Resource) ShallowCopy(obj Object) Object {
	if r.custom() {
		return shallowCustomCopy(obj)
	}
	out := reflect.New(r.typ)
	out.Elem().Set(reflect.ValueOf(obj).Elem())
	return out.Interface().(Object)
}
