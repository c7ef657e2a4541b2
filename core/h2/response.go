package h2

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// holdLimit is how much of an answer waits for the rest of it, or for a Flush.
const holdLimit = 4 << 10

// response is the handler's http.ResponseWriter. It is used by one goroutine, but for the deadlines.
type response struct {
	st     *stream
	header http.Header
	status int // 0 before WriteHeader
	fields []field
	few    [8]field // where fields is, as long as it is not more
	begun  bool     // the head has been sent
	flows  bool     // Flush has been called: what is written from then on is sent at once
	broken bool     // by a panic
	length int64
	wrote  int64
	hold   *buffer
	// trailer are the names of fields that the handler has said it will set later.
	trailer []string
}

var (
	_ http.Flusher = (*response)(nil)
	_ interface {
		FlushError() error
		SetReadDeadline(time.Time) error
		SetWriteDeadline(time.Time) error
		EnableFullDuplex() error
		WriteString(string) (int, error)
	} = (*response)(nil)
)

// Header implements http.ResponseWriter.
func (r *response) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}

// WriteHeader implements http.ResponseWriter. The header counts as it is now.
func (r *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("h2: invalid status " + strconv.Itoa(status))
	}
	if r.status != 0 {
		return
	}
	if status < 200 {
		c := r.st.c
		c.mu.Lock()
		defer c.mu.Unlock()
		if status == http.StatusContinue {
			r.st.expects = false
		}
		if r.st.err == nil && status != http.StatusSwitchingProtocols { // there is no such thing in HTTP/2
			c.inform(r.st, status, r.header)
			c.flush()
		}
		return
	}
	r.status = status
	r.declare()
	r.fields = r.few[:0]
	for name, values := range r.header {
		if !slices.Contains(r.trailer, name) {
			r.fields = appendField(r.fields, name, values)
		}
	}
	if text := r.header.Get("Content-Length"); text != "" {
		if n, err := strconv.ParseUint(text, 10, 63); err == nil {
			r.length = int64(n)
		} else {
			r.fields = slices.DeleteFunc(r.fields, func(f field) bool { return f.name == "content-length" })
		}
	}
}

// declare finds the trailer's names.
func (r *response) declare() {
	for _, line := range r.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); httpguts.ValidTrailerHeader(name) {
				r.trailer = append(r.trailer, name)
			}
		}
	}
}

// usual are names that answers often have.
var usual = map[string]string{
	"Content-Type": "content-type", "Content-Length": "content-length", "Cache-Control": "cache-control", "Date": "date",
	"Audit-Id": "audit-id", "Content-Encoding": "content-encoding", "Vary": "vary", "Warning": "warning", "Retry-After": "retry-after",
}

// sent returns how a name of the header is written, and false if it is not for the client or has no place in HTTP/2 (RFC 9113, section
// 8.2.2).
func sent(name string) (string, bool) {
	if have, ok := usual[name]; ok {
		return have, true
	}
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade":
		return "", false
	}
	return strings.ToLower(name), !strings.HasPrefix(name, http.TrailerPrefix) && httpguts.ValidHeaderFieldName(name)
}

// appendField appends the values that a field may have.
func appendField(fields []field, name string, values []string) []field {
	lower, ok := sent(name)
	if !ok {
		return fields
	}
	for _, v := range values {
		if validValue(v) {
			fields = append(fields, field{lower, v})
		}
	}
	return fields
}

// validValue tells what has no control characters but tabs, as httpguts.ValidHeaderFieldValue does.
func validValue(v string) bool {
	for i := range len(v) {
		if b := v[i]; b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}

// hasBody tells whether an answer may have one.
func (r *response) hasBody() bool {
	return r.status >= 200 && r.status != http.StatusNoContent && r.status != http.StatusNotModified
}

// Write implements http.ResponseWriter.
func (r *response) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if !r.hasBody() {
		return 0, http.ErrBodyNotAllowed
	}
	if r.length >= 0 && r.wrote+int64(len(p)) > r.length {
		return 0, http.ErrContentLength
	}
	r.wrote += int64(len(p))
	if r.st.req.Method == http.MethodHead {
		return len(p), nil
	}
	complete := r.length >= 0 && r.wrote == r.length && len(r.trailer) == 0
	if !complete && !r.flows && r.held()+len(p) <= holdLimit {
		if r.hold == nil {
			r.hold = takeBuffer()
		}
		r.hold.b = append(r.hold.b, p...)
		return len(p), nil
	}
	if err := r.send(p, complete); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString implements io.StringWriter.
func (r *response) WriteString(s string) (int, error) { return r.Write([]byte(s)) }

func (r *response) held() int {
	if r.hold == nil {
		return 0
	}
	return len(r.hold.b)
}

// send sends what is held and p.
func (r *response) send(p []byte, end bool) error {
	c := r.st.c
	if !r.begun {
		r.sniff(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.st.err != nil {
		return r.st.err
	}
	if c.err != nil {
		return c.err
	}
	if r.st.answered {
		return errShut
	}
	if !r.begun {
		r.begin(end && len(p)+r.held() == 0)
	}
	var err error
	if hold := r.hold; hold != nil {
		r.hold = nil
		err = c.data(r.st, hold.b, end && len(p) == 0)
		hold.free()
	}
	if err == nil && (len(p) > 0 || end) && !r.st.answered {
		err = c.data(r.st, p, end)
	}
	c.flush()
	return err
}

// sniff adds the fields that net/http's servers add.
func (r *response) sniff(p []byte) {
	if _, has := r.header["Date"]; !has {
		r.fields = append(r.fields, field{"date", date()})
	}
	if _, has := r.header["Content-Type"]; has || r.header.Get("Content-Encoding") != "" || !r.hasBody() {
		return
	}
	if r.hold != nil {
		p = append(r.hold.b, p[:min(len(p), 512)]...) // more than that is not looked at
	}
	if len(p) > 0 {
		r.fields = append(r.fields, field{"content-type", http.DetectContentType(p)})
	}
}

// begin sends the head. It is called with the lock.
func (r *response) begin(end bool) {
	r.begun = true
	r.st.c.headers(r.st.id, r.status, r.fields, end)
	r.fields = nil
	if end {
		r.st.c.answer(r.st)
	}
}

// Flush implements http.Flusher.
func (r *response) Flush() { _ = r.FlushError() }

// FlushError is for http.ResponseController. Who flushes once wants what comes after it to be sent without delay as well: it is sent by
// Write then, which spares a copy.
func (r *response) FlushError() error {
	if r.flows {
		return nil
	}
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	r.flows = true
	return r.send(nil, false)
}

// finish sends what is left.
func (r *response) finish() {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	head := r.st.req.Method == http.MethodHead
	if !r.begun && r.length < 0 && r.hasBody() && len(r.trailer) == 0 && (!head || r.wrote > 0) {
		r.fields = append(r.fields, field{"content-length", strconv.FormatInt(r.wrote, 10)})
	}
	trailer := r.trailing()
	if r.st.settled() {
		return
	}
	if !head && r.length > r.wrote && r.hasBody() {
		r.broken = true // less than was promised
		return
	}
	if err := r.send(nil, len(trailer) == 0); err != nil || len(trailer) == 0 {
		return
	}
	c := r.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.st.err == nil && c.err == nil {
		c.headers(r.st.id, 0, trailer, true)
		c.answer(r.st)
		c.flush()
	}
}

// settled tells that nothing more can be sent.
func (st *stream) settled() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.answered || st.err != nil || st.c.err != nil
}

// trailing are the fields after the body.
func (r *response) trailing() []field {
	var out []field
	for _, name := range r.trailer {
		out = appendField(out, name, r.header[name])
	}
	for key, values := range r.header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok && httpguts.ValidTrailerHeader(http.CanonicalHeaderKey(name)) {
			out = appendField(out, name, values)
		}
	}
	return out
}

// SetReadDeadline is for http.ResponseController.
func (r *response) SetReadDeadline(t time.Time) error {
	return r.st.setDeadline(&r.st.readBy, t)
}

// SetWriteDeadline is for http.ResponseController. It counts when a write has to wait for the client.
func (r *response) SetWriteDeadline(t time.Time) error {
	return r.st.setDeadline(&r.st.writeBy, t)
}

// EnableFullDuplex is for http.ResponseController; there is nothing else in HTTP/2.
func (r *response) EnableFullDuplex() error { return nil }

// dated is a second and what it is called in a Date field.
type dated struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[dated]

func date() string {
	now := time.Now()
	if have := lastDate.Load(); have != nil && have.second == now.Unix() {
		return have.text
	}
	made := &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
	lastDate.Store(made)
	return made.text
}
