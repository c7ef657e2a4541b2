package apiserver

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/core/upgrade"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestLogOverTwoAgents goes on where the first agent has stopped, once the second knows the pod, and ends with the second.
func TestLogOverTwoAgents(t *testing.T) {
	var asked []string
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "one\n")
			w.Header().Set(http.TrailerPrefix+upgrade.LogPosition, "0.log:1:2:false")
		},
		func(w http.ResponseWriter) { http.Error(w, "pod unknown", http.StatusNotFound) },
		func(w http.ResponseWriter) { _, _ = io.WriteString(w, "two\n") },
	}
	agents := roundTrip(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		answers[len(asked)](w)
		asked = append(asked, r.URL.RawQuery)
		return w.Result(), nil
	})
	log := &agentLog{
		ctx: t.Context(), agents: agents, url: &url.URL{Scheme: "https", Host: "agent"},
		query: url.Values{"follow": {"true"}, "limitBytes": {"100"}, "position": {"a client's"}},
	}
	var err error
	if log.resp, err = log.ask(""); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(log)
	if err != nil || string(text) != "one\ntwo\n" {
		t.Errorf("%q, %v", text, err)
	}
	want := []string{
		"follow=true&limitBytes=100", "follow=true&limitBytes=96&position=0.log%3A1%3A2%3Afalse", "follow=true&limitBytes=96&position=0.log%3A1%3A2%3Afalse",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}
