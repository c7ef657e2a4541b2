package apiserver_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// owned are the fields that a manager owns through a subresource.
func owned(t *testing.T, p *corev1.Pod, manager, subresource string) string {
	t.Helper()
	for _, e := range p.ManagedFields {
		if e.Manager == manager && e.Subresource == subresource {
			return string(e.FieldsV1.Raw)
		}
	}
	return ""
}

// TestEphemeralContainersSubresource: it adds containers and nothing else, and is recorded as what it is.
func TestEphemeralContainersSubresource(t *testing.T) {
	ns := shared.namespace(t)
	pods := shared.typed(t).CoreV1().Pods(ns)
	made := must(pods.Create(t.Context(), pod("p"), metav1.CreateOptions{}))(t)
	patch := []byte(`{"metadata":{"labels":{"a":"b"}},"spec":{"nodeName":"n","ephemeralContainers":[{"name":"d","image":"d:1","targetContainerName":"` +
		made.Spec.Containers[0].Name + `"}]},"status":{"message":"m"}}`)
	got := must(pods.Patch(t.Context(), "p", types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "debug"}, "ephemeralcontainers"))(t)
	if len(got.Spec.EphemeralContainers) != 1 || got.Spec.EphemeralContainers[0].ImagePullPolicy != corev1.PullIfNotPresent {
		t.Errorf("containers are %+v", got.Spec.EphemeralContainers)
	}
	if got.Labels["a"] != "" || got.Spec.NodeName != "" || got.Status.Message != "" || got.Generation != made.Generation+1 {
		t.Errorf("more than the containers was written: %+v", got)
	}
	fields := owned(t, got, "debug", "ephemeralcontainers")
	if !strings.HasPrefix(fields, `{"f:spec":{"f:ephemeralContainers":`) || strings.Contains(fields, "nodeName") {
		t.Errorf("owned is %s", fields)
	}
	if read := must(pods.Get(t.Context(), "p", metav1.GetOptions{}))(t); cmp.Diff(got, read) != "" {
		t.Error(cmp.Diff(got, read))
	}

	got.Spec.EphemeralContainers = append(got.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "e:1"}})
	got = must(pods.UpdateEphemeralContainers(t.Context(), "p", got, metav1.UpdateOptions{}))(t)
	less := got.DeepCopy()
	less.Spec.EphemeralContainers = less.Spec.EphemeralContainers[:1]
	if _, err := pods.UpdateEphemeralContainers(t.Context(), "p", less, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `existing ephemeral containers "e" may not be removed`) {
		t.Errorf("removing one: %v", err)
	}
	more := got.DeepCopy()
	more.Spec.EphemeralContainers = append(more.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "f", Image: "f:1"}})
	if _, err := pods.Update(t.Context(), more, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("adding one to the pod itself: %v", err)
	}
}

// TestResizeSubresource: it changes cpu and memory and nothing else, and is recorded as what it is.
func TestResizeSubresource(t *testing.T) {
	ns := shared.namespace(t)
	pods := shared.typed(t).CoreV1().Pods(ns)
	p := pod("p")
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	made := must(pods.Create(t.Context(), p, metav1.CreateOptions{}))(t)
	c := made.Spec.Containers[0].Name
	patch := []byte(`{"metadata":{"labels":{"a":"b"}},"spec":{"nodeName":"n","containers":[{"name":"` + c + `","image":"other","resources":{"requests":{"cpu":"200m"}}}]}}`)
	got := must(pods.Patch(t.Context(), "p", types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "vpa"}, "resize"))(t)
	if cpu := got.Spec.Containers[0].Resources.Requests.Cpu(); cpu.String() != "200m" || got.Spec.Containers[0].Image != made.Spec.Containers[0].Image {
		t.Errorf("the container is %+v", got.Spec.Containers[0])
	}
	if got.Labels["a"] != "" || got.Spec.NodeName != "" || got.Generation != made.Generation+1 {
		t.Errorf("more than the size was written: %+v", got)
	}
	want := `{"f:spec":{"f:containers":{"k:{\"name\":\"` + c + `\"}":{"f:resources":{"f:requests":{"f:cpu":{}}}}}}}`
	if diff := cmp.Diff(want, owned(t, got, "vpa", "resize")); diff != "" {
		t.Error(diff)
	}
	apply := []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"` + c + `","resources":{"requests":{"cpu":"250m"}}}]}}`)
	if _, err := pods.Patch(t.Context(), "p", types.ApplyPatchType, apply, metav1.PatchOptions{FieldManager: "other"}, "resize"); !apierrors.IsConflict(err) {
		t.Errorf("two own one field: %v", err)
	}
	applied := must(pods.Patch(t.Context(), "p", types.ApplyPatchType, apply, metav1.PatchOptions{FieldManager: "other", Force: new(true)}, "resize"))(t)
	if cpu := applied.Spec.Containers[0].Resources.Requests.Cpu().String(); cpu != "250m" || applied.Generation != got.Generation+1 {
		t.Errorf("applied was %s in generation %d", cpu, applied.Generation)
	}
	if diff := cmp.Diff(want, strings.Replace(owned(t, applied, "other", "resize"), `{".":{},"f:res`, `{"f:res`, 1)); diff != "" {
		t.Error(diff)
	}
	got = applied
	got.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("300m")
	got = must(pods.UpdateResize(t.Context(), "p", got, metav1.UpdateOptions{}))(t)
	if got.Generation != made.Generation+3 {
		t.Errorf("generation is %d", got.Generation)
	}
	direct := got.DeepCopy()
	direct.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("400m")
	if _, err := pods.Update(t.Context(), direct, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "pod updates may not change fields other than") {
		t.Errorf("without the subresource: %v", err)
	}
	patch = []byte(`{"spec":{"containers":[{"name":"` + c + `","resources":{"requests":null}}]}}`)
	if _, err := pods.Patch(t.Context(), "p", types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "resize"); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "resource requests cannot be removed") {
		t.Errorf("removing a request: %v", err)
	}
}

// TestResizeHasToFitTheNode: what can never be is refused at once.
func TestResizeHasToFitTheNode(t *testing.T) {
	ns := shared.namespace(t)
	client := shared.typed(t).CoreV1()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "resize-" + ns}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}}
	must(client.Nodes().Create(t.Context(), node, metav1.CreateOptions{}))(t)
	defer func() { _ = client.Nodes().Delete(t.Context(), node.Name, metav1.DeleteOptions{}) }()
	p := pod("p")
	p.Spec.NodeName = node.Name
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	made := must(client.Pods(ns).Create(t.Context(), p, metav1.CreateOptions{}))(t)
	made.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("2")
	_, err := client.Pods(ns).UpdateResize(t.Context(), "p", made, metav1.UpdateOptions{})
	status, ok := err.(apierrors.APIStatus)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "node didn't have enough allocatable resources: cpu, requested: 2000, allocatable: 1000") {
		t.Fatalf("got %v", err)
	}
	if causes := status.Status().Details.Causes; !ok || len(causes) != 1 || causes[0].Type != "NodeCapacity" {
		t.Errorf("causes are %v", causes)
	}
}

// TestPodPartsAreAnnounced: kubectl looks there before it debugs.
func TestPodPartsAreAnnounced(t *testing.T) {
	got := shared.request(t, "GET", "/api/v1", "")
	var list metav1.APIResourceList
	if err := json.Unmarshal(got.Body, &list); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pods/ephemeralcontainers", "pods/resize"} {
		i := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == name })
		if i < 0 {
			t.Errorf("%s is not announced", name)
			continue
		}
		if diff := cmp.Diff(metav1.APIResource{Name: name, Namespaced: true, Kind: "Pod", Verbs: metav1.Verbs{"get", "patch", "update"}}, list.APIResources[i]); diff != "" {
			t.Error(diff)
		}
	}
}
