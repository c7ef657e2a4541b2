package apiserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	auditapi "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/client-go/rest"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/admission/podsecurity"
	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/apiserver/auditlog"
)

// standardsOf is pod security as a file configures it, "" for the defaults.
func standardsOf(objects admission.Reader, file string) (admission.Plugin, error) {
	c, err := podsecurity.Load(file)
	if err != nil {
		return nil, err
	}
	return podsecurity.New(objects, c)
}

// secured is a cluster whose requests are recorded and some of whose pods are exempt.
type secured struct {
	*cluster
	journal  *journal
	requests int
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	file := filepath.Join(t.TempDir(), "admission.yaml")
	must(0, os.WriteFile(file, []byte(`
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    exemptions: {usernames: [trusted], runtimeClasses: [vm], namespaces: [exempt]}
`), 0o600))(t)
	j := newJournal()
	log := auditlog.New(policyOf(t, "omitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"), j)
	c, stop, err := startClusterWith(t.TempDir(), "10.96.0.0/24", func(s *apiserver.Server) {
		s.Audit = log
		i := slices.IndexFunc(s.Admission, func(p admission.Plugin) bool { return p.Name() == "PodSecurity" })
		s.Admission[i] = must(standardsOf(admission.Reader{Cache: s.Cache, Registry: s.Registry}, file))(t)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return &secured{cluster: c, journal: j}
}

// outcome is what came of a write.
type outcome struct {
	Code        int
	Message     string
	Warnings    []string
	Annotations map[string]string
}

func (c *secured) send(t *testing.T, as *rest.Config, method, path string, obj any, header ...string) outcome {
	t.Helper()
	c.requests++
	id := strconv.Itoa(c.requests)
	if method != http.MethodPatch {
		header = append(header, "Content-Type", "application/json")
	}
	got := c.raw(t, as, method, path, string(must(json.Marshal(obj))(t)), append(header, "Audit-ID", id)...)
	out := outcome{Code: got.Code}
	for _, text := range got.Header.Values("Warning") {
		out.Warnings = append(out.Warnings, must(strconv.Unquote(strings.TrimPrefix(text, "299 - ")))(t))
	}
	if got.Code >= 400 {
		out.Message = got.status(t).Message
	}
	for _, e := range c.journal.of(t, id, auditapi.StageResponseComplete) {
		for key, value := range e.Annotations {
			if key, ours := strings.CutPrefix(key, "pod-security.kubernetes.io/"); ours {
				if out.Annotations == nil {
					out.Annotations = map[string]string{}
				}
				out.Annotations[key] = value
			}
		}
	}
	return out
}

// labelled makes a namespace with labels of pod security: pairs of mode and value.
func (c *secured) labelled(t *testing.T, name string, labels ...string) {
	t.Helper()
	got := c.send(t, c.admin(t), http.MethodPost, "/api/v1/namespaces", namespaceWith(name, labels...))
	if got.Code != http.StatusCreated {
		t.Fatalf("namespace %s: %+v", name, got)
	}
}

func namespaceWith(name string, labels ...string) *corev1.Namespace {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for i := 0; i < len(labels); i += 2 {
		ns.Labels["pod-security.kubernetes.io/"+labels[i]] = labels[i+1]
	}
	return ns
}

// restrictedPod violates nothing.
func restrictedPod(name string) *corev1.Pod {
	p := pod(name)
	p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return p
}

func sysctlPod(name string) *corev1.Pod {
	p := pod(name)
	p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "net.ipv4.ip_local_reserved_ports", Value: "80"}}}
	return p
}

func classPod(name, class string) *corev1.Pod {
	p := pod(name)
	p.Spec.RuntimeClassName = &class
	return p
}

// plainViolates is what the standard says of [pod].
const plainViolates = `allowPrivilegeEscalation != false (container "main" must set securityContext.allowPrivilegeEscalation=false), ` +
	`unrestricted capabilities (container "main" must set securityContext.capabilities.drop=["ALL"]), ` +
	`runAsNonRoot != true (pod or container "main" must set securityContext.runAsNonRoot=true), ` +
	`seccompProfile (pod or container "main" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")`

func TestPodSecurityOfPods(t *testing.T) {
	c := newSecured(t)
	must(c.typed(t).NodeV1().RuntimeClasses().Create(t.Context(), &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "vm"}, Handler: "vm"}, metav1.CreateOptions{}))(t)
	c.labelled(t, "plain")
	c.labelled(t, "restricted", "enforce", "restricted")
	c.labelled(t, "old", "enforce", "baseline", "enforce-version", "v1.26", "warn", "privileged")
	c.labelled(t, "baseline", "enforce", "baseline", "audit", "baseline", "audit-version", "v1.26", "warn", "privileged")
	c.labelled(t, "told", "audit", "restricted", "warn", "restricted", "warn-version", "v1.25")
	c.labelled(t, "exempt")
	must(c.typed(t).CoreV1().Namespaces().Patch(t.Context(), "exempt", "application/merge-patch+json",
		[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{}))(t)
	trusted, admin := c.config(t, "trusted", "testers"), c.admin(t)
	enforces := func(policy string) map[string]string { return map[string]string{"enforce-policy": policy} }
	const sysctl = `forbidden sysctls (net.ipv4.ip_local_reserved_ports)`
	for _, tc := range []struct {
		name, namespace string
		as              *rest.Config
		pod             *corev1.Pod
		want            outcome
	}{
		{"no labels", "plain", admin, pod("p"), outcome{Code: 201, Annotations: enforces("privileged:latest")}},
		{"refused", "restricted", admin, pod("p"), outcome{
			Code: 403, Annotations: enforces("restricted:latest"),
			Message: `pods "p" is forbidden: violates PodSecurity "restricted:latest": ` + plainViolates,
		}},
		{"let through", "restricted", admin, restrictedPod("p"), outcome{Code: 201, Annotations: enforces("restricted:latest")}},
		{"an old version", "old", admin, sysctlPod("p"), outcome{
			Code: 403, Annotations: enforces("baseline:v1.26"),
			Message: `pods "p" is forbidden: violates PodSecurity "baseline:v1.26": ` + sysctl,
		}},
		{"noted only", "baseline", admin, sysctlPod("p"), outcome{Code: 201, Annotations: map[string]string{
			"enforce-policy": "baseline:latest", "audit-violations": `would violate PodSecurity "baseline:v1.26": ` + sysctl,
		}}},
		{"warned of", "told", admin, pod("p"), outcome{
			Code: 201, Warnings: []string{`would violate PodSecurity "restricted:v1.25": ` + plainViolates},
			Annotations: map[string]string{"enforce-policy": "privileged:latest", "audit-violations": `would violate PodSecurity "restricted:latest": ` + plainViolates},
		}},
		{"an exempt namespace", "exempt", admin, pod("p"), outcome{Code: 201, Annotations: map[string]string{"exempt": "namespace"}}},
		{"an exempt user", "restricted", trusted, pod("user"), outcome{Code: 201, Annotations: map[string]string{"exempt": "user"}}},
		{"an exempt runtime class", "restricted", admin, classPod("class", "vm"), outcome{Code: 201, Annotations: map[string]string{"exempt": "runtimeClass"}}},
	} {
		got := c.send(t, tc.as, http.MethodPost, "/api/v1/namespaces/"+tc.namespace+"/pods", tc.pod)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	unnamed := pod("")
	unnamed.GenerateName = "many-"
	if got := c.send(t, admin, http.MethodPost, "/api/v1/namespaces/restricted/pods", unnamed); !strings.HasPrefix(got.Message, `pods "many-`) || strings.HasPrefix(got.Message, `pods "many-"`) {
		t.Errorf("a generated name: %+v", got)
	}
	figures := string(c.request(t, http.MethodGet, "/metrics", "").Body)
	for _, want := range []string{
		`pod_security_evaluations_total{decision="deny",mode="enforce",policy_level="restricted",policy_version="latest",request_operation="create",resource="pod",subresource=""}`,
		`pod_security_evaluations_total{decision="deny",mode="audit",policy_level="baseline",policy_version="v1.26",request_operation="create",resource="pod",subresource=""}`,
		`pod_security_exemptions_total{request_operation="create",resource="pod",subresource=""}`,
	} {
		if !strings.Contains(figures, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// TestPodSecurityOfUpdates: what changes nothing that matters is let through whatever the pod is, and its own status always.
func TestPodSecurityOfUpdates(t *testing.T) {
	c := newSecured(t)
	c.labelled(t, "later")
	admin, pods := c.admin(t), "/api/v1/namespaces/later/pods"
	if got := c.send(t, admin, http.MethodPost, pods, pod("p")); got.Code != http.StatusCreated {
		t.Fatalf("%+v", got)
	}
	must(c.typed(t).CoreV1().Namespaces().Update(t.Context(), namespaceWith("later", "enforce", "restricted"), metav1.UpdateOptions{}))(t)
	debugger := `allowPrivilegeEscalation != false (containers "main", "debug" must set securityContext.allowPrivilegeEscalation=false)`
	for _, tc := range []struct {
		name, path string
		body       map[string]any
		code       int
		part       string
	}{
		{"a label", "/p", map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": "b"}}}, 200, ""},
		{"its status", "/p/status", map[string]any{"status": map[string]any{"message": "m"}}, 200, ""},
		{
			"an image", "/p",
			map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "main", "image": "gantry.local/demo:2"}}}},
			403, `pods "p" is forbidden: violates PodSecurity "restricted:latest": ` + plainViolates,
		},
		{
			"a debugger", "/p/ephemeralcontainers",
			map[string]any{"spec": map[string]any{"ephemeralContainers": []any{map[string]any{"name": "debug", "image": "i"}}}},
			403, `pods "p" is forbidden: violates PodSecurity "restricted:latest": ` + debugger,
		},
	} {
		got := c.send(t, admin, http.MethodPatch, pods+tc.path, tc.body, "Content-Type", "application/strategic-merge-patch+json")
		if got.Code != tc.code || !strings.HasPrefix(got.Message, tc.part) {
			t.Errorf("%s: got %+v, want %d %s", tc.name, got, tc.code, tc.part)
		}
	}
}

// TestPodSecurityOfTemplates: workloads are never refused, but warned of and noted.
func TestPodSecurityOfTemplates(t *testing.T) {
	c := newSecured(t)
	c.labelled(t, "plain")
	c.labelled(t, "restricted", "enforce", "restricted", "audit", "restricted")
	meta := metav1.ObjectMeta{Name: "w"}
	labels := map[string]string{"a": "b"}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod("").Spec}
	once := batchv1.JobSpec{Template: *template.DeepCopy()}
	once.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	for path, obj := range map[string]runtime.Object{
		"apps/v1/replicasets":       &appsv1.ReplicaSet{ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template}},
		"apps/v1/deployments":       &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}},
		"apps/v1/statefulsets":      &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}},
		"apps/v1/daemonsets":        &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}},
		"batch/v1/jobs":             &batchv1.Job{ObjectMeta: meta, Spec: once},
		"batch/v1/cronjobs":         &batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: once}}},
		"v1/replicationcontrollers": &corev1.ReplicationController{ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Selector: labels, Template: &template}},
		"v1/podtemplates":           &corev1.PodTemplate{ObjectMeta: meta, Template: template},
	} {
		for ns, want := range map[string]outcome{
			"plain": {Code: 201},
			"restricted": {
				Code: 201, Warnings: []string{`would violate PodSecurity "restricted:latest": ` + plainViolates},
				Annotations: map[string]string{"audit-violations": `would violate PodSecurity "restricted:latest": ` + plainViolates},
			},
		} {
			group, resource := filepath.Split(path)
			root := "/apis/"
			if group == "v1/" {
				root = "/api/"
			}
			got := c.send(t, c.admin(t), http.MethodPost, fmt.Sprintf("%s%snamespaces/%s/%s", root, group, ns, resource), obj)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s in %s (-want +got):\n%s", path, ns, diff)
			}
		}
	}
}

// TestPodSecurityOfNamespaces: labels must mean something, and who tightens them is told which pods they come too late for.
func TestPodSecurityOfNamespaces(t *testing.T) {
	c := newSecured(t)
	admin, all := c.admin(t), "/api/v1/namespaces"
	c.labelled(t, "used")
	for _, p := range []*corev1.Pod{pod("b"), pod("a"), sysctlPod("c"), restrictedPod("d")} {
		if got := c.send(t, admin, http.MethodPost, all+"/used/pods", p); got.Code != http.StatusCreated {
			t.Fatalf("%+v", got)
		}
	}
	const level = `must be one of privileged, baseline, restricted`
	tightened := []string{
		`existing pods in namespace "used" violate the new PodSecurity enforce level "restricted:latest"`,
		`a (and 2 other pods): allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile`,
	}
	for _, tc := range []struct {
		name, method, path string
		ns                 *corev1.Namespace
		want               outcome
	}{
		{"no level", http.MethodPost, "", namespaceWith("new", "enforce", "strict", "warn-version", "1.30"), outcome{
			Code: 422,
			Message: `Namespace "new" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": ` + level +
				`, metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.30": must be "latest" or "v1.x"]`,
		}},
		{"no level in an update", http.MethodPut, "/used", namespaceWith("used", "audit", "none"), outcome{
			Code:    422,
			Message: `Namespace "used" is invalid: metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: "none": ` + level,
		}},
		{"warnings only", http.MethodPut, "/used", namespaceWith("used", "warn", "restricted"), outcome{Code: 200}},
		{"tightened", http.MethodPut, "/used", namespaceWith("used", "enforce", "restricted"), outcome{Code: 200, Warnings: tightened}},
		{"as it was", http.MethodPut, "/used", namespaceWith("used", "enforce", "restricted"), outcome{Code: 200}},
		{"relaxed", http.MethodPut, "/used", namespaceWith("used", "enforce", "baseline"), outcome{Code: 200}},
		{"another version", http.MethodPut, "/used", namespaceWith("used", "enforce", "baseline", "enforce-version", "v1.26"), outcome{Code: 200, Warnings: []string{
			`existing pods in namespace "used" violate the new PodSecurity enforce level "baseline:v1.26"`, `c: forbidden sysctls`,
		}}},
		{"an exempt namespace", http.MethodPost, "", namespaceWith("exempt", "enforce", "baseline"), outcome{Code: 201, Warnings: []string{
			`namespace "exempt" is exempt from Pod Security, and the policy (enforce=baseline:latest) will be ignored`,
		}}},
	} {
		got := c.send(t, admin, tc.method, all+tc.path, tc.ns)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
