package apiserver_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	reviewv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/pki"
)

// hooks is a webhook server that remembers what it was asked.
type hooks struct {
	web *httptest.Server

	mu    sync.Mutex
	asked []*reviewv1.AdmissionRequest
}

// serveHooks answers by reply, which may be nil for what lets all through.
func serveHooks(t *testing.T, reply func(path string, q *reviewv1.AdmissionRequest) *reviewv1.AdmissionResponse) *hooks {
	t.Helper()
	h := &hooks{}
	h.web = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var review reviewv1.AdmissionReview
		if err := json.NewDecoder(req.Body).Decode(&review); err != nil || review.Kind != "AdmissionReview" {
			t.Errorf("not a review: %v", err)
			return
		}
		h.mu.Lock()
		h.asked = append(h.asked, review.Request)
		h.mu.Unlock()
		answer := &reviewv1.AdmissionResponse{Allowed: true}
		if reply != nil {
			answer = reply(strings.TrimPrefix(req.URL.Path, "/"), review.Request)
		}
		answer.UID = review.Request.UID
		_ = json.NewEncoder(w).Encode(reviewv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: answer})
	}))
	t.Cleanup(h.web.Close)
	return h
}

func (h *hooks) take() []*reviewv1.AdmissionRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.asked
	h.asked = nil
	return out
}

// told prints what was asked, in the order of time.
func (h *hooks) told() []string {
	var out []string
	for _, q := range h.take() {
		out = append(out, strings.TrimSuffix(fmt.Sprintf("%s %s/%s %s", q.Operation, q.Resource.Resource, q.SubResource, q.Name), " "))
	}
	return out
}

func caOf(web *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
}

// hook is a webhook for everything in a namespace, at a path of the server.
func (h *hooks) hook(namespace, path string, resources ...string) admissionv1.MutatingWebhook {
	u, _ := url.JoinPath(h.web.URL, path)
	return admissionv1.MutatingWebhook{
		Name: path + ".example.com", AdmissionReviewVersions: []string{"v1"}, SideEffects: new(admissionv1.SideEffectClassNone),
		ClientConfig:      admissionv1.WebhookClientConfig{URL: &u, CABundle: caOf(h.web)},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.OperationAll},
			Rule:       admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: resources},
		}},
	}
}

// deleteLater deletes what other tests must not meet.
func (c *cluster) deleteLater(t *testing.T, resource, name string) {
	t.Cleanup(func() {
		if _, _, err := c.api.Delete(context.Background(), c.in(resource, "", name), nil); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

func (c *cluster) mutating(t *testing.T, name string, hooks ...admissionv1.MutatingWebhook) {
	t.Helper()
	api := c.typed(t).AdmissionregistrationV1().MutatingWebhookConfigurations()
	must(api.Create(t.Context(), &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: hooks}, metav1.CreateOptions{}))(t)
	c.deleteLater(t, "mutatingwebhookconfigurations", name)
}

func (c *cluster) validating(t *testing.T, name string, hooks ...admissionv1.MutatingWebhook) {
	t.Helper()
	config := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, h := range hooks {
		config.Webhooks = append(config.Webhooks, admissionv1.ValidatingWebhook{
			Name: h.Name, ClientConfig: h.ClientConfig, Rules: h.Rules, FailurePolicy: h.FailurePolicy, MatchPolicy: h.MatchPolicy,
			NamespaceSelector: h.NamespaceSelector, ObjectSelector: h.ObjectSelector, SideEffects: h.SideEffects,
			TimeoutSeconds: h.TimeoutSeconds, AdmissionReviewVersions: h.AdmissionReviewVersions, MatchConditions: h.MatchConditions,
		})
	}
	api := c.typed(t).AdmissionregistrationV1().ValidatingWebhookConfigurations()
	must(api.Create(t.Context(), config, metav1.CreateOptions{}))(t)
	c.deleteLater(t, "validatingwebhookconfigurations", name)
}

func patch(ops string) *reviewv1.AdmissionResponse {
	return &reviewv1.AdmissionResponse{Allowed: true, Patch: []byte(ops), PatchType: new(reviewv1.PatchTypeJSONPatch)}
}

func TestMutatingWebhook(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	h := serveHooks(t, func(string, *reviewv1.AdmissionRequest) *reviewv1.AdmissionResponse {
		return patch(`[{"op": "add", "path": "/metadata/labels", "value": {"injected": "yes"}},
			{"op": "add", "path": "/metadata/uid", "value": "mine"},
			{"op": "add", "path": "/spec/containers/-", "value": {"name": "sidecar", "image": "gantry.local/demo:1"}}]`)
	})
	c.mutating(t, ns, h.hook(ns, "inject", "pods"))
	p := pod("")
	p.GenerateName = "web-"
	got := must(c.typed(t).CoreV1().Pods(ns).Create(t.Context(), p, metav1.CreateOptions{FieldManager: "tester"}))(t)
	if got.Labels["injected"] != "yes" || len(got.Spec.Containers) != 2 || got.Spec.Containers[1].ImagePullPolicy != corev1.PullIfNotPresent {
		t.Errorf("not injected and defaulted: %v %+v", got.Labels, got.Spec.Containers)
	}
	if got.UID == "mine" || got.UID == "" || got.CreationTimestamp.IsZero() || !strings.HasPrefix(got.Name, "web-") {
		t.Errorf("a webhook has set what only the server may: %+v", got.ObjectMeta)
	}
	asked := h.take()
	if len(asked) != 1 {
		t.Fatalf("asked %d times", len(asked))
	}
	q := asked[0]
	var sent corev1.Pod
	if err := json.Unmarshal(q.Object.Raw, &sent); err != nil {
		t.Fatal(err)
	}
	if sent.UID != "" || sent.Name != "" || sent.GenerateName != "web-" || sent.Kind != "Pod" || sent.Spec.ServiceAccountName != "default" {
		t.Errorf("sent %+v", sent)
	}
	q.Object.Raw = nil
	want := &reviewv1.AdmissionRequest{
		UID: q.UID, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		RequestKind: &metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, RequestResource: &metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Namespace: ns, Operation: reviewv1.Create, DryRun: new(false),
	}
	want.UserInfo.Username, want.UserInfo.Groups = "admin", []string{"system:masters", "system:authenticated"}
	want.UserInfo.Extra = q.UserInfo.Extra
	want.Options.Raw = []byte(`{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1","fieldManager":"tester"}`)
	if diff := cmp.Diff(want, q); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestMutatingWebhooksInOrder(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	h := serveHooks(t, func(path string, q *reviewv1.AdmissionRequest) *reviewv1.AdmissionResponse {
		var cm corev1.ConfigMap
		_ = json.Unmarshal(q.Object.Raw, &cm)
		return patch(fmt.Sprintf(`[{"op": "add", "path": "/data/order", "value": %q}]`, cm.Data["order"]+path[:1]))
	})
	again, once := h.hook(ns, "again", "configmaps"), h.hook(ns, "once", "configmaps")
	again.ReinvocationPolicy = new(admissionv1.IfNeededReinvocationPolicy)
	c.mutating(t, ns+"-b", once)
	c.mutating(t, ns+"-a", again)
	got := must(c.typed(t).CoreV1().ConfigMaps(ns).Create(t.Context(), configMap("x", "k", "v"), metav1.CreateOptions{}))(t)
	if got.Data["order"] != "aoa" {
		t.Errorf("order %q, want a, o, and a again", got.Data["order"])
	}
}

func TestValidatingWebhookOfAllWrites(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	refuse := false
	h := serveHooks(t, func(path string, _ *reviewv1.AdmissionRequest) *reviewv1.AdmissionResponse {
		if refuse {
			return &reviewv1.AdmissionResponse{Warnings: []string{"mind \"this\"\n"}, Result: &metav1.Status{Message: "not " + path, Code: 418}}
		}
		return &reviewv1.AdmissionResponse{Allowed: true, Warnings: []string{"careful"}}
	})
	c.validating(t, ns, h.hook(ns, "never", "*/*"))
	base := "/api/v1/namespaces/" + ns + "/configmaps"
	merge, apply := []string{"Content-Type", string(types.MergePatchType)}, []string{"Content-Type", string(types.ApplyYAMLPatchType)}
	writes := []struct {
		method, path, body string
		header             []string
	}{
		{http.MethodPost, base, `{"metadata":{"name":"x"}}`, nil},
		{http.MethodPut, base + "/x", `{"metadata":{"name":"x"},"data":{"a":"b"}}`, nil},
		{http.MethodPatch, base + "/x", `{"data":{"a":"c"}}`, merge},
		{http.MethodPatch, base + "/x?fieldManager=m&force=true", `{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"d"}}`, apply},
		{http.MethodPatch, base + "/y?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"d"}}`, apply},
		{http.MethodDelete, base + "/x", "", nil},
		{http.MethodDelete, base, "", nil},
	}
	for _, refuse = range []bool{true, false} {
		for i, w := range writes {
			if refuse && i > 0 && i != 4 {
				continue // there is no x yet
			}
			got := c.request(t, w.method, w.path, w.body, w.header...)
			if !refuse {
				if got.Code >= 300 || got.Header.Get("Warning") != `299 - "careful"` {
					t.Errorf("%s %s: %d %q %s", w.method, w.path, got.Code, got.Header.Values("Warning"), got.Body)
				}
				continue
			}
			if s := got.status(t); s.Code != 418 || s.Message != `admission webhook "never.example.com" denied the request: not never` {
				t.Errorf("%s %s: %+v", w.method, w.path, s)
			}
			if got.Header.Get("Warning") != `299 - "mind \"this\" "` {
				t.Errorf("warning %q", got.Header.Values("Warning"))
			}
		}
	}
	want := []string{
		"CREATE configmaps/ x", "CREATE configmaps/ y", "CREATE configmaps/ x", "UPDATE configmaps/ x", "UPDATE configmaps/ x", "UPDATE configmaps/ x",
		"CREATE configmaps/ y", "DELETE configmaps/ x", "DELETE configmaps/ y",
	}
	if diff := cmp.Diff(want, h.told()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestWebhookOfSubresources(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	api := c.typed(t)
	h := serveHooks(t, func(_ string, q *reviewv1.AdmissionRequest) *reviewv1.AdmissionResponse {
		if q.SubResource == "scale" {
			return patch(`[{"op": "replace", "path": "/spec/replicas", "value": 2}]`)
		}
		return &reviewv1.AdmissionResponse{Allowed: q.Operation != reviewv1.Connect}
	})
	p := pod("p")
	p.Spec.NodeName = ""
	must(api.CoreV1().Pods(ns).Create(t.Context(), p, metav1.CreateOptions{}))(t)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: pod("").Spec},
	}}
	must(api.AppsV1().Deployments(ns).Create(t.Context(), d, metav1.CreateOptions{}))(t)
	c.mutating(t, ns, h.hook(ns, "all", "*/*"))
	scale := must(api.AppsV1().Deployments(ns).UpdateScale(t.Context(), "d", &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: ns}, Spec: autoscalingv1.ScaleSpec{Replicas: 7},
	}, metav1.UpdateOptions{}))(t)
	if scale.Spec.Replicas != 2 {
		t.Errorf("%d replicas, want the webhook's 2", scale.Spec.Replicas)
	}
	if err := api.CoreV1().Pods(ns).Bind(t.Context(), &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Target: corev1.ObjectReference{Name: "n"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	got := c.request(t, http.MethodPost, "/api/v1/namespaces/"+ns+"/pods/p/exec?command=ls&command=-l&stdout=true&container=main", "")
	if s := got.status(t); s.Message != `admission webhook "all.example.com" denied the request without explanation` {
		t.Errorf("exec: %+v", s)
	}
	if err := api.CoreV1().Pods(ns).EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "p"}}); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, q := range h.take() {
		told = append(told, fmt.Sprintf("%s %s/%s %s", q.Operation, q.Resource.Resource, q.SubResource, q.Kind.Kind))
		if q.Operation == reviewv1.Connect && string(q.Object.Raw) != `{"kind":"PodExecOptions","apiVersion":"v1","stdout":true,"container":"main","command":["ls","-l"]}` {
			t.Errorf("exec: %s", q.Object.Raw)
		}
		if q.SubResource == "scale" && !strings.Contains(string(q.OldObject.Raw), `"kind":"Scale"`) {
			t.Errorf("old scale: %s", q.OldObject.Raw)
		}
	}
	want := []string{"UPDATE deployments/scale Scale", "CREATE pods/binding Binding", "CONNECT pods/exec PodExecOptions", "CREATE pods/eviction Eviction"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestWebhookMatches(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	h := serveHooks(t, nil)
	hook := h.hook(ns, "some", "horizontalpodautoscalers", "configmaps", "namespaces")
	hook.Rules[0].APIVersions = []string{"v2", "v1"}
	hook.Rules[0].APIGroups = []string{"autoscaling", ""}
	hook.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"watched": "yes"}}
	hook.MatchConditions = []admissionv1.MatchCondition{{Name: "not-mine", Expression: "request.userInfo.username != 'system:apiserver' && !object.metadata.name.startsWith('skip')"}}
	exact := h.hook(ns, "exact", "horizontalpodautoscalers")
	exact.MatchPolicy, exact.Rules[0].APIVersions = new(admissionv1.Exact), []string{"v2"}
	c.validating(t, ns, hook, exact)
	create := func(path, body string) {
		t.Helper()
		if got := c.request(t, http.MethodPost, path, body); got.Code != http.StatusCreated {
			t.Fatalf("%d %s", got.Code, got.Body)
		}
	}
	maps := "/api/v1/namespaces/" + ns + "/configmaps"
	create(maps, `{"metadata":{"name":"plain"}}`)
	create(maps, `{"metadata":{"name":"seen","labels":{"watched":"yes"}}}`)
	create(maps, `{"metadata":{"name":"skipped","labels":{"watched":"yes"}}}`)
	target := `"spec":{"maxReplicas":3,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}}`
	create("/apis/autoscaling/v1/namespaces/"+ns+"/horizontalpodautoscalers", `{"metadata":{"name":"scaler","labels":{"watched":"yes"}},`+target+`}`)
	if diff := cmp.Diff([]string{"CREATE configmaps/ seen", "CREATE horizontalpodautoscalers/ scaler"}, h.told()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// TestEquivalentVersions asks in another version than the client's.
func TestEquivalentVersions(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	h := serveHooks(t, func(_ string, q *reviewv1.AdmissionRequest) *reviewv1.AdmissionResponse {
		return patch(`[{"op": "replace", "path": "/spec/maxReplicas", "value": 9}, {"op": "remove", "path": "/spec/metrics"}]`)
	})
	hook := h.hook(ns, "v2only", "horizontalpodautoscalers")
	hook.Rules[0].APIVersions = []string{"v2"}
	c.mutating(t, ns, hook)
	body := `{"metadata":{"name":"s"},"spec":{"maxReplicas":3,"targetCPUUtilizationPercentage":50,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}}}`
	got := c.request(t, http.MethodPost, "/apis/autoscaling/v1/namespaces/"+ns+"/horizontalpodautoscalers", body)
	var s autoscalingv1.HorizontalPodAutoscaler
	if err := json.Unmarshal(got.Body, &s); err != nil || s.Spec.MaxReplicas != 9 {
		t.Fatalf("%v %s", err, got.Body)
	}
	asked := h.take()
	if len(asked) != 1 || asked[0].Kind.Version != "v2" || asked[0].RequestKind.Version != "v1" || !strings.Contains(string(asked[0].Object.Raw), `"apiVersion":"autoscaling/v2"`) {
		t.Errorf("asked %+v", asked)
	}
}

func TestBrokenWebhooks(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	release := make(chan struct{})
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/hung":
			_, _ = io.Copy(io.Discard, req.Body)
			select {
			case <-release:
			case <-req.Context().Done():
			}
		case "/garbage":
			fmt.Fprint(w, "<html>")
		case "/endless":
			for line := []byte(strings.Repeat(" ", 1<<20)); ; {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
		case "/other":
			fmt.Fprint(w, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"x","allowed":true}}`)
		}
	}))
	defer web.Close()
	defer close(release)
	h := &hooks{web: web}
	for _, tc := range []struct{ path, want string }{
		{"hung", "context deadline exceeded"},
		{"garbage", "couldn't get version/kind"},
		{"endless", "the answer is larger than"},
		{"other", "received invalid webhook response: expected response.uid="},
	} {
		for _, policy := range []admissionv1.FailurePolicyType{admissionv1.Fail, admissionv1.Ignore} {
			hook := h.hook(ns, tc.path, "configmaps")
			hook.TimeoutSeconds, hook.FailurePolicy = new(int32(1)), &policy
			if tc.path != "hung" {
				hook.TimeoutSeconds = new(int32(30))
			}
			name := ns + "-" + strings.ToLower(string(policy)) + "-" + tc.path
			c.validating(t, name, hook)
			_, err := c.typed(t).CoreV1().ConfigMaps(ns).Create(t.Context(), configMap(tc.path), metav1.CreateOptions{})
			c.request(t, http.MethodDelete, "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/"+name, "")
			if policy == admissionv1.Ignore {
				if err != nil {
					t.Errorf("%s may fail, but: %v", tc.path, err)
				}
				continue
			}
			wantStatus(t, err, 500, metav1.StatusReasonInternalError, `failed calling webhook "`+tc.path+`.example.com"`)
			if err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v", tc.path, err)
			}
		}
	}
}

// TestAdmissionIsCounted looks for what came of a write under the names that dashboards know.
func TestAdmissionIsCounted(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	h := serveHooks(t, func(string, *reviewv1.AdmissionRequest) *reviewv1.AdmissionResponse {
		return &reviewv1.AdmissionResponse{Allowed: false, Result: &metav1.Status{Code: 418}}
	})
	refuses := h.hook(ns, "counted-refuses", "configmaps")
	c.validating(t, ns, refuses)
	api := c.typed(t).CoreV1()
	if _, err := api.ConfigMaps(ns).Create(t.Context(), configMap("c"), metav1.CreateOptions{}); err == nil {
		t.Error("the webhook refuses nothing")
	}
	away := h.hook(ns, "counted-away", "secrets")
	away.ClientConfig.URL, away.FailurePolicy = new("https://127.0.0.1:1/"), new(admissionv1.Ignore)
	c.mutating(t, ns, away)
	must(api.Secrets(ns).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{}))(t)
	text := string(c.request(t, http.MethodGet, "/metrics", "").Body)
	for _, want := range []string{
		`apiserver_admission_step_admission_duration_seconds_count{operation="CREATE",rejected="false",type="admit"} `,
		`apiserver_admission_step_admission_duration_seconds_count{operation="CREATE",rejected="true",type="validate"} `,
		`apiserver_admission_controller_admission_duration_seconds_count{name="ValidatingAdmissionWebhook",operation="CREATE",rejected="true",type="validate"} `,
		`apiserver_admission_webhook_admission_duration_seconds_count{name="counted-refuses.example.com",operation="CREATE",rejected="true",type="validating"} 1`,
		`apiserver_admission_webhook_rejection_count{error_type="no_error",name="counted-refuses.example.com",operation="CREATE",rejection_code="418",type="validating"} 1`,
		`apiserver_admission_webhook_request_total{code="418",name="counted-refuses.example.com",operation="CREATE",rejected="true",type="validating"} 1`,
		`apiserver_admission_webhook_fail_open_count{name="counted-away.example.com",type="admit"} 1`,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("/metrics has no line %s", want)
		}
	}
	if strings.Count(text, "\ngo_goroutines ") != 1 {
		t.Error("/metrics does not have the process's figures once")
	}
}

// TestWebhookOfService finds the server through a Service, and checks its certificate for the Service's name.
func TestWebhookOfService(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	h := serveHooks(t, func(string, *reviewv1.AdmissionRequest) *reviewv1.AdmissionResponse {
		return &reviewv1.AdmissionResponse{Result: &metav1.Status{Reason: metav1.StatusReasonForbidden}}
	})
	pair := must(c.authority.Issue("hook-"+ns, pki.Identity{CommonName: "hook", Names: []string{"hook." + ns + ".svc"}}))(t)
	h.web.TLS.Certificates = []tls.Certificate{pair.TLS()}
	_, port, _ := net.SplitHostPort(h.web.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	hook := h.hook(ns, "served", "configmaps")
	hook.ClientConfig = admissionv1.WebhookClientConfig{
		CABundle: c.authority.CertPEM, Service: &admissionv1.ServiceReference{Namespace: ns, Name: "hook", Port: new(int32(n)), Path: new("/served")},
	}
	c.validating(t, ns, hook)
	create := func() error {
		_, err := c.typed(t).CoreV1().ConfigMaps(ns).Create(t.Context(), configMap("x"), metav1.CreateOptions{})
		return err
	}
	wantStatus(t, create(), 500, metav1.StatusReasonInternalError, `services "hook" not found`)
	must(c.typed(t).CoreV1().Services(ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "hook"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}, metav1.CreateOptions{}))(t)
	wantStatus(t, create(), 400, metav1.StatusReasonForbidden, `admission webhook "served.example.com" denied the request: Forbidden`)
}

func TestWebhookOfDefinedKind(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	painted := define(t, c, "Painted").Namespace(ns)
	h := serveHooks(t, func(string, *reviewv1.AdmissionRequest) *reviewv1.AdmissionResponse {
		return patch(`[{"op": "add", "path": "/spec/color", "value": "red"}, {"op": "add", "path": "/spec/unknown", "value": 1}]`)
	})
	c.mutating(t, ns, h.hook(ns, "paint", "painteds"))
	got := must(painted.Create(t.Context(), custom("Painted", "w", map[string]any{"limit": int64(1)}), metav1.CreateOptions{}))(t)
	if diff := cmp.Diff(map[string]any{"limit": int64(1), "color": "red", "replicas": int64(1)}, got.Object["spec"]); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if told := h.told(); !slices.Equal(told, []string{"CREATE painteds/ w"}) {
		t.Errorf("asked %v", told)
	}
}
