package cache

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/fastjson"
)

// Entry is one version of one object: decoded once, and encoded once per media type for all who ask until nobody has
// asked for a while. It never changes, and neither may what its methods return.
type Entry struct {
	Key      string
	Revision int64
	// Object has its type and resourceVersion set.
	Object api.Object
	// Former tells that Object is stored in a version or an encoding in which new objects no longer are.
	Former bool

	json, protobuf, cbor atomic.Pointer[[]byte]
	asked, used          atomic.Bool
}

// JSON returns the object as a JSON object without a line end.
func (e *Entry) JSON() ([]byte, error) {
	return e.once(&e.json, e.encodeJSON)
}

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// encodeJSON returns bytes that take no more memory than they need.
func (e *Entry) encodeJSON() ([]byte, error) {
	buf := scratch.Get().(*[]byte)
	data, err := fastjson.Append((*buf)[:0], e.Object)
	if err != nil {
		return nil, err
	}
	if cap(data) <= maxScratch {
		*buf = data
		defer scratch.Put(buf)
	}
	return bytes.Clone(data), nil
}

const maxScratch = 64 << 10

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
	return e.once(&e.protobuf, func() ([]byte, error) { return api.MarshalProtobuf(e.Object) })
}

// CBORPrefix is the tag with which every CBOR body of Kubernetes begins.
var CBORPrefix = []byte{0xd9, 0xd9, 0xf7}

// CBOR returns the object with the tag before it.
func (e *Entry) CBOR() ([]byte, error) {
	return e.once(&e.cbor, func() ([]byte, error) {
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
func (e *Entry) once(p *atomic.Pointer[[]byte], encode func() ([]byte, error)) ([]byte, error) {
	if !e.used.Load() { // the line of memory is shared by many readers
		e.used.Store(true)
	}
	if have := p.Load(); have != nil {
		return *have, nil
	}
	data, err := encode()
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if !p.CompareAndSwap(nil, &data) {
		if have := p.Load(); have != nil {
			return *have, nil
		}
	}
	return data, nil
}

// cool forgets the encodings unless somebody has asked for one since the last call.
func (e *Entry) cool() {
	if e.used.Swap(false) {
		return
	}
	for _, p := range []*atomic.Pointer[[]byte]{&e.json, &e.protobuf, &e.cbor} {
		if p.Load() != nil {
			p.Store(nil)
		}
	}
	e.asked.Store(false)
}
