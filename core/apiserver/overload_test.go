package apiserver_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
)

// narrow gives a user a level of their own that lets no request wait; it returns the schema and the level.
func narrow(t *testing.T, c *cluster, name string, shares int32) (*flowcontrolv1.FlowSchema, *flowcontrolv1.PriorityLevelConfiguration) {
	t.Helper()
	client := c.typed(t).FlowcontrolV1()
	level, err := client.PriorityLevelConfigurations().Create(t.Context(), &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{Type: "Limited", Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
			NominalConcurrencyShares: &shares, BorrowingLimitPercent: new(int32(0)), LimitResponse: flowcontrolv1.LimitResponse{Type: "Reject"},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := client.FlowSchemas().Create(t.Context(), &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: flowcontrolv1.FlowSchemaSpec{
			MatchingPrecedence: 50, PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: name},
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{Kind: "User", User: &flowcontrolv1.UserSubject{Name: name}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{"*"}, ClusterScope: true,
				}},
				NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_ = client.FlowSchemas().Delete(ctx, name, metav1.DeleteOptions{})
		_ = client.PriorityLevelConfigurations().Delete(ctx, name, metav1.DeleteOptions{})
	})
	return schema, level
}

// hold begins a request whose body does not end before end is called.
func hold(t *testing.T, c *cluster, config *rest.Config, namespace string) (end func() int) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	body, feed := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.web.URL+"/api/v1/namespaces/"+namespace+"/configmaps", body)
	if err != nil {
		t.Fatal(err)
	}
	code := make(chan int, 1)
	go func() {
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			code <- 0
			return
		}
		resp.Body.Close()
		code <- resp.StatusCode
	}()
	if _, err := io.WriteString(feed, `{"metadata":{"generateName":"x-"}`); err != nil {
		t.Fatal(err)
	}
	return func() int {
		_, _ = io.WriteString(feed, `}`)
		feed.Close()
		return <-code
	}
}

func TestOverload(t *testing.T) {
	c, namespace := shared, shared.namespace(t)
	schema, level := narrow(t, c, "narrow-one", 1)
	config := c.config(t, "narrow-one", "testers")
	path := "/api/v1/namespaces/" + namespace + "/configmaps"
	other := func() answer { return c.raw(t, c.config(t, "ann", "testers"), "GET", path, "") }
	quiet := c.raw(t, config, "GET", path, "")
	if quiet.Code != http.StatusOK {
		t.Fatalf("quiet: %d %s", quiet.Code, quiet.Body)
	}
	if s, l := quiet.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID), quiet.Header.Get(flowcontrolv1.ResponseHeaderMatchedPriorityLevelConfigurationUID); s != string(schema.UID) || l != string(level.UID) {
		t.Errorf("the headers tell of %q and %q, want %q and %q", s, l, schema.UID, level.UID)
	}
	var held []func() int
	for range 3 { // 1 of 246 shares of the 600 seats that all tests have
		held = append(held, hold(t, c, config, namespace))
	}
	metrics := func() string { return string(c.request(t, "GET", "/metrics", "").Body) }
	const executing = `apiserver_flowcontrol_current_executing_seats{flow_schema="narrow-one",priority_level="narrow-one"} 3`
	for end := time.Now().Add(20 * time.Second); !strings.Contains(metrics(), executing); {
		if time.Now().After(end) {
			t.Fatal("the requests are not executed")
		}
	}
	got := c.raw(t, config, "GET", path, "")
	if s := got.status(t); got.Code != http.StatusTooManyRequests || s.Reason != metav1.StatusReasonTooManyRequests || got.Header.Get("Retry-After") != "1" {
		t.Errorf("flooded: %d %s, Retry-After %q", got.Code, got.Body, got.Header.Get("Retry-After"))
	}
	if got := c.raw(t, config, "GET", "/version-of-nothing", ""); got.Code != http.StatusTooManyRequests {
		t.Errorf("a path: %d", got.Code)
	}
	if got := other(); got.Code != http.StatusOK {
		t.Errorf("another user: %d %s", got.Code, got.Body)
	}
	if got := c.request(t, "GET", path, ""); got.Code != http.StatusOK {
		t.Errorf("an administrator: %d %s", got.Code, got.Body)
	}
	text := metrics()
	for _, line := range []string{
		`apiserver_flowcontrol_rejected_requests_total{flow_schema="narrow-one",priority_level="narrow-one",reason="concurrency-limit"} 2`,
		`apiserver_flowcontrol_nominal_limit_seats{priority_level="narrow-one"} 3`,
		`apiserver_flowcontrol_work_estimated_seats_count{flow_schema="narrow-one",priority_level="narrow-one"} 6`,
		`apiserver_flowcontrol_work_estimated_seats_bucket{flow_schema="narrow-one",priority_level="narrow-one",le="1"} 6`,
		`apiserver_current_inflight_requests{request_kind="mutating"} 3`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no metric %s", line)
		}
	}
	for _, name := range []string{"dump_priority_levels", "dump_queues", "dump_requests"} {
		if got := c.request(t, "GET", "/debug/api_priority_and_fairness/"+name, ""); got.Code != http.StatusOK || !strings.Contains(string(got.Body), "PriorityLevelName") {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	// Changes hold for the next request.
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		client := c.typed(t).FlowcontrolV1().PriorityLevelConfigurations()
		now, err := client.Get(t.Context(), level.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		*now.Spec.Limited.NominalConcurrencyShares = 100
		_, err = client.Update(t.Context(), now, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.raw(t, config, "GET", path, ""); got.Code != http.StatusOK {
		t.Errorf("with more shares: %d %s", got.Code, got.Body)
	}
	for _, end := range held {
		if code := end(); code != http.StatusCreated {
			t.Errorf("a request that was held: %d", code)
		}
	}
}

// TestWatchesTakeNoSeats: a watch that has begun leaves its seat to others.
func TestWatchesTakeNoSeats(t *testing.T) {
	c, namespace := shared, shared.namespace(t)
	narrow(t, c, "narrow-two", 1)
	config := c.config(t, "narrow-two", "testers")
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		query := []string{"?watch=true", "?watch=true&resourceVersion=1", "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"}[i%3]
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.web.URL+"/api/v1/namespaces/"+namespace+"/configmaps"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if i%3 == 2 {
			if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("watch %d: %d", i, resp.StatusCode)
		}
	}
	retry := func() int { return c.raw(t, config, "GET", "/api/v1/namespaces/"+namespace+"/configmaps", "").Code }
	// The seat of the last one may be left a moment after its first event was read.
	for code := retry(); code != http.StatusOK; code = retry() {
		if code != http.StatusTooManyRequests || t.Context().Err() != nil {
			t.Fatalf("got %d", code)
		}
	}
}

// timed is an answer with deadlines.
type timed struct {
	sink
	readBy, writeBy time.Time
}

func (a *timed) SetReadDeadline(t time.Time) error  { a.readBy = t; return nil }
func (a *timed) SetWriteDeadline(t time.Time) error { a.writeBy = t; return nil }

// A request whose body does not come must end, and so must an answer that nobody takes, but for watches, which have no end.
func TestRequestsHaveAnEnd(t *testing.T) {
	for path, bounded := range map[string]bool{"/api/v1/namespaces/default/configmaps": true, "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1": false} {
		a, begun := &timed{sink: sink{header: http.Header{}}}, time.Now()
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.TLS = certified("jo")
		shared.api.ServeHTTP(a, req)
		if a.code != http.StatusOK {
			t.Fatalf("%s: status %d", path, a.code)
		}
		if reads := a.readBy.Sub(begun); bounded != (reads > 50*time.Second && reads < 2*time.Minute) {
			t.Errorf("%s: the body is read for %v", path, reads)
		}
		if writes := a.writeBy.Sub(a.readBy); bounded && (writes <= 0 || writes > time.Minute) {
			t.Errorf("%s: the answer may be taken for %v more", path, writes)
		}
	}
}
