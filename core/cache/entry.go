package cache

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/fastjson"
)

// Entry is one version of one object: decoded once, encoded at most once per media type. It never
// changes, and neither may what its methods return.
type Entry struct {
	Key      string
	Revision int64
	// Object has its type and resourceVersion set.
	Object api.Object
	// Former tells that Object is stored in a version or an encoding in which new objects no longer are.
	Former bool

	json, protobuf, cbor atomic.Pointer[[]byte]
	asked                atomic.Bool
}

// JSON returns the object as a JSON object without a line end.
func (e *Entry) JSON() ([]byte, error) {
	return once(&e.json, func() ([]byte, error) { return fastjson.Append(nil, e.Object) })
}

// AppendJSON appends what JSON returns to dst. It keeps the encoding for others only when it is asked for
// it a second time: most objects are answered to whoever wrote them, and to nobody else.
func (e *Entry) AppendJSON(dst []byte) ([]byte, error) {
	if have := e.json.Load(); have != nil || e.asked.Swap(true) {
		data, err := e.JSON()
		return append(dst, data...), err
	}
	return fastjson.Append(dst, e.Object)
}

// Protobuf returns the message without its envelope.
func (e *Entry) Protobuf() ([]byte, error) {
	return once(&e.protobuf, func() ([]byte, error) { return api.MarshalProtobuf(e.Object) })
}

// CBORPrefix is the tag with which every CBOR body of Kubernetes begins.
var CBORPrefix = []byte{0xd9, 0xd9, 0xf7}

// CBOR returns the object with the tag before it.
func (e *Entry) CBOR() ([]byte, error) {
	return once(&e.cbor, func() ([]byte, error) {
		var v any = e.Object
		if u, ok := e.Object.(runtime.Unstructured); ok {
			v = u.UnstructuredContent()
		}
		data, err := direct.Marshal(v)
		if err != nil {
			return nil, err
		}
		return append(bytes.Clone(CBORPrefix), data...), nil
	})
}

// once may encode twice when two ask at the same time; both then share one result.
func once(p *atomic.Pointer[[]byte], encode func() ([]byte, error)) ([]byte, error) {
	if have := p.Load(); have != nil {
		return *have, nil
	}
	data, err := encode()
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if !p.CompareAndSwap(nil, &data) {
		return *p.Load(), nil
	}
	return data, nil
}
