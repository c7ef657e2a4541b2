package cache

import (
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/gantryio/gantry/core/api"
)

// Entry is one version of one object: decoded once, encoded at most once per media type. It never
// changes, and neither may what its methods return.
type Entry struct {
	Key      string
	Revision int64
	// Object has its type and resourceVersion set.
	Object api.Object

	json, protobuf atomic.Pointer[[]byte]
}

// JSON returns the object as a JSON object without a line end.
func (e *Entry) JSON() ([]byte, error) {
	return once(&e.json, func() ([]byte, error) { return json.Marshal(e.Object) })
}

// Protobuf returns the message without its envelope.
func (e *Entry) Protobuf() ([]byte, error) {
	return once(&e.protobuf, func() ([]byte, error) { return api.MarshalProtobuf(e.Object) })
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
