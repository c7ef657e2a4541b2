package apiserver_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

func TestServerSideApply(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	apply := func(manager, body string, force bool) (map[string]string, string, error) {
		cm, err := maps.Patch(t.Context(), "a", types.ApplyYAMLPatchType, []byte(body), metav1.PatchOptions{FieldManager: manager, Force: &force})
		if err != nil {
			return nil, "", err
		}
		return cm.Data, cm.ResourceVersion, nil
	}
	const head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	if _, _, err := apply("", head, false); err == nil || !strings.Contains(err.Error(), "fieldManager: Required value: is required for apply patch") {
		t.Errorf("without a manager: %v", err)
	}
	data, first, err := apply("one", head+"data: {k: v, mine: x}", false)
	if err != nil || data["k"] != "v" {
		t.Fatalf("create: %v %v", data, err)
	}
	if _, again, err := apply("one", head+"data: {k: v, mine: x}", false); err != nil || again != first {
		t.Errorf("an apply of the same was written: %s, was %s: %v", again, first, err)
	}
	_, _, err = apply("two", head+"data: {k: w}", false)
	wantStatus(t, err, 409, metav1.StatusReasonConflict, `conflict with "one": .data.k`)
	if cause, ok := apierrors.StatusCause(err, metav1.CauseTypeFieldManagerConflict); !ok || cause.Field != ".data.k" || cause.Message != `conflict with "one"` {
		t.Errorf("cause %+v", cause)
	}
	if data, _, err = apply("two", head+"data: {k: w}", true); err != nil || data["k"] != "w" || data["mine"] != "x" {
		t.Errorf("force: %v %v", data, err)
	}
	if data, _, err = apply("one", head, false); err != nil || data["k"] != "w" || data["mine"] != "" {
		t.Errorf("giving up fields: %v %v", data, err)
	}
	if _, err := maps.Patch(t.Context(), "new", types.ApplyYAMLPatchType, []byte(strings.Replace(head, "name: a", "name: new", 1)),
		metav1.PatchOptions{FieldManager: "one", DryRun: []string{"All"}}); err != nil {
		t.Errorf("dry run: %v", err)
	}
	_, err = maps.Get(t.Context(), "new", metav1.GetOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, "")
	_, _, err = apply("one", head+"dota: {}", false)
	if err == nil || !strings.Contains(err.Error(), "dota") {
		t.Errorf("unknown field: %v", err)
	}
	_, _, err = apply("one", strings.Replace(head, "name: a", "name: b", 1), false)
	wantStatus(t, err, 400, metav1.StatusReasonBadRequest, "name")
}

// Applies that change labels alone leave everything else as it is, for whatever kind shares it between the object that there was and the
// one that there is, also when many apply at once.
func TestAppliesOfLabels(t *testing.T) {
	const template = `{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"a","image":"example.com/a:1","ports":[{"containerPort":80}],` +
		`"env":[{"name":"A","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}],"resources":{"requests":{"cpu":"100m"}},` +
		`"readinessProbe":{"httpGet":{"port":80}}}],"nodeSelector":{"k":"v"}}}`
	const workload = `"spec":{"selector":{"matchLabels":{"app":"a"}},"template":` + template
	bodies := map[string]string{
		"Pod":        strings.TrimSuffix(template[strings.Index(template, `"spec"`):], "}"),
		"ConfigMap":  `"data":{"k":"v"}`,
		"Secret":     `"data":{"k":"dmFsdWU="}`,
		"ReplicaSet": workload + `}`, "Deployment": workload + `}`, "DaemonSet": workload + `}`,
		"StatefulSet": workload + `,"serviceName":"a"}`,
	}
	ns := shared.namespace(t)
	for _, r := range shared.api.Registry.All() {
		if !r.SharesBody {
			continue
		}
		t.Run(r.Kind, func(t *testing.T) {
			objects := shared.dynamic(t).Resource(r.GroupVersionResource()).Namespace(ns)
			apply := func(manager string, n int) (*unstructured.Unstructured, error) {
				body := fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{"name":"a","labels":{"app":"a",%q:"%d"}},%s}`,
					r.APIVersion(), r.Kind, manager, n, bodies[r.Kind])
				return objects.Patch(t.Context(), "a", types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: manager})
			}
			first, err := apply("one", 0)
			if err != nil {
				t.Fatal(err)
			}
			const times = 10
			var all sync.WaitGroup
			for _, manager := range []string{"one", "two", "three"} {
				all.Go(func() {
					for n := range times {
						if _, err := apply(manager, n+1); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			last, err := objects.Get(t.Context(), "a", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"app": "a", "one": "10", "two": "10", "three": "10"}
			if diff := cmp.Diff(want, last.GetLabels()); diff != "" || last.GetGeneration() != first.GetGeneration() {
				t.Errorf("generation %d, was %d; labels (-want +got):\n%s", last.GetGeneration(), first.GetGeneration(), diff)
			}
			delete(first.Object, "metadata")
			delete(last.Object, "metadata")
			if diff := cmp.Diff(first.Object, last.Object); diff != "" {
				t.Errorf("the rest (-before +after):\n%s", diff)
			}
		})
	}
}

func TestApplyOfAStatus(t *testing.T) {
	ns := shared.namespace(t)
	apps := shared.typed(t).AppsV1().Deployments(ns)
	must(apps.Create(t.Context(), deployment("d", 1), metav1.CreateOptions{FieldManager: "kubectl"}))(t)
	body := []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":7},"status":{"replicas":3}}`)
	got := must(apps.Patch(t.Context(), "d", types.ApplyYAMLPatchType, body, metav1.PatchOptions{FieldManager: "c"}, "status"))(t)
	if got.Status.Replicas != 3 || *got.Spec.Replicas != 1 || got.Generation != 1 {
		t.Errorf("status %+v, replicas %d", got.Status, *got.Spec.Replicas)
	}
	var entry metav1.ManagedFieldsEntry
	for _, m := range got.ManagedFields {
		if m.Manager == "c" {
			entry = m
		}
	}
	if entry.Subresource != "status" || entry.Operation != "Apply" || string(entry.FieldsV1.Raw) != `{"f:status":{"f:replicas":{}}}` {
		t.Errorf("managed: %+v %s", entry, entry.FieldsV1)
	}
	_, err := apps.Patch(t.Context(), "none", types.ApplyYAMLPatchType, []byte(strings.Replace(string(body), `"d"`, `"none"`, 1)), metav1.PatchOptions{FieldManager: "c"}, "status")
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, "")
}

// What the server itself fills in belongs to nobody, so that others may set it.
func TestNobodyOwnsWhatTheServerFillsIn(t *testing.T) {
	ns := shared.namespace(t)
	made := must(shared.typed(t).CoreV1().Pods(ns).Create(t.Context(), pod("p"), metav1.CreateOptions{FieldManager: "me"}))(t)
	if owned := string(made.ManagedFields[0].FieldsV1.Raw); strings.Contains(owned, "tolerations") || strings.Contains(owned, "f:priority") {
		t.Errorf("the creator owns %s", owned)
	}
	d := must(shared.typed(t).AppsV1().Deployments(ns).Create(t.Context(), deployment("d", 1), metav1.CreateOptions{FieldManager: "me"}))(t)
	d.Status = appsv1.DeploymentStatus{Replicas: 1}
	d = must(shared.typed(t).AppsV1().Deployments(ns).Update(t.Context(), d, metav1.UpdateOptions{FieldManager: "you"}))(t)
	if len(d.ManagedFields) != 1 {
		t.Errorf("a status in an update made a manager: %+v", d.ManagedFields)
	}
}
