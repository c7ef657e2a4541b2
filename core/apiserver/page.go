package apiserver

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// respondPage answers with a list in the form of the call's view.
func (s *Server) respondPage(w http.ResponseWriter, c *call, p *Page) {
	meta := metav1.ListMeta{Continue: p.Continue, RemainingItemCount: p.Remaining}
	if p.Revision > 0 {
		meta.ResourceVersion = strconv.FormatInt(p.Revision, 10)
	}
	items, err := shownAll(c.ctx, c.q, p.Items)
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	if c.record != nil {
		answered(c.record, nil, func() ([]byte, error) { return c.recordedPage(meta, items) })
	}
	var list *listBody
	var data []byte
	if c.view.as == "" {
		if list, err = listOf(c.view, c.q.Spoken(), meta, items); err == nil && (c.view.pretty || c.view.format == typeYAML) {
			if data, err = list.bytes(); err == nil {
				data, err = c.view.dress(data)
			}
		}
	} else {
		data, err = c.rendered(c.view, meta, items)
	}
	switch {
	case err != nil:
		s.fail(w, c.view, apierrors.NewInternalError(err))
	case data != nil:
		_ = c.send(w, http.StatusOK, data)
	default:
		_ = c.sendList(w, list)
	}
}

// recordedPage is a list as the audit log has it.
func (c *call) recordedPage(meta metav1.ListMeta, items []*cache.Entry) ([]byte, error) {
	v := c.view.recorded()
	if v.as != "" {
		return c.rendered(v, meta, items)
	}
	list, err := jsonList(c.q.Spoken(), meta, items)
	if err != nil {
		return nil, err
	}
	return list.bytes()
}

// rendered is a list as a table or of metadata alone.
func (c *call) rendered(v view, meta metav1.ListMeta, items []*cache.Entry) ([]byte, error) {
	if v.as == "Table" {
		t, err := table(c.q.Spoken(), items, tableOptions{include: c.query.Get("includeObject")})
		if err != nil {
			return nil, err
		}
		t.ListMeta = meta
		return encode(v, t)
	}
	list := &metav1.PartialObjectMetadataList{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"},
		ListMeta: meta, Items: make([]metav1.PartialObjectMetadata, len(items)),
	}
	for i, e := range items {
		list.Items[i] = *partial(e.Object)
	}
	return encode(v, list)
}

// listBody is a list in one of the plain forms. Its items are encoded, by the cache, when size is known; the body itself is put
// together while it is sent, so that a list takes no memory of its own.
type listBody struct {
	items      []*cache.Entry
	head, tail []byte
	// encoded is an item's own bytes.
	encoded func(e *cache.Entry) ([]byte, error)
	// before appends what stands before the item i, nothing when it is nil.
	before func(dst []byte, i, size int) []byte
	size   int // of the whole body
}

// listOf makes the body of a list in the format of v, of which YAML is JSON first.
func listOf(v view, r *api.Resource, meta metav1.ListMeta, items []*cache.Entry) (*listBody, error) {
	switch v.format {
	case typeProtobuf:
		return protobufList(r, meta, items)
	case typeCBOR:
		return cborList(r, meta, items)
	}
	return jsonList(r, meta, items)
}

// measure encodes all items and adds up the size.
func (l *listBody) measure() error {
	l.size = len(l.head) + len(l.tail)
	var mark [16]byte
	for i, e := range l.items {
		data, err := l.encoded(e)
		if err != nil {
			return err
		}
		l.size += len(data)
		if l.before != nil {
			l.size += len(l.before(mark[:0], i, len(data)))
		}
	}
	return nil
}

// append appends the item i with what stands before it.
func (l *listBody) append(dst []byte, i int) ([]byte, error) {
	data, err := l.encoded(l.items[i])
	if err != nil {
		return dst, err
	}
	if l.before != nil {
		dst = l.before(dst, i, len(data))
	}
	return append(dst, data...), nil
}

// bytes is the whole body.
func (l *listBody) bytes() ([]byte, error) {
	out := append(make([]byte, 0, l.size), l.head...)
	for i := range l.items {
		var err error
		if out, err = l.append(out, i); err != nil {
			return nil, err
		}
	}
	return append(out, l.tail...), nil
}

// writeTo writes the body piece by piece. When it fails, w may still be using piece.
func (l *listBody) writeTo(w io.Writer, piece []byte) ([]byte, error) {
	piece = append(piece[:0], l.head...)
	for i := range l.items {
		var err error
		if piece, err = l.append(piece, i); err != nil {
			return nil, err
		}
		if len(piece) < pieceSize {
			continue
		}
		if _, err := w.Write(piece); err != nil {
			return nil, err
		}
		piece = piece[:0]
	}
	piece = append(piece, l.tail...)
	_, err := w.Write(piece)
	return piece, err
}

// pieceSize is about how much of a list is put together at a time.
const pieceSize = 64 << 10

var pieces = sync.Pool{New: func() any { return new(make([]byte, 0, pieceSize+pieceSize/4)) }}

// sendList answers with a list. What it owes while the client reads is one piece.
func (c *call) sendList(w http.ResponseWriter, l *listBody) error {
	if l.size < pieceSize {
		data, err := l.bytes()
		if err != nil {
			return err
		}
		return c.send(w, http.StatusOK, data)
	}
	defer c.written(pieceSize)()
	compress := l.size >= compressedFrom && takesGzip(c.req)
	h := w.Header()
	h.Set("Content-Type", c.view.format)
	h.Set("Cache-Control", "no-cache, private")
	if compress {
		h.Set("Content-Encoding", "gzip")
		h.Set("Vary", "Accept-Encoding")
	} else {
		h.Set("Content-Length", strconv.Itoa(l.size))
	}
	w.WriteHeader(http.StatusOK)
	piece := pieces.Get().(*[]byte)
	out := io.Writer(w)
	if compress {
		z := compressors.Get().(*gzip.Writer)
		defer compressors.Put(z)
		z.Reset(w)
		defer z.Close()
		out = z
	}
	data, err := l.writeTo(out, *piece)
	if err != nil {
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
	if cap(data) <= 2*pieceSize {
		*piece = data
		pieces.Put(piece)
	}
	return nil
}

func jsonList(r *api.Resource, meta metav1.ListMeta, items []*cache.Entry) (*listBody, error) {
	about, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	head := append([]byte(`{"kind":"`+r.ListKind+`","apiVersion":"`+r.APIVersion()+`","metadata":`), about...)
	l := &listBody{items: items, head: append(head, `,"items":[`...), tail: []byte("]}\n"), encoded: (*cache.Entry).JSON}
	l.before = func(dst []byte, i, _ int) []byte {
		if i > 0 {
			dst = append(dst, ',')
		}
		return dst
	}
	return l, l.measure()
}

// protobufList is what every List message looks like, metadata in field 1 and the items in field 2, in the envelope, which holds
// its length.
func protobufList(r *api.Resource, meta metav1.ListMeta, items []*cache.Entry) (*listBody, error) {
	about, err := meta.Marshal()
	if err != nil {
		return nil, err
	}
	l := &listBody{items: items, head: appendFieldHead(nil, 1, len(about)), encoded: (*cache.Entry).Protobuf}
	l.head = append(l.head, about...)
	l.before = func(dst []byte, _, size int) []byte { return appendFieldHead(dst, 2, size) }
	if err := l.measure(); err != nil {
		return nil, err
	}
	before, after := api.EnvelopeAround(&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: r.APIVersion(), Kind: r.ListKind}}, l.size)
	l.head, l.tail = append(before, l.head...), after
	l.size += len(before) + len(after)
	return l, nil
}

// appendFieldHead appends what stands before a length-delimited protobuf field.
func appendFieldHead(out []byte, number byte, size int) []byte {
	return binary.AppendUvarint(append(out, number<<3|2), uint64(size))
}
