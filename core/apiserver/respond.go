package apiserver

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/fastjson"
	"github.com/gantryio/gantry/core/cache"
)

// encode returns obj, whose type is set, in the format of v.
func encode(v view, obj runtime.Object) ([]byte, error) {
	if v.format == typeProtobuf {
		raw, err := api.MarshalProtobuf(obj)
		if err == nil {
			gvk := obj.GetObjectKind().GroupVersionKind()
			u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind}}
			return api.Envelope(&u, raw), nil
		}
	}
	if v.format == typeCBOR {
		return encodeCBOR(obj)
	}
	data, err := fastjson.Append(nil, obj)
	if err != nil {
		return nil, err
	}
	return v.dress(data)
}

// dress turns JSON into the text format of v.
func (v view) dress(data []byte) ([]byte, error) {
	if v.format == typeYAML {
		return yaml.JSONToYAML(data)
	}
	if !v.pretty {
		return data, nil
	}
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// encodeEntry returns an object in the form of v; the plain forms are the cache's own bytes.
func encodeEntry(v view, r *api.Resource, e *cache.Entry, o tableOptions) ([]byte, error) {
	switch {
	case v.as == "Table":
		t, err := table(r, []*cache.Entry{e}, o)
		if err != nil {
			return nil, err
		}
		t.ResourceVersion = e.Object.GetResourceVersion()
		return encode(v, t)
	case v.as != "":
		return encode(v, partial(e.Object))
	case v.format == typeProtobuf:
		raw, err := e.Protobuf()
		if err != nil {
			return nil, err
		}
		return r.Envelope(raw), nil
	case v.format == typeCBOR:
		return e.CBOR()
	}
	data, err := e.JSON()
	if err != nil {
		return nil, err
	}
	return v.dress(data)
}

// partial returns the metadata alone.
func partial(obj api.Object) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: *api.Metadata(obj),
	}
}

func (s *Server) respondEntry(w http.ResponseWriter, c *call, status int, e *cache.Entry) {
	e, err := shown(c.ctx, c.q, e)
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	o := tableOptions{include: c.query.Get("includeObject")}
	if c.record != nil {
		answered(c.record, nil, func() ([]byte, error) { return encodeEntry(c.view.recorded(), c.q.Spoken(), e, o) })
	}
	if c.view == jsonView {
		s.respondJSON(w, c, status, e)
		return
	}
	data, err := encodeEntry(c.view, c.q.Spoken(), e, o)
	if err != nil {
		s.fail(w, c.view, apierrors.NewInternalError(err))
		return
	}
	_ = c.send(w, status, data)
}

// buffers are for answers that nobody keeps; those larger than maxBuffer are left to the collector.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxBuffer = 64 << 10

func (s *Server) respondJSON(w http.ResponseWriter, c *call, status int, e *cache.Entry) {
	buf := buffers.Get().(*[]byte)
	data, err := e.AppendJSON((*buf)[:0])
	if err != nil {
		s.fail(w, jsonView, apierrors.NewInternalError(err))
		return
	}
	// After an error the server may still be writing what it was given.
	if err := c.send(w, status, data); err == nil && cap(data) <= maxBuffer {
		*buf = data
		buffers.Put(buf)
	}
}

func (s *Server) respondObject(w http.ResponseWriter, v view, status int, obj runtime.Object) {
	if record := s.recordOf(w); record != nil {
		told, _ := obj.(*metav1.Status)
		answered(record, told, func() ([]byte, error) { return encodeJSON(obj) })
	}
	data, err := encode(v, obj)
	if err != nil {
		s.fail(w, jsonView, apierrors.NewInternalError(err))
		return
	}
	_ = send(w, v.format, status, data)
}

func send(w http.ResponseWriter, format string, status int, data []byte) error {
	h := w.Header()
	h.Set("Content-Type", format)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	h.Set("Cache-Control", "no-cache, private")
	w.WriteHeader(status)
	_, err := w.Write(data)
	return err
}

// fail answers with the status of err; what is no status is an internal error.
func (s *Server) fail(w http.ResponseWriter, v view, err error) {
	body := statusOf(err)
	if record := s.recordOf(w); record != nil {
		answered(record, &body, func() ([]byte, error) { return encodeJSON(&body) })
	}
	if body.Details != nil && body.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(body.Details.RetryAfterSeconds)))
	}
	v.as = ""
	data, err := encode(v, &body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = send(w, v.format, int(body.Code), data)
}
