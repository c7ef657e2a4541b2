package apiserver

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/munnerz/goautoneg"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// CBOR is the concise form of what is said in JSON otherwise (KEP-4222). What comes in is turned into JSON, so that one decoder
// judges unknown and duplicate fields.

const (
	typeCBOR = "application/cbor"
	// typeCBORSequence is what watches are: one item after the other (RFC 8742).
	typeCBORSequence = "application/cbor-seq"
)

// fromCBOR turns an item into JSON.
func fromCBOR(data []byte) ([]byte, error) {
	var v any
	if err := direct.Unmarshal(data, &v); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding CBOR: %v", err))
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding CBOR: %v", err))
	}
	return out, nil
}

// encodeCBOR writes an object with the tag that tells CBOR from other formats (RFC 8949, 3.4.6), as upstream's serializer does.
func encodeCBOR(obj runtime.Object) ([]byte, error) {
	var v any = obj
	if u, ok := obj.(runtime.Unstructured); ok {
		v = u.UnstructuredContent()
	}
	data, err := direct.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(bytes.Clone(cache.CBORPrefix), data...), nil
}

// cborList is a map of four, whose last value are the items.
func cborList(r *api.Resource, meta metav1.ListMeta, items []*cache.Entry) (*listBody, error) {
	head := append(bytes.Clone(cache.CBORPrefix), 4|majorMap<<5)
	for _, pair := range []struct {
		name  string
		value any
	}{{"kind", r.ListKind}, {"apiVersion", r.APIVersion()}, {"metadata", meta}} {
		for _, v := range []any{pair.name, pair.value} {
			data, err := direct.Marshal(v)
			if err != nil {
				return nil, err
			}
			head = append(head, data...)
		}
	}
	name, err := direct.Marshal("items")
	if err != nil {
		return nil, err
	}
	l := &listBody{items: items, head: appendArrayHead(append(head, name...), len(items))}
	l.encoded = func(e *cache.Entry) ([]byte, error) {
		data, err := e.CBOR()
		return bytes.TrimPrefix(data, cache.CBORPrefix), err
	}
	return l, l.measure()
}

// The kinds of items whose heads are written here (RFC 8949, 3.1).
const (
	majorArray = 4
	majorMap   = 5
)

func appendArrayHead(out []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(out, majorArray<<5|26), uint32(n))
}

// cborFrame is a watch event around an encoded object.
func cborFrame(kind watch.EventType, data []byte) ([]byte, error) {
	return encodeCBOR(&metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: data}})
}

// prefersCBOR tells that CBOR is the first of the forms of a document that the client accepts.
func prefersCBOR(req *http.Request) bool {
	for _, a := range goautoneg.ParseAccept(req.Header.Get("Accept")) {
		switch a.Type + "/" + a.SubType {
		case typeCBOR:
			return true
		case typeJSON, "application/*", "*/*":
			return false
		}
	}
	return false
}

// sendDocument sends a document that lies there as JSON; format is its type as such.
func sendDocument(w http.ResponseWriter, req *http.Request, format string, data []byte) {
	if !prefersCBOR(req) {
		_ = send(w, format, http.StatusOK, data)
		return
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		panic(fmt.Sprintf("read a document of our own: %v", err))
	}
	out, err := direct.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode a document of our own: %v", err))
	}
	_ = send(w, typeCBOR+format[len(typeJSON):], http.StatusOK, append(bytes.Clone(cache.CBORPrefix), out...))
}
