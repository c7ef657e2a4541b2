package apiserver_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// bound makes a pod that runs on a node, so that its deletion is graceful.
func bound(t testing.TB, ns, name string) *corev1.Pod {
	t.Helper()
	pods := shared.typed(t).CoreV1().Pods(ns)
	must(pods.Create(t.Context(), pod(name), metav1.CreateOptions{}))(t)
	must(struct{}{}, pods.Bind(t.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Target: corev1.ObjectReference{Name: "n"},
	}, metav1.CreateOptions{}))(t)
	return must(pods.Get(t.Context(), name, metav1.GetOptions{}))(t)
}

func TestGracefulDeletion(t *testing.T) {
	ns := shared.namespace(t)
	pods := shared.typed(t).CoreV1().Pods(ns)
	made := bound(t, ns, "p")
	del := func(grace *int64) *corev1.Pod {
		t.Helper()
		if err := pods.Delete(t.Context(), "p", metav1.DeleteOptions{GracePeriodSeconds: grace}); err != nil {
			t.Fatal(err)
		}
		got, err := pods.Get(t.Context(), "p", metav1.GetOptions{})
		if err != nil {
			return nil
		}
		return got
	}
	first := del(nil)
	if first == nil || first.DeletionTimestamp == nil || *first.DeletionGracePeriodSeconds != 30 || first.Generation != made.Generation+1 {
		t.Fatalf("deleted: %+v", first)
	}
	if longer := del(new(int64(60))); longer.ResourceVersion != first.ResourceVersion {
		t.Errorf("a grace period was extended: %d", *longer.DeletionGracePeriodSeconds)
	}
	shorter := del(new(int64(5)))
	if *shorter.DeletionGracePeriodSeconds != 5 || !shorter.DeletionTimestamp.Before(first.DeletionTimestamp) {
		t.Errorf("shortened to %d, %s", *shorter.DeletionGracePeriodSeconds, shorter.DeletionTimestamp)
	}
	if got := del(new(int64(0))); got != nil {
		t.Errorf("still there: %+v", got)
	}
	if err := pods.Delete(t.Context(), "p", metav1.DeleteOptions{}); err == nil {
		t.Error("deleted twice")
	}
	must(pods.Create(t.Context(), pod("unbound"), metav1.CreateOptions{}))(t)
	must(struct{}{}, pods.Delete(t.Context(), "unbound", metav1.DeleteOptions{}))(t)
	_, err := pods.Get(t.Context(), "unbound", metav1.GetOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, "")
}

func TestDeletionAnswers(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	made := must(maps.Create(t.Context(), configMap("a"), metav1.CreateOptions{}))(t)
	path := "/api/v1/namespaces/" + ns + "/configmaps/a"
	if s := shared.request(t, "DELETE", path+"?dryRun=All", "").status(t); s.Status != metav1.StatusSuccess {
		t.Errorf("dry run: %+v", s)
	}
	s := shared.request(t, "DELETE", path, "").status(t)
	if s.Status != metav1.StatusSuccess || s.Details.Kind != "configmaps" || s.Details.UID != made.UID || s.Details.Name != "a" {
		t.Errorf("gone: %+v", s)
	}
	bound(t, ns, "p")
	if got := shared.request(t, "DELETE", "/api/v1/namespaces/"+ns+"/pods/p", ""); got.Code != 200 || !slices.Contains([]byte(got.Body), '{') || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("marked: %d %s", got.Code, got.Body)
	}
	if s := shared.request(t, "DELETE", path, `{"propagationPolicy":"Never"}`).status(t); s.Code != 422 {
		t.Errorf("bad policy: %d %s", s.Code, s.Message)
	}
	if s := shared.request(t, "DELETE", path, `{"propagationPolicy":"Orphan","orphanDependents":true}`).status(t); s.Code != 422 {
		t.Errorf("two policies: %d %s", s.Code, s.Message)
	}
}

func TestPreconditions(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	made := must(maps.Create(t.Context(), configMap("a"), metav1.CreateOptions{}))(t)
	err := maps.Delete(t.Context(), "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: new(types.UID("other"))}})
	wantStatus(t, err, 409, metav1.StatusReasonConflict, "UID in the precondition (other) does not match the UID in record ("+string(made.UID)+")")
	err = maps.Delete(t.Context(), "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: new("1")}})
	wantStatus(t, err, 409, metav1.StatusReasonConflict, "ResourceVersion in the precondition (1) does not match")
	err = maps.Delete(t.Context(), "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &made.UID, ResourceVersion: &made.ResourceVersion}})
	if err != nil {
		t.Error(err)
	}
}

func TestFinalizersHoldAnObject(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	in := configMap("a")
	in.Finalizers = []string{"example.org/wait"}
	made := must(maps.Create(t.Context(), in, metav1.CreateOptions{}))(t)
	must(struct{}{}, maps.Delete(t.Context(), "a", metav1.DeleteOptions{}))(t)
	held := must(maps.Get(t.Context(), "a", metav1.GetOptions{}))(t)
	if held.DeletionTimestamp == nil || held.UID != made.UID {
		t.Fatalf("held: %+v", held)
	}
	more := held.DeepCopy()
	more.Finalizers = append(more.Finalizers, "example.org/more")
	_, err := maps.Update(t.Context(), more, metav1.UpdateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "no new finalizers can be added if the object is being deleted")
	held.Finalizers = nil
	must(maps.Update(t.Context(), held, metav1.UpdateOptions{}))(t)
	_, err = maps.Get(t.Context(), "a", metav1.GetOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, "")
}

func TestPropagationPoliciesAreFinalizers(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	for policy, want := range map[metav1.DeletionPropagation][]string{
		metav1.DeletePropagationForeground: {metav1.FinalizerDeleteDependents},
		metav1.DeletePropagationOrphan:     {metav1.FinalizerOrphanDependents},
		metav1.DeletePropagationBackground: nil,
	} {
		name := "of-" + map[bool]string{true: "none", false: "some"}[want == nil] + string(policy[0]+'a'-'A')
		must(maps.Create(t.Context(), configMap(name), metav1.CreateOptions{}))(t)
		must(struct{}{}, maps.Delete(t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &policy}))(t)
		got, err := maps.Get(t.Context(), name, metav1.GetOptions{})
		if want == nil {
			wantStatus(t, err, 404, metav1.StatusReasonNotFound, "")
		} else if err != nil || !slices.Equal(got.Finalizers, want) || got.DeletionTimestamp == nil {
			t.Errorf("%s: %v %v", policy, got.Finalizers, err)
		}
	}
}

func TestDeleteCollection(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	for _, name := range []string{"a", "b", "c"} {
		in := configMap(name)
		in.Labels = map[string]string{"odd": map[bool]string{true: "no", false: "yes"}[name == "b"]}
		must(maps.Create(t.Context(), in, metav1.CreateOptions{}))(t)
	}
	must(struct{}{}, maps.DeleteCollection(t.Context(), metav1.DeleteOptions{DryRun: []string{"All"}}, metav1.ListOptions{}))(t)
	must(struct{}{}, maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "odd=yes"}))(t)
	if left := must(maps.List(t.Context(), metav1.ListOptions{}))(t); len(left.Items) != 1 || left.Items[0].Name != "b" {
		t.Errorf("left: %+v", left.Items)
	}
	must(struct{}{}, maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name!=b"}))(t)
	if left := must(maps.List(t.Context(), metav1.ListOptions{}))(t); len(left.Items) != 1 {
		t.Errorf("left: %+v", left.Items)
	}
}

func TestEviction(t *testing.T) {
	ns := shared.namespace(t)
	api := shared.typed(t)
	made := bound(t, ns, "p")
	evict := func(name string, opts *metav1.DeleteOptions) error {
		return api.PolicyV1().Evictions(ns).Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, DeleteOptions: opts})
	}
	wantStatus(t, evict("none", nil), 404, metav1.StatusReasonNotFound, `pods "none" not found`)
	wantStatus(t, evict("p", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: new("1")}}), 409, metav1.StatusReasonConflict, "precondition")
	must(struct{}{}, evict("p", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &made.ResourceVersion}}))(t)
	got := must(api.CoreV1().Pods(ns).Get(t.Context(), "p", metav1.GetOptions{}))(t)
	if got.DeletionTimestamp == nil || !slices.ContainsFunc(got.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget }) {
		t.Errorf("evicted: %+v", got.Status.Conditions)
	}
}

func TestSystemNamespacesStay(t *testing.T) {
	err := shared.typed(t).CoreV1().Namespaces().Delete(t.Context(), "kube-system", metav1.DeleteOptions{})
	wantStatus(t, err, 403, metav1.StatusReasonForbidden, "this namespace may not be deleted")
}

func TestJobsLeaveTheirPodsBehindUnlessToldOtherwise(t *testing.T) {
	ns := shared.namespace(t)
	const body = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"%s","finalizers":["example.org/hold"]},"spec":{"template":{"spec":{` +
		`"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}`
	path := "/apis/batch/v1/namespaces/" + ns + "/jobs"
	for name, test := range map[string]struct {
		query  string
		orphan bool
	}{"plain": {"", true}, "background": {"?propagationPolicy=Background", false}, "orphan": {"?propagationPolicy=Orphan", true}} {
		if a := shared.request(t, "POST", path, fmt.Sprintf(body, name)); a.Code != 201 {
			t.Fatalf("create: %d %s", a.Code, a.Body)
		}
		a := shared.request(t, "DELETE", path+"/"+name+test.query, "")
		if got := strings.Contains(string(a.Body), `"orphan"`); a.Code != 200 || got != test.orphan {
			t.Errorf("%s: orphans %t, want %t: %d %s", name, got, test.orphan, a.Code, a.Body)
		}
		if warned := strings.Contains(a.Header.Get("Warning"), "child pods are preserved by default"); warned != (test.query == "") {
			t.Errorf("%s: warning %q", name, a.Header.Get("Warning"))
		}
	}
}
