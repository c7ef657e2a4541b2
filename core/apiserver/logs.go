package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"github.com/gantryio/gantry/core/upgrade"
)

const (
	// logPatience is how long the next agent may take to know the pod, and logAgain the pause between two questions.
	logPatience = 30 * time.Second
	logAgain    = 100 * time.Millisecond
)

// connectLog copies the agent's answer, flushing what a follower waits for.
func (s *Server) connectLog(w http.ResponseWriter, c *call) {
	u, err := s.podTarget(c, "containerLogs")
	if err != nil {
		s.fail(w, jsonView, err)
		return
	}
	if err := checkLogOptions(c.query); err != nil {
		s.fail(w, jsonView, err)
		return
	}
	ctx, cancel := upgrade.Outlive(c.ctx)
	defer cancel()
	log := &agentLog{ctx: ctx, agents: s.Agents, url: u, query: c.query}
	resp, err := log.ask("")
	if err != nil {
		s.fail(w, jsonView, apierrors.NewInternalError(fmt.Errorf("Get %q: %w", u, err)))
		return
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		s.fail(w, jsonView, agentError(c, resp.StatusCode, string(text)))
		return
	}
	log.resp = resp
	defer log.Close()
	if wsstream.IsWebSocketRequest(c.req) { // Each read becomes a message, for clients in browsers.
		_ = wsstream.NewReader(log, true, wsstream.NewDefaultReaderProtocols()).Copy(w, c.req)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	_, _ = io.Copy(flushing{w, http.NewResponseController(w)}, log)
}

// agentLog reads a log from an agent, and goes on with the next one when the agent is replaced.
type agentLog struct {
	ctx    context.Context
	agents http.RoundTripper
	url    *url.URL
	query  url.Values
	resp   *http.Response
	passed int64 // bytes that were read
}

var _ io.ReadCloser = (*agentLog)(nil)

// Read implements io.Reader.
func (l *agentLog) Read(b []byte) (int, error) {
	for {
		n, err := l.resp.Body.Read(b)
		l.passed += int64(n)
		if n > 0 || err == nil {
			return n, nil
		}
		at := l.resp.Trailer.Get(upgrade.LogPosition)
		if !errors.Is(err, io.EOF) || at == "" || !l.goOn(at) {
			return 0, err
		}
	}
}

// Close implements io.Closer.
func (l *agentLog) Close() error { return l.resp.Body.Close() }

func (l *agentLog) ask(position string) (*http.Response, error) {
	u, query := *l.url, url.Values{}
	for name, values := range l.query {
		if name != upgrade.LogPositionParameter {
			query[name] = values
		}
	}
	if position != "" {
		query.Set(upgrade.LogPositionParameter, position)
		if limit, err := strconv.ParseInt(query.Get("limitBytes"), 10, 64); err == nil {
			query.Set("limitBytes", strconv.FormatInt(limit-l.passed, 10))
		}
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(l.ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	return l.agents.RoundTrip(req)
}

// goOn asks until an agent has taken the place of the one before and knows the pod. A pod that is gone by then has no more to say.
func (l *agentLog) goOn(position string) bool {
	for deadline := time.Now().Add(logPatience); time.Now().Before(deadline); {
		resp, err := l.ask(position)
		if err == nil && resp.StatusCode == http.StatusOK {
			l.resp.Body.Close()
			l.resp = resp
			return true
		}
		if err == nil {
			resp.Body.Close()
		}
		select {
		case <-l.ctx.Done():
			return false
		case <-time.After(logAgain):
		}
	}
	return false
}

func checkLogOptions(q url.Values) error {
	for _, name := range []string{"tailLines", "sinceSeconds", "limitBytes"} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n == 0 && name != "tailLines" {
			return apierrors.NewBadRequest(fmt.Sprintf("PodLogOptions \"\" is invalid: %s: Invalid value: %q: must be greater than or equal to 0", name, text))
		}
	}
	return nil
}

type flushing struct {
	w       io.Writer
	control *http.ResponseController
}

func (f flushing) Write(data []byte) (int, error) {
	n, err := f.w.Write(data)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}
