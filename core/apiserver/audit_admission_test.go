package apiserver_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	reviewv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	auditapi "k8s.io/apiserver/pkg/apis/audit"

	"github.com/gantryio/gantry/core/apiserver/auditlog"
)

// TestAuditOfAdmission: what webhooks and policies note comes into the audit log, and patches only where objects do.
func TestAuditOfAdmission(t *testing.T) {
	j := newJournal()
	c := recordedBy(t, auditlog.New(policyOf(t, "omitStages: [RequestReceived]\nrules: [{level: Request, resources: [{resources: [configmaps]}]}, {level: Metadata}]\n"), j))
	ns := c.namespace(t)
	h := serveHooks(t, func(path string, _ *reviewv1.AdmissionRequest) *reviewv1.AdmissionResponse {
		out := &reviewv1.AdmissionResponse{Allowed: true, AuditAnnotations: map[string]string{"seen": path}}
		if path == "paint" {
			out = patch(`[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]`)
		}
		return out
	})
	paint, look, broken := h.hook(ns, "paint", "*"), h.hook(ns, "look", "*"), h.hook(ns, "broken", "*")
	broken.ClientConfig.URL, broken.FailurePolicy = new("https://127.0.0.1:1/"), new(admissionv1.Ignore)
	c.mutating(t, ns, paint, look, broken)
	c.validating(t, ns, look, broken)
	c.register(t, "validatingadmissionpolicies", ns, `{"metadata":{"name":"NAME"},"spec":{
 "matchConstraints":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"NAME"}},"resourceRules":[
  {"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["configmaps","secrets"]}]},
 "validations":[{"expression":"false","message":"never"}],
 "auditAnnotations":[{"key":"name","valueExpression":"'it is ' + object.metadata.name"}]}}`)
	c.register(t, "validatingadmissionpolicybindings", ns, `{"metadata":{"name":"NAME"},"spec":{"policyName":"NAME","validationActions":["Audit"]}}`)
	want := map[string]string{
		"authorization.k8s.io/decision":                                   "allow",
		"authorization.k8s.io/reason":                                     "",
		"mutation.webhook.admission.k8s.io/round_0_index_0":               `{"configuration":"NAME","webhook":"paint.example.com","mutated":true}`,
		"mutation.webhook.admission.k8s.io/round_0_index_1":               `{"configuration":"NAME","webhook":"look.example.com","mutated":false}`,
		"mutation.webhook.admission.k8s.io/round_0_index_2":               `{"configuration":"NAME","webhook":"broken.example.com","mutated":false}`,
		"failed-open.mutation.webhook.admission.k8s.io/round_0_index_2":   "broken.example.com",
		"failed-open.validating.webhook.admission.k8s.io/round_0_index_1": "broken.example.com",
		"look.example.com/seen":                                           "look",
		"NAME/name":                                                       "it is one",
		"validation.policy.admission.k8s.io/validation_failure":           `[{"message":"never","policy":"NAME","binding":"NAME","expressionIndex":0,"validationActions":["Audit"]}]`,
	}
	for resource, patch := range map[string]string{
		"secrets":    "",
		"configmaps": `{"configuration":"NAME","webhook":"paint.example.com","patch":[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}],"patchType":"JSONPatch"}`,
	} {
		got := c.request(t, http.MethodPost, "/api/v1/namespaces/"+ns+"/"+resource, `{"metadata":{"name":"one"}}`, "Audit-ID", resource)
		if got.Code != http.StatusCreated {
			t.Fatal(string(got.Body))
		}
		noted := map[string]string{}
		for _, e := range j.of(t, resource, auditapi.StageResponseComplete) {
			for key, value := range tell(e).Annotations {
				noted[strings.ReplaceAll(key, ns, "NAME")] = strings.ReplaceAll(value, ns, "NAME")
			}
		}
		const key = "patch.webhook.admission.k8s.io/round_0_index_0"
		if patch != "" {
			want[key] = patch
		} else {
			delete(want, key)
		}
		if diff := cmp.Diff(want, noted); diff != "" {
			t.Errorf("%s: annotations (-want +got):\n%s", resource, diff)
		}
	}
}
