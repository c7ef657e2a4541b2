package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

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
	return enveloped(&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: r.APIVersion(), Kind: r.Kind}}, obj)
}

// DecodeStored reads what EncodeStored or a kube-apiserver wrote, protobuf or JSON, and defaults it. former tells that it was
// written in another form than EncodeStored writes now, so that writing it again is worth something.
func (r *Resource) DecodeStored(data []byte) (obj Object, former bool, err error) {
	if obj, former, err = r.decodeStored(data); err != nil {
		return nil, false, fmt.Errorf("decode stored %s: %w", r.Kind, err)
	}
	if r.Convert != nil && obj.GetObjectKind().GroupVersionKind() != r.GroupVersionKind() {
		return obj, false, nil // it is converted when somebody reads it
	}
	r.SetType(obj)
	if r.Prune != nil {
		r.Prune(obj)
	}
	if r.Default != nil {
		r.Default(obj)
	}
	return obj, former, nil
}

func (r *Resource) decodeStored(data []byte) (obj Object, former bool, err error) {
	raw, protobuf := bytes.CutPrefix(data, ProtobufPrefix)
	if !protobuf {
		return r.decodeStoredJSON(data)
	}
	version, message, err := opened(raw)
	if err != nil {
		return nil, false, err
	}
	as, former, err := r.writtenAs(version)
	if err != nil {
		return nil, false, err
	}
	obj = as.new()
	if err := UnmarshalProtobuf(message, obj); err != nil {
		return nil, false, err
	}
	obj, err = as.read(obj)
	return obj, former, err
}

func (r *Resource) decodeStoredJSON(data []byte) (obj Object, former bool, err error) {
	if r.custom() {
		obj = r.New()
		err = json.Unmarshal(data, obj)
		return obj, err == nil && !r.isVersion(obj.GetObjectKind().GroupVersionKind().GroupVersion().String()), err
	}
	var meta runtime.TypeMeta
	if err := json.Unmarshal(data, &meta); err != nil {
		return nil, false, err
	}
	as, former, err := r.writtenAs(meta.APIVersion)
	if err != nil {
		return nil, false, err
	}
	obj = as.new()
	if err := json.Unmarshal(data, obj); err != nil {
		return nil, false, err
	}
	obj, err = as.read(obj)
	return obj, former || r.HasProtobuf, err
}

// writtenAs finds how to read what was stored in a version: as r itself where that differs from it in nothing but its name, as
// another version that is served, or as one that is not. Others must not be read as if they were r.
func (r *Resource) writtenAs(apiVersion string) (as Former, former bool, err error) {
	if r.isVersion(apiVersion) || apiVersion == "" {
		return Former{new: r.New, read: r.fromFormer}, false, nil
	}
	if slices.Contains(r.Earlier, apiVersion) {
		return Former{new: r.New, read: r.fromFormer}, true, nil
	}
	for _, v := range r.versions {
		if v.isVersion(apiVersion) {
			return Former{new: v.New, read: v.fromFormer}, true, nil
		}
	}
	for _, f := range r.former {
		if f.apiVersion == apiVersion {
			return f, true, nil
		}
	}
	return Former{}, false, fmt.Errorf("it is stored in version %s", apiVersion)
}

// isVersion compares without allocating.
func (r *Resource) isVersion(apiVersion string) bool {
	if r.Group == "" {
		return apiVersion == r.Version
	}
	return len(apiVersion) == len(r.Group)+1+len(r.Version) && apiVersion[len(r.Group)] == '/' &&
		strings.HasPrefix(apiVersion, r.Group) && strings.HasSuffix(apiVersion, r.Version)
}

// fromFormer turns what was stored in this version into the one that is stored now.
func (r *Resource) fromFormer(obj Object) (Object, error) {
	if r.toStored == nil {
		return obj, nil
	}
	if r.Default != nil {
		r.Default(obj)
	}
	return r.ToStored(obj), nil
}

// DropEmpty makes an empty list nil. Protobuf does not tell these apart, so that a field which JSON shows in any case would be []
// for whoever wrote it and null from the next start on. Kubernetes shows null at once.
func DropEmpty[E any](list *[]E) {
	if len(*list) == 0 {
		*list = nil
	}
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
