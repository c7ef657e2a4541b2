package apiserver_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const registration = "/apis/admissionregistration.k8s.io/v1/"

// register creates an object of admissionregistration.k8s.io for the time of the test; NAME stands for its namespace.
func (c *cluster) register(t *testing.T, resource, ns, body string) {
	t.Helper()
	if got := c.request(t, http.MethodPost, registration+resource, strings.ReplaceAll(body, "NAME", ns)); got.Code != http.StatusCreated {
		t.Fatalf("%s: %d %s", resource, got.Code, got.Body)
	}
	c.deleteLater(t, resource, ns)
}

const validatingPolicy = `{"metadata":{"name":"NAME"},"spec":{
 "paramKind":{"apiVersion":"v1","kind":"ConfigMap"},
 "matchConstraints":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"NAME"}},"resourceRules":[
  {"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE","UPDATE","DELETE"],"resources":["secrets"]}]},
 "matchConditions":[{"name":"not-free","expression":"request.operation == 'DELETE' || object.metadata.name != 'free'"}],
 "variables":[{"name":"most","expression":"int(params.data.most)"}],
 "validations":[
  {"expression":"request.operation == 'DELETE' || size(object.?data.orValue({})) <= variables.most","messageExpression":"'at most ' + params.data.most","reason":"Forbidden"},
  {"expression":"request.operation != 'DELETE' || oldObject.metadata.name != 'kept'","message":"is kept"}]}}`

func TestValidatingPolicy(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	c.register(t, "validatingadmissionpolicies", ns, validatingPolicy)
	secrets := c.typed(t).CoreV1().Secrets(ns)
	create := func(name string, n int) error {
		s := secretOf(name, n)
		_, err := secrets.Create(t.Context(), s, metav1.CreateOptions{})
		return err
	}
	if err := create("unbound", 3); err != nil {
		t.Errorf("a policy without a binding: %v", err)
	}
	binding := `{"metadata":{"name":"NAME"},"spec":{"policyName":"NAME","validationActions":["Deny"],
		"paramRef":{"name":"limits","namespace":"NAME","parameterNotFoundAction":"Deny"}}}`
	c.register(t, "validatingadmissionpolicybindings", ns, binding)
	prefix := "ValidatingAdmissionPolicy '" + ns + "' with binding '" + ns + "' denied request: "
	wantStatus(t, create("early", 1), 422, metav1.StatusReasonInvalid, prefix+"failed to configure binding: no params found")
	must(c.typed(t).CoreV1().ConfigMaps(ns).Create(t.Context(), configMap("limits", "most", "1"), metav1.CreateOptions{}))(t)
	if err := create("small", 1); err != nil {
		t.Error(err)
	}
	wantStatus(t, create("large", 2), 403, metav1.StatusReasonForbidden, `secrets "large" is forbidden: `+prefix+"at most 1")
	if err := create("free", 2); err != nil {
		t.Errorf("what no condition matches: %v", err)
	}
	must(c.typed(t).CoreV1().ConfigMaps(ns).Update(t.Context(), configMap("limits", "most", "2"), metav1.UpdateOptions{}))(t)
	if err := create("kept", 2); err != nil {
		t.Errorf("a parameter has changed, but: %v", err)
	}
	wantStatus(t, secrets.Delete(t.Context(), "kept", metav1.DeleteOptions{}), 422, metav1.StatusReasonInvalid, prefix+"is kept")
	if err := secrets.Delete(t.Context(), "small", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	merge := []string{"Content-Type", "application/merge-patch+json"}
	got := c.request(t, http.MethodPatch, registration+"validatingadmissionpolicybindings/"+ns, `{"spec":{"validationActions":["Warn","Audit"]}}`, merge...)
	if got.Code != http.StatusOK {
		t.Fatal(string(got.Body))
	}
	got = c.request(t, http.MethodPost, "/api/v1/namespaces/"+ns+"/secrets", `{"metadata":{"name":"warned"},"data":{"a":"","b":"","c":""}}`)
	want := `299 - "Validation failed for ValidatingAdmissionPolicy '` + ns + `' with binding '` + ns + `': at most 2"`
	if got.Code != http.StatusCreated || got.Header.Get("Warning") != want {
		t.Errorf("%d, warning %q, want %q", got.Code, got.Header.Get("Warning"), want)
	}
}

func TestMutatingPolicy(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	painted := define(t, c, "Policed").Namespace(ns)
	c.register(t, "mutatingadmissionpolicies", ns, `{"metadata":{"name":"NAME"},"spec":{"reinvocationPolicy":"Never",
 "matchConstraints":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"NAME"}},"resourceRules":[
  {"apiGroups":["","example.com"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods","policeds"]}]},
 "mutations":[
  {"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{metadata: Object.metadata{labels: {'by': request.userInfo.username}}}"}},
  {"patchType":"JSONPatch","jsonPatch":{"expression":"object.kind == 'Pod' ? [JSONPatch{op: 'add', path: '/spec/initContainers', value: [Object.spec.initContainers{name: 'first', image: 'gantry.local/demo:1'}]}] : [JSONPatch{op: 'add', path: '/spec/color', value: 'green'}]"}}]}}`)
	c.register(t, "mutatingadmissionpolicybindings", ns, `{"metadata":{"name":"NAME"},"spec":{"policyName":"NAME"}}`)
	p := must(c.typed(t).CoreV1().Pods(ns).Create(t.Context(), pod("p"), metav1.CreateOptions{}))(t)
	if p.Labels["by"] != "admin" || len(p.Spec.InitContainers) != 1 || p.Spec.InitContainers[0].TerminationMessagePath == "" {
		t.Errorf("not changed and defaulted: %v %+v", p.Labels, p.Spec.InitContainers)
	}
	w := must(painted.Create(t.Context(), custom("Policed", "w", map[string]any{}), metav1.CreateOptions{}))(t)
	if diff := cmp.Diff(map[string]any{"color": "green", "replicas": int64(1)}, w.Object["spec"]); diff != "" || w.GetLabels()["by"] != "admin" {
		t.Errorf("%v, spec (-want +got):\n%s", w.GetLabels(), diff)
	}
}

// TestPolicyOfDefinedParameters names a kind of parameters that comes to be afterwards.
func TestPolicyOfDefinedParameters(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	body := strings.NewReplacer(`"v1","kind":"ConfigMap"`, `"example.com/v1","kind":"Maximum"`, "params.data.most)", "params.spec.replicas)",
		"params.data.most", "string(params.spec.replicas)").Replace(validatingPolicy)
	c.register(t, "validatingadmissionpolicies", ns, body)
	c.register(t, "validatingadmissionpolicybindings", ns, `{"metadata":{"name":"NAME"},"spec":{"policyName":"NAME","validationActions":["Deny"],
		"paramRef":{"selector":{},"parameterNotFoundAction":"Allow"}}}`)
	create := func(n int) error {
		_, err := c.typed(t).CoreV1().Secrets(ns).Create(t.Context(), secretOf("", n), metav1.CreateOptions{})
		return err
	}
	wantStatus(t, create(1), 422, metav1.StatusReasonInvalid, "failed to find resource referenced by paramKind: 'example.com/v1, Kind=Maximum'")
	maxima := define(t, c, "Maximum").Namespace(ns)
	must(maxima.List(t.Context(), metav1.ListOptions{}))(t) // nobody follows definitions here, but whoever asks sees them
	if err := create(5); err != nil {
		t.Errorf("no parameters may be there: %v", err)
	}
	for _, n := range []int64{2, 3} {
		must(maxima.Create(t.Context(), custom("Maximum", "m"+string(rune('0'+n)), map[string]any{"color": "red", "replicas": n}), metav1.CreateOptions{}))(t)
	}
	if err := create(2); err != nil {
		t.Error(err)
	}
	wantStatus(t, create(3), 403, metav1.StatusReasonForbidden, "at most 2")
}
