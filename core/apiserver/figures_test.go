package apiserver_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// figures are those lines of /metrics that tell of the resource, without their values.
func (c *cluster) figures(t *testing.T, resource string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(string(c.request(t, http.MethodGet, "/metrics", "").Body)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && strings.Contains(name, `resource="`+resource+`"`) {
			out[name+"}"] = value
		}
	}
	return out
}

// TestFigures asks for what dashboards of Kubernetes ask for, by its names and labels.
func TestFigures(t *testing.T) {
	c := shared
	widgets := define(t, c, "Measured").Namespace(c.namespace(t))
	path := "/apis/example.com/v1/namespaces/default/measureds"
	must(widgets.Create(t.Context(), custom("Measured", "a", map[string]any{"color": "red"}), metav1.CreateOptions{}))(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client := must(rest.HTTPClientFor(c.admin(t)))(t)
	req := must(http.NewRequestWithContext(ctx, "GET", c.web.URL+"/apis/example.com/v1/measureds?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", nil))(t)
	resp := must(client.Do(req))(t)
	defer resp.Body.Close()
	buf := make([]byte, 1<<16)
	for text := ""; !strings.Contains(text, "initial-events-end"); {
		n := must(resp.Body.Read(buf))(t)
		text += string(buf[:n])
	}
	c.request(t, http.MethodGet, path, "")
	c.request(t, http.MethodGet, path+"/none", "")
	c.request(t, http.MethodDelete, path+"?dryRun=All", "")
	c.request(t, http.MethodPatch, path+"/a?fieldManager=m", `{"apiVersion":"example.com/v1","kind":"Measured","spec":{"color":"red"}}`, "Content-Type", "application/apply-patch+yaml")
	const group = `group="example.com",resource="measureds"`
	of := func(scope, verb, rest string) string {
		return `component="apiserver",dry_run="",` + rest + group + `,scope="` + scope + `",subresource="",verb="` + verb + `",version="v1"}`
	}
	want := map[string]string{
		`apiserver_request_total{code="201",` + of("resource", "POST", ""):                                                       "1",
		`apiserver_request_total{code="200",` + of("namespace", "LIST", ""):                                                      "1",
		`apiserver_request_total{code="404",` + of("resource", "GET", ""):                                                        "1",
		`apiserver_request_total{code="201",` + of("resource", "APPLY", ""):                                                      "1",
		`apiserver_request_total{code="200",` + strings.Replace(of("namespace", "DELETE", ""), `dry_run=""`, `dry_run="All"`, 1): "1",
		`apiserver_request_duration_seconds_count{` + of("namespace", "LIST", ""):                                                "1",
		`apiserver_request_sli_duration_seconds_count{` + strings.Replace(of("namespace", "LIST", ""), `dry_run="",`, "", 1):     "1",
		`apiserver_response_sizes_count{` + strings.Replace(of("namespace", "LIST", ""), `dry_run="",`, "", 1):                   "1",
		`apiserver_longrunning_requests{` + strings.Replace(of("cluster", "WATCH", ""), `dry_run="",`, "", 1):                    "1",
		`apiserver_watch_list_duration_seconds_count{` + group + `,scope="cluster",version="v1"}`:                                "1",
		`apiserver_resource_objects{` + group + `}`:                                                                              "2",
		`apiserver_storage_objects{resource="measureds.example.com"}`:                                                            "2",
		`etcd_requests_total{group="example.com",operation="create",resource="measureds"}`:                                       "2",
		`etcd_request_duration_seconds_count{group="example.com",operation="create",resource="measureds"}`:                       "2",
	}
	// What is counted when a handler ends comes after its answer.
	deadline := time.Now().Add(10 * time.Second)
	for {
		have := c.figures(t, "measureds")
		for name, value := range c.figures(t, "measureds.example.com") {
			have[name] = value
		}
		missing := []string{}
		for name, value := range want {
			if have[name] != value {
				missing = append(missing, name+" is "+have[name]+", want "+value)
			}
		}
		events := have[`apiserver_watch_events_total{`+group+`,version="v1"}`]
		if len(missing) == 0 && events != "" && events == have[`apiserver_watch_events_sizes_count{`+group+`,version="v1"}`] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("events %s:\n%s\nof\n%v", events, strings.Join(missing, "\n"), have)
		}
	}
	all := string(c.request(t, http.MethodGet, "/metrics", "").Body)
	for _, name := range []string{
		`kubernetes_build_info{`, "process_cpu_seconds_total ", "process_resident_memory_bytes ", "go_goroutines ", "apiserver_current_inflight_requests{",
		"apiserver_flowcontrol_current_executing_requests{", "apiserver_flowcontrol_nominal_limit_seats{", "apiserver_admission_step_admission_duration_seconds_count{",
	} {
		if !strings.Contains(all, "\n"+name) {
			t.Errorf("there is no %s", name)
		}
	}
}
