package apiserver

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gantryio/gantry/core/h2"
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
		figures: s.figures.watch(spoken.Group, spoken.Version, spoken.Plural), alone: converts(c.q),
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

// frames writes watch events in the framing of the negotiated format. It is used by one goroutine at a time: the request's handler, or
// the one that runs the connection's tasks.
type frames struct {
	c       *call
	out     http.ResponseWriter
	control *http.ResponseController
	include string // what rows of tables have of their objects
	tables  int
	figures *watchFigures
	listed  func() // once, when the initial list is sent; nil for nothing

	events  []WatchEvent // room for them
	head    []byte       // room for that of a frame
	buf     []byte
	writeBy time.Time // the deadline of writes

	// alone says that the handler writes everything: the answer has no tasks, or what it is about has to be converted, which may take time.
	alone bool
	// What a task has left to the handler, and why the watch ends.
	left    []WatchEvent
	leftErr error
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
	for {
		events, err := running.Next(ctx, f.events[:0])
		if !f.all(events, err) {
			return
		}
		f.c.ticket.Leave()
		if !f.attend(ctx, running) {
			return
		}
	}
}

// attend has a task of the connection write what comes while this goroutine waits: of a thousand watchers that hear of an event none
// has to be woken then. It returns when the client does not take things as they come, and false when the watch is over.
func (f *frames) attend(ctx context.Context, running *Watch) bool {
	if f.alone {
		return true
	}
	ends := make(chan struct{})
	var task *h2.Task
	task = h2.TaskOf(f.out, func() {
		if f.left == nil && f.leftErr == nil && !f.pass(ctx, running, task) {
			close(ends)
		}
	})
	if f.alone = task == nil; f.alone {
		return true
	}
	running.Notify(task.Wake)
	select {
	case <-ends:
	case <-ctx.Done():
	}
	running.Notify(nil)
	task.Stop()
	left, err := f.left, f.leftErr
	f.left, f.leftErr = nil, nil
	return f.all(left, err)
}

// pass writes what there is, and returns false when it has left something to the handler.
func (f *frames) pass(ctx context.Context, running *Watch, task *h2.Task) bool {
	events, err := running.Poll(ctx, f.events[:0])
	for i := range events {
		made, failed := f.frame(&events[i])
		if failed != nil || !task.Append(made.head, made.object, made.tail) {
			f.left, f.leftErr = events[i:], err
			return false
		}
		f.count(made)
	}
	f.leftErr = err
	f.keep(events)
	return err == nil
}

// all writes events, and why there are no more, and returns false when the watch is over.
func (f *frames) all(events []WatchEvent, err error) bool {
	for i := range events {
		if err := f.event(&events[i]); err != nil {
			f.failed(err)
			_ = f.flush()
			return false
		}
	}
	if err != nil {
		f.failed(err)
	}
	f.keep(events)
	return f.flush() == nil && err == nil
}

// keep keeps the room of events that have been written.
func (f *frames) keep(events []WatchEvent) {
	clear(events)
	if f.events = events[:0]; cap(events) > mostEvents {
		f.events = nil
	}
}

// mostEvents is for how many a watch that has nothing to write keeps room.
const mostEvents = 64

// failed tells the client what it can act on.
func (f *frames) failed(err error) {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return
	}
	body := status.Status()
	body.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	if data, err := encode(f.c.view.plain(), &body); err == nil {
		f.append(f.wrap(watch.Error, data))
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
	made, err := f.frame(ev)
	if err != nil {
		return err
	}
	f.append(made)
	if ev.InitialEnd && f.listed != nil {
		f.listed()
	}
	if len(f.buf) > 1<<15 {
		return f.flush()
	}
	return nil
}

// frame is an event as it is written: an object between what its format wants before and after it. It is to be used before the next is
// made.
type frame struct{ head, object, tail []byte }

func (f *frames) append(made frame) {
	f.buf = append(append(append(f.buf, made.head...), made.object...), made.tail...)
	f.count(made)
}

func (f *frames) count(made frame) {
	f.figures.events.Inc()
	f.figures.sizes.Observe(float64(len(made.object)))
}

func (f *frames) frame(ev *WatchEvent) (frame, error) {
	if ev.Type == watch.Bookmark {
		data, err := encode(f.c.view.plain(), f.bookmark(ev))
		return f.wrap(watch.Bookmark, data), err
	}
	entry, err := shown(f.c.ctx, f.c.q, ev.Entry)
	if err != nil {
		return frame{}, err
	}
	data, err := encodeEntry(f.c.view.plain(), f.c.q.Spoken(), entry, tableOptions{
		include: f.include, bare: f.tables > 0,
	})
	f.tables++
	return f.wrap(ev.Type, data), err
}

// bookmark is the object of one.
func (f *frames) bookmark(ev *WatchEvent) runtime.Object {
	r := f.c.q.Spoken()
	obj := r.New()
	r.SetType(obj)
	obj.SetResourceVersion(strconv.FormatInt(ev.Revision, 10))
	if ev.InitialEnd {
		obj.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	switch f.c.view.as {
	case "Table":
		return &metav1.Table{
			TypeMeta:          metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "Table"},
			ListMeta:          metav1.ListMeta{ResourceVersion: obj.GetResourceVersion()},
			ColumnDefinitions: r.Columns,
			Rows:              []metav1.TableRow{{Cells: make([]any, len(r.Columns)), Object: runtime.RawExtension{Object: partial(obj)}}},
		}
	case "":
		return obj
	}
	return partial(obj)
}

// plain is the view without what frames cannot carry.
func (v view) plain() view {
	v.pretty = false
	if v.format == typeYAML {
		v.format = typeJSON
	}
	return v
}

// wrap makes a frame of an encoded object.
func (f *frames) wrap(kind watch.EventType, data []byte) frame {
	switch f.c.view.format {
	case typeCBOR:
		event, _ := cborFrame(kind, data) // two fields that can be encoded
		return frame{object: event}
	case typeProtobuf:
		f.head = appendHead(f.head[:0], kind, len(data))
		return frame{head: f.head, object: data}
	}
	f.head = append(append(append(f.head[:0], `{"type":"`...), kind...), `","object":`...)
	return frame{f.head, data, jsonTail}
}

var jsonTail = []byte("}\n")

// appendHead appends what comes before an object of a size in a frame of protobuf: its length, then a metav1.WatchEvent, whose type is
// field 1 and whose RawExtension, with the object as field 1, field 2.
func appendHead(b []byte, kind watch.EventType, size int) []byte {
	raw := protowire.SizeTag(1) + protowire.SizeBytes(size)
	whole := protowire.SizeTag(1) + protowire.SizeBytes(len(kind)) + protowire.SizeTag(2) + protowire.SizeBytes(raw)
	b = binary.BigEndian.AppendUint32(b, uint32(whole))
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendString(b, string(kind))
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(raw))
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(size))
}
