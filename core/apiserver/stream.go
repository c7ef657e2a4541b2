package apiserver

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// A watch without a timeout ends after a random time from this to twice this, so that clients do
	// not come back all at once.
	watchTime = 30 * time.Minute
	// stallTime is how long a client may leave its socket full before its watch is cut.
	stallTime = 30 * time.Second
)

// serveWatch streams events until the client leaves, the time is over or the server stops.
func (s *Server) serveWatch(w http.ResponseWriter, c *call) {
	o, err := parseListOptions(c.query)
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	if c.q.Name != "" {
		// GET …?watch of a single object is a list with its name.
		c.query.Set("fieldSelector", "metadata.name="+c.q.Name)
		if o, err = parseListOptions(c.query); err != nil {
			s.fail(w, c.view, err)
			return
		}
	}
	running, err := s.Watch(c.ctx, c.q, o)
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	defer running.Close()
	if o.Timeout <= 0 {
		o.Timeout = watchTime + rand.N(watchTime)
	}
	ctx, cancel := context.WithTimeout(c.ctx, o.Timeout)
	defer cancel()
	spoken := c.q.Spoken()
	f := &frames{
		c: c, out: w, control: http.NewResponseController(w), include: c.query.Get("includeObject"),
		figures: s.figures.watch(spoken.Group, spoken.Version, spoken.Plural),
	}
	if initial := o.InitialEvents; initial != nil && *initial {
		key, begun := c.key(), time.Now()
		f.listed = func() {
			s.figures.listing.WithLabelValues(key.group, key.version, key.resource, key.scope).Observe(time.Since(begun).Seconds())
		}
	}
	f.begin()
	if !running.Ready() {
		c.ticket.Leave()
	}
	f.run(ctx, running)
}

// frames writes watch events in the framing of the negotiated format.
type frames struct {
	c       *call
	out     http.ResponseWriter
	control *http.ResponseController
	buf     []byte
	include string // what rows of tables have of their objects
	tables  int
	figures *watchFigures
	listed  func()    // once, when the initial list is sent; nil for nothing
	writeBy time.Time // the deadline of writes
}

func (f *frames) begin() {
	format := f.c.view.format
	switch format {
	case typeProtobuf:
		format += ";stream=watch"
	case typeCBOR:
		format = typeCBORSequence
	}
	f.out.Header().Set("Content-Type", format)
	f.out.Header().Set("Cache-Control", "no-cache, private")
	f.out.WriteHeader(http.StatusOK)
	_ = f.control.Flush()
}

func (f *frames) run(ctx context.Context, running *Watch) {
	// The next request of the connection may have it as its own.
	defer func() { _ = f.control.SetWriteDeadline(time.Time{}) }()
	var events []WatchEvent
	for {
		var err error
		events, err = running.Next(ctx, events[:0])
		for i := range events {
			if err := f.event(&events[i]); err != nil {
				_ = f.flush()
				return
			}
		}
		f.failed(err)
		if f.flush() != nil || err != nil {
			return
		}
		f.c.ticket.Leave()
		clear(events)
	}
}

// failed tells the client what it can act on.
func (f *frames) failed(err error) {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		body := status.Status()
		body.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		f.object(watch.Error, &body)
	}
}

func (f *frames) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	if now := time.Now(); f.writeBy.Sub(now) < stallTime/2 {
		// One that passes while nothing is written harms nobody.
		f.writeBy = now.Add(stallTime)
		_ = f.control.SetWriteDeadline(f.writeBy)
	}
	if _, err := f.out.Write(f.buf); err != nil {
		return err
	}
	f.buf = f.buf[:0]
	if cap(f.buf) > 1<<16 {
		f.buf = nil
	}
	return f.control.Flush()
}

// event appends one frame and writes what has come together when it is much.
func (f *frames) event(ev *WatchEvent) error {
	if ev.Type == watch.Bookmark {
		f.bookmark(ev)
		if ev.InitialEnd && f.listed != nil {
			f.listed()
		}
		return nil
	}
	entry, err := shown(f.c.ctx, f.c.q, ev.Entry)
	if err != nil {
		f.failed(err)
		return err
	}
	data, err := encodeEntry(f.c.view.plain(), f.c.q.Spoken(), entry, tableOptions{
		include: f.include, bare: f.tables > 0,
	})
	if err != nil {
		return err
	}
	f.tables++
	f.frame(ev.Type, data)
	if len(f.buf) > 1<<15 {
		return f.flush()
	}
	return nil
}

func (f *frames) bookmark(ev *WatchEvent) {
	r := f.c.q.Spoken()
	obj := r.New()
	r.SetType(obj)
	obj.SetResourceVersion(strconv.FormatInt(ev.Revision, 10))
	if ev.InitialEnd {
		obj.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	switch f.c.view.as {
	case "Table":
		t := &metav1.Table{
			TypeMeta:          metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "Table"},
			ListMeta:          metav1.ListMeta{ResourceVersion: obj.GetResourceVersion()},
			ColumnDefinitions: r.Columns,
			Rows:              []metav1.TableRow{{Cells: make([]any, len(r.Columns)), Object: runtime.RawExtension{Object: partial(obj)}}},
		}
		f.object(watch.Bookmark, t)
	case "":
		f.object(watch.Bookmark, obj)
	default:
		f.object(watch.Bookmark, partial(obj))
	}
}

func (f *frames) object(kind watch.EventType, obj runtime.Object) {
	if data, err := encode(f.c.view.plain(), obj); err == nil {
		f.frame(kind, data)
	}
}

// plain is the view without what frames cannot carry.
func (v view) plain() view {
	v.pretty = false
	if v.format == typeYAML {
		v.format = typeJSON
	}
	return v
}

func (f *frames) frame(kind watch.EventType, data []byte) {
	f.figures.events.Inc()
	f.figures.sizes.Observe(float64(len(data)))
	if f.c.view.format == typeCBOR {
		if event, err := cborFrame(kind, data); err == nil {
			f.buf = append(f.buf, event...)
		}
		return
	}
	if f.c.view.format != typeProtobuf {
		f.buf = append(append(append(f.buf, `{"type":"`...), kind...), `","object":`...)
		f.buf = append(append(f.buf, data...), "}\n"...)
		return
	}
	// A length, then a metav1.WatchEvent: the type is field 1, a RawExtension field 2.
	event := metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: data}}
	size := event.Size()
	f.buf = binary.BigEndian.AppendUint32(f.buf, uint32(size))
	start := len(f.buf)
	f.buf = append(f.buf, make([]byte, size)...)
	_, _ = event.MarshalToSizedBuffer(f.buf[start:]) // a buffer of its own size cannot fail
}
