package api

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"k8s.io/apimachinery/pkg/runtime"
)

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

// EnvelopeAround returns what Envelope puts before and behind a message of that size, for who does not have it in one piece.
func EnvelopeAround(u *runtime.Unknown, size int) (before, after []byte) {
	u.Raw = []byte{}
	both := Envelope(u, u.Raw)
	// An empty message is its field's number and a length of one byte, 0, before the two fields that come last and are empty.
	const last = 4
	before, after = both[:len(both)-last-1:len(both)-last-1], both[len(both)-last:]
	return binary.AppendUvarint(before, uint64(size)), after
}

// enveloped is Envelope of obj's message, which is made in its place rather than copied there.
func enveloped(u *runtime.Unknown, obj runtime.Object) ([]byte, error) {
	m, ok := obj.(message)
	if !ok {
		return nil, fmt.Errorf("%T has no protobuf form", obj)
	}
	size := m.Size()
	before, after := EnvelopeAround(u, size)
	out := make([]byte, len(before)+size+len(after))
	copy(out, before)
	copy(out[len(before)+size:], after)
	n, err := m.MarshalToSizedBuffer(out[len(before) : len(before)+size])
	if err == nil && n != size {
		err = fmt.Errorf("a message of %d bytes has %d", size, n)
	}
	return out, err
}

// The numbers of fields in runtime.Unknown and its TypeMeta.
const (
	fieldTypeMeta, fieldRaw = 1, 2
	fieldAPIVersion         = 1
)

// opened returns the message in an envelope without its prefix, a part of data where that can be, and the apiVersion that stands on it.
func opened(data []byte) (apiVersion string, message []byte, err error) {
	if apiVersion, message, ok := openedPlainly(data); ok {
		return apiVersion, message, nil
	}
	var u runtime.Unknown
	if err := u.Unmarshal(data); err != nil {
		return "", nil, err
	}
	return u.APIVersion, u.Raw, nil
}

// openedPlainly does so without a copy, false for what only the library may judge.
func openedPlainly(data []byte) (apiVersion string, message []byte, ok bool) {
	for len(data) > 0 {
		number, value, rest, ok := nextBytes(data)
		if !ok {
			return "", nil, false
		}
		switch number {
		case fieldTypeMeta:
			if apiVersion, ok = versionIn(value, apiVersion); !ok {
				return "", nil, false
			}
		case fieldRaw:
			message = value
		}
		data = rest
	}
	return apiVersion, message, true
}

func versionIn(typeMeta []byte, before string) (version string, ok bool) {
	version = before
	for len(typeMeta) > 0 {
		number, value, rest, ok := nextBytes(typeMeta)
		if !ok {
			return "", false
		}
		if number == fieldAPIVersion {
			version = string(value)
		}
		typeMeta = rest
	}
	return version, true
}

// nextBytes takes a field of bytes off a message, false when another one or none stands there.
func nextBytes(data []byte) (number protowire.Number, value, rest []byte, ok bool) {
	number, kind, n := protowire.ConsumeTag(data)
	if n < 0 || kind != protowire.BytesType {
		return 0, nil, nil, false
	}
	value, m := protowire.ConsumeBytes(data[n:])
	if m < 0 {
		return 0, nil, nil, false
	}
	return number, value, data[n+m:], true
}
